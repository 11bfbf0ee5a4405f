/** The kernels in JavaScript, for where there is no WebAssembly; see `kernels/kernels.ts`. */

import { ADD, type Kernels, PLAIN, RAW, RELU } from "./kernels.ts";

const LOWEST = -(2 ** 21);
const HIGHEST = 2 ** 21 - 1;
const SLOPE = 0.01;
const PAGE = 2 ** 16;
const TOTAL = 2 ** 24;
const MASK = 2n ** 64n - 1n;

class ScriptMemory {
  buffer = new ArrayBuffer(PAGE);

  grow(pages: number): number {
    const before = new Uint8Array(this.buffer);
    this.buffer = new ArrayBuffer(before.length + pages * PAGE);
    new Uint8Array(this.buffer).set(before);
    return before.length / PAGE;
  }
}

const clamp = (v: number, low: number) => Math.min(Math.max(v, low), HIGHEST);

/** Finish a sum that includes its bias; `before` is what is there. */
function finish64(sum: number, mode: number, before: number): number {
  if (mode === RAW) return sum;
  const v = clamp(Math.floor(sum), mode === RELU ? 0 : LOWEST);
  return mode === ADD ? clamp(v + before, LOWEST) : v;
}

function finish32(sum: number, mode: number, before: number): number {
  if (mode === RELU) return sum < 0 ? SLOPE * sum : sum;
  return mode === ADD ? sum + before : sum;
}

export function scriptKernels(): Kernels {
  const memory = new ScriptMemory();
  const f32 = () => new Float32Array(memory.buffer);
  const f64 = () => new Float64Array(memory.buffer);
  const i32 = () => new Int32Array(memory.buffer);
  const u32 = () => new Uint32Array(memory.buffer);

  const productOf =
    (view: () => Float32Array | Float64Array, finish: typeof finish64): Kernels["product32"] =>
    (weight, bias, outputs, depth, x, offsets, columns, out, step, mode, _scratch) => {
      const a = view();
      const places = i32().subarray(offsets >> 2, (offsets >> 2) + depth);
      const size = a.BYTES_PER_ELEMENT;
      const from = x / size;
      const sums = new Float64Array(columns);
      for (let o = 0; o < outputs; o++) {
        const w = weight / size + (o >> 2) * 4 * depth + (o & 3);
        sums.fill(a[bias / size + o]!);
        for (let k = 0; k < depth; k++) {
          const factor = a[w + 4 * k]!;
          const first = from + places[k]!;
          for (let j = 0; j < columns; j++) sums[j]! += factor * a[first + j]!;
        }
        const to = out / size + o * step;
        for (let j = 0; j < columns; j++) a[to + j] = finish(sums[j]!, mode, a[to + j]!);
      }
    };

  const depthwiseOf =
    (
      view: () => Float32Array | Float64Array,
      finish: typeof finish64,
      mode: number,
    ): Kernels["depthwise32"] =>
    (weight, bias, channels, height, width, x, _scratch) => {
      const a = view();
      const size = a.BYTES_PER_ELEMENT;
      const stride = width + 2;
      const padded = new Float64Array((height + 2) * stride);
      for (let c = 0; c < channels; c++) {
        const first = x / size + c * height * width;
        for (let r = 0; r < height; r++) {
          const row = a.subarray(first + r * width, first + (r + 1) * width);
          padded.set(row, (r + 1) * stride + 1);
        }
        const w = a.subarray(weight / size + 9 * c, weight / size + 9 * c + 9);
        for (let r = 0; r < height; r++) {
          for (let j = 0; j < width; j++) {
            let sum = a[bias / size + c]!;
            for (let k = 0; k < 9; k++) {
              sum += w[k]! * padded[(r + Math.floor(k / 3)) * stride + j + (k % 3)]!;
            }
            a[first + r * width + j] = finish(sum, mode, 0);
          }
        }
      }
    };

  let words = new Uint32Array();
  let read = 0;
  let lower = 0n;
  let range = 0n;
  let point = 0n;
  const nextWord = () => BigInt(words[read++] ?? 0);
  const quantile = () => Number(((point - lower) & MASK) / (range >> 24n));
  const take = (start: number, frequency: number) => {
    const scale = range >> 24n;
    lower = (lower + scale * BigInt(start)) & MASK;
    range = scale * BigInt(frequency);
    if (range < 1n << 32n) {
      lower = (lower << 32n) & MASK;
      range <<= 32n;
      point = ((point << 32n) & MASK) | nextWord();
    }
  };

  return {
    memory,
    product32: productOf(f32, finish32),
    product64: productOf(f64, finish64),
    depthwise32: depthwiseOf(f32, finish32, PLAIN),
    depthwise64: depthwiseOf(f64, finish64, RELU),

    gate32(u, v, count, bound) {
      const a = f32();
      for (let i = 0; i < count; i++) {
        a[(u >> 2) + i]! *= Math.min(Math.max(a[(v >> 2) + i]!, 0), bound);
      }
    },

    rangeStart(stream, count) {
      words = u32().slice(stream >> 2, (stream >> 2) + count);
      read = 0;
      lower = 0n;
      range = MASK;
      point = nextWord() << 32n;
      point |= nextWord();
    },

    rangeGroup(numbers, count, tables, _tableCount, starts, out, _scratch) {
      const table = new Uint16Array(memory.buffer, numbers, count);
      const order = Array.from(table.keys()).sort((a, b) => table[a]! - table[b]! || a - b);
      const fields = i32();
      const sums = u32();
      for (const at of order) {
        const entry = (tables >> 2) + 3 * table[at]!;
        const [low, place, size] = fields.subarray(entry, entry + 3) as unknown as number[];
        const own = sums.subarray((starts >> 2) + place!, (starts >> 2) + place! + size!);
        const q = quantile();
        if (q >= TOTAL) return false;
        let first = 0;
        let last = size!;
        while (last - first > 1) {
          const middle = (first + last) >> 1;
          if (own[middle]! <= q) first = middle;
          else last = middle;
        }
        take(own[first]!, (own[last] ?? TOTAL) - own[first]!);
        fields[(out >> 2) + at] = low! + first;
      }
      return true;
    },

    rangeIndices(logits, count, size, powers, powerCount, out, _scratch) {
      const values = f64();
      const table = i32().subarray(powers >> 2, (powers >> 2) + powerCount);
      const indices = i32();
      const f = new Float64Array(size);
      for (let i = 0; i < count; i++) {
        let likeliest = 0;
        if (logits) {
          const own = (k: number) => values[(logits >> 3) + k * count + i]!;
          let largest = own(0);
          for (let k = 1; k < size; k++) largest = Math.max(largest, own(k));
          for (let k = 0; k < size; k++) f[k] = table[largest - own(k)] ?? 0;
          const sum = f.reduce((a, b) => a + b, 0);
          likeliest = f.indexOf(Math.max(...f));
          for (let k = 0; k < size; k++) f[k] = 1 + Math.floor((f[k]! * (TOTAL - size)) / sum);
        } else {
          f.fill(Math.floor(TOTAL / size));
        }
        f[likeliest]! += TOTAL - f.reduce((a, b) => a + b, 0);
        const q = quantile();
        if (q >= TOTAL) return false;
        let k = 0;
        let start = 0;
        while (start + f[k]! <= q) start += f[k++]!;
        take(start, f[k]!);
        indices[(out >> 2) + i] = k;
      }
      return true;
    },

    rangeEnd: () => read >= words.length && ((point - lower) & MASK) < 2n ** 33n - 1n,
  };
}
