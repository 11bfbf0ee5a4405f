// What takes the time, in AssemblyScript: matrix products, depthwise convolutions, range decoder.
//
// All arguments that end in "At" or name an array are addresses. Matrices are in C order. Sums of
// f64 are of integers, and exact in any order (FORMAT.md, "Exact arithmetic"), so that neither
// fused multiplication nor the order of summation changes them.

/** What becomes of the sums of a layer. */
const PLAIN = 0;
/** f64: relu; f32: leaky relu. */
const RELU = 1;
/** The sums are added to what is there. */
const ADD = 2;
/** f64: the sums are neither rounded nor clamped. */
const RAW = 3;

const LOWEST: f64 = -2097152; // -2^21
const HIGHEST: f64 = 2097151;
const SLOPE: f32 = 0.01;

/** Outputs and columns of a tile of the product; a row of it has two vectors. */
const TILE_ROWS = 4;
const TILE_BYTES = 32;
/** Columns that are packed at once, so that they stay in the cache. */
const BLOCK = 64;

// @ts-ignore: decorator
@inline
function multiplyAdd<T>(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.relaxed_madd<T>(a, b, c);
  return v128.add<T>(c, v128.mul<T>(a, b));
}

// @ts-ignore: decorator
@inline
function clamp64(v: v128, low: f64): v128 {
  return f64x2.min(f64x2.max(v, f64x2.splat(low)), f64x2.splat(HIGHEST));
}

/** Finish a vector of sums and store it. */
// @ts-ignore: decorator
@inline
function finish<T>(sum: v128, bias: v128, out: usize, mode: i32): void {
  let v = v128.add<T>(sum, bias);
  if (sizeof<T>() == 8) {
    if (mode != RAW) v = clamp64(f64x2.floor(v), mode == RELU ? 0 : LOWEST);
    if (mode == ADD) v = clamp64(f64x2.add(v, v128.load(out)), LOWEST);
  } else {
    if (mode == RELU) v = f32x4.max(v, f32x4.mul(v, f32x4.splat(SLOPE)));
    if (mode == ADD) v = f32x4.add(v, v128.load(out));
  }
  v128.store(out, v);
}

/** A tile: `TILE_ROWS` outputs of `TILE_BYTES` of columns. */
// @ts-ignore: decorator
@inline
function tile<T>(
  weight: usize,
  panel: usize,
  depth: i32,
  bias: usize,
  out: usize,
  step: usize,
  mode: i32,
): void {
  let a0 = i32x4.splat(0);
  let b0 = a0;
  let a1 = a0;
  let b1 = a0;
  let a2 = a0;
  let b2 = a0;
  let a3 = a0;
  let b3 = a0;
  for (let k = 0; k < depth; k++) {
    const x = v128.load(panel);
    const y = v128.load(panel, 16);
    const w0 = v128.load_splat<T>(weight);
    a0 = multiplyAdd<T>(w0, x, a0);
    b0 = multiplyAdd<T>(w0, y, b0);
    const w1 = v128.load_splat<T>(weight, sizeof<T>());
    a1 = multiplyAdd<T>(w1, x, a1);
    b1 = multiplyAdd<T>(w1, y, b1);
    const w2 = v128.load_splat<T>(weight, 2 * sizeof<T>());
    a2 = multiplyAdd<T>(w2, x, a2);
    b2 = multiplyAdd<T>(w2, y, b2);
    const w3 = v128.load_splat<T>(weight, 3 * sizeof<T>());
    a3 = multiplyAdd<T>(w3, x, a3);
    b3 = multiplyAdd<T>(w3, y, b3);
    panel += TILE_BYTES;
    weight += TILE_ROWS * sizeof<T>();
  }
  finish<T>(a0, v128.load_splat<T>(bias), out, mode);
  finish<T>(b0, v128.load_splat<T>(bias), out + 16, mode);
  out += step;
  finish<T>(a1, v128.load_splat<T>(bias, sizeof<T>()), out, mode);
  finish<T>(b1, v128.load_splat<T>(bias, sizeof<T>()), out + 16, mode);
  out += step;
  finish<T>(a2, v128.load_splat<T>(bias, 2 * sizeof<T>()), out, mode);
  finish<T>(b2, v128.load_splat<T>(bias, 2 * sizeof<T>()), out + 16, mode);
  out += step;
  finish<T>(a3, v128.load_splat<T>(bias, 3 * sizeof<T>()), out, mode);
  finish<T>(b3, v128.load_splat<T>(bias, 3 * sizeof<T>()), out + 16, mode);
}

/** A tile of which only some rows and bytes are wanted. */
// @ts-ignore: decorator
@inline
function partialTile<T>(
  weight: usize,
  panel: usize,
  depth: i32,
  bias: usize,
  out: usize,
  step: usize,
  mode: i32,
  rows: i32,
  bytes: usize,
  buffer: usize,
): void {
  for (let r = 0; r < rows; r++) memory.copy(buffer + r * TILE_BYTES, out + r * step, bytes);
  tile<T>(weight, panel, depth, bias, buffer, TILE_BYTES, mode);
  for (let r = 0; r < rows; r++) memory.copy(out + r * step, buffer + r * TILE_BYTES, bytes);
}

/**
 * out[o, j] = sum over k of weight[o, k] x[offsets[k] + j] + bias[o], and what `mode` says.
 *
 * weight   [ceil(outputs / 4)][depth][4]
 * offsets  i32 [depth], in elements
 * bias     filled up to a multiple of four outputs
 * step     elements from one output to the next
 * scratch  depth BLOCK elements and a tile
 * Reads up to 32 bytes behind the columns.
 */
// @ts-ignore: decorator
@inline
function product<T>(
  weight: usize,
  bias: usize,
  outputs: i32,
  depth: i32,
  x: usize,
  offsets: usize,
  columns: i32,
  out: usize,
  step: i32,
  mode: i32,
  scratch: usize,
): void {
  const across = TILE_BYTES / sizeof<T>();
  const panelBytes = <usize>depth * TILE_BYTES;
  const buffer = scratch + (BLOCK / across) * panelBytes;
  const stepBytes = <usize>step * sizeof<T>();
  for (let first = 0; first < columns; first += BLOCK) {
    const count = min(BLOCK, columns - first);
    const panels = (count + <i32>across - 1) / <i32>across;
    for (let k = 0; k < depth; k++) {
      let from = x + <usize>(load<i32>(offsets + (k << 2)) + first) * sizeof<T>();
      let to = scratch + k * TILE_BYTES;
      for (let p = 0; p < panels; p++) {
        v128.store(to, v128.load(from));
        v128.store(to, v128.load(from, 16), 16);
        from += TILE_BYTES;
        to += panelBytes;
      }
    }
    for (let o = 0; o < outputs; o += TILE_ROWS) {
      const w = weight + <usize>o * depth * sizeof<T>();
      const b = bias + <usize>o * sizeof<T>();
      const rows = min(TILE_ROWS, outputs - o);
      let at = out + <usize>o * stepBytes + <usize>first * sizeof<T>();
      let panel = scratch;
      for (let p = 0; p < panels; p++) {
        const bytes = min<usize>(TILE_BYTES, <usize>count * sizeof<T>() - p * TILE_BYTES);
        if (rows == TILE_ROWS && bytes == TILE_BYTES) {
          tile<T>(w, panel, depth, b, at, stepBytes, mode);
        } else {
          partialTile<T>(w, panel, depth, b, at, stepBytes, mode, rows, bytes, buffer);
        }
        panel += panelBytes;
        at += TILE_BYTES;
      }
    }
  }
}

export function product32(
  weight: usize,
  bias: usize,
  outputs: i32,
  depth: i32,
  x: usize,
  offsets: usize,
  columns: i32,
  out: usize,
  step: i32,
  mode: i32,
  scratch: usize,
): void {
  product<f32>(weight, bias, outputs, depth, x, offsets, columns, out, step, mode, scratch);
}

export function product64(
  weight: usize,
  bias: usize,
  outputs: i32,
  depth: i32,
  x: usize,
  offsets: usize,
  columns: i32,
  out: usize,
  step: i32,
  mode: i32,
  scratch: usize,
): void {
  product<f64>(weight, bias, outputs, depth, x, offsets, columns, out, step, mode, scratch);
}

/**
 * 3x3 convolution of each channel by itself, in place: x [channels, height, width].
 *
 * weight   [channels, 9]
 * bias     [channels]
 * scratch  (height + 2) (width + 2) + 16 elements
 */
// @ts-ignore: decorator
@inline
function depthwise<T>(
  weight: usize,
  bias: usize,
  channels: i32,
  height: i32,
  width: i32,
  x: usize,
  mode: i32,
  scratch: usize,
): void {
  const lanes = 16 / <i32>sizeof<T>();
  const stride = <usize>(width + 2) * sizeof<T>();
  const rowBytes = <usize>width * sizeof<T>();
  const buffer = scratch + (height + 2) * stride + 64;
  memory.fill(scratch, 0, (height + 2) * stride + 64);
  for (let c = 0; c < channels; c++) {
    for (let r = 0; r < height; r++) {
      memory.copy(scratch + (r + 1) * stride + sizeof<T>(), x + r * rowBytes, rowBytes);
    }
    const w0 = v128.load_splat<T>(weight);
    const w1 = v128.load_splat<T>(weight, sizeof<T>());
    const w2 = v128.load_splat<T>(weight, 2 * sizeof<T>());
    const w3 = v128.load_splat<T>(weight, 3 * sizeof<T>());
    const w4 = v128.load_splat<T>(weight, 4 * sizeof<T>());
    const w5 = v128.load_splat<T>(weight, 5 * sizeof<T>());
    const w6 = v128.load_splat<T>(weight, 6 * sizeof<T>());
    const w7 = v128.load_splat<T>(weight, 7 * sizeof<T>());
    const w8 = v128.load_splat<T>(weight, 8 * sizeof<T>());
    const b = v128.load_splat<T>(bias);
    for (let r = 0; r < height; r++) {
      for (let j = 0; j < width; j += lanes) {
        let from = scratch + r * stride + j * sizeof<T>();
        let v = v128.mul<T>(w0, v128.load(from));
        v = multiplyAdd<T>(w1, v128.load(from, sizeof<T>()), v);
        v = multiplyAdd<T>(w2, v128.load(from, 2 * sizeof<T>()), v);
        from += stride;
        v = multiplyAdd<T>(w3, v128.load(from), v);
        v = multiplyAdd<T>(w4, v128.load(from, sizeof<T>()), v);
        v = multiplyAdd<T>(w5, v128.load(from, 2 * sizeof<T>()), v);
        from += stride;
        v = multiplyAdd<T>(w6, v128.load(from), v);
        v = multiplyAdd<T>(w7, v128.load(from, sizeof<T>()), v);
        v = multiplyAdd<T>(w8, v128.load(from, 2 * sizeof<T>()), v);
        const to = x + r * rowBytes + j * sizeof<T>();
        if (j + lanes <= width) {
          finish<T>(v, b, to, mode);
        } else {
          finish<T>(v, b, buffer, mode);
          memory.copy(to, buffer, (width - j) * sizeof<T>());
        }
      }
    }
    x += height * rowBytes;
    weight += 9 * sizeof<T>();
    bias += sizeof<T>();
  }
}

export function depthwise32(
  weight: usize,
  bias: usize,
  channels: i32,
  height: i32,
  width: i32,
  x: usize,
  scratch: usize,
): void {
  depthwise<f32>(weight, bias, channels, height, width, x, PLAIN, scratch);
}

export function depthwise64(
  weight: usize,
  bias: usize,
  channels: i32,
  height: i32,
  width: i32,
  x: usize,
  scratch: usize,
): void {
  depthwise<f64>(weight, bias, channels, height, width, x, RELU, scratch);
}

/** u = u clamp(v, 0, bound), for `count` f32. */
export function gate32(u: usize, v: usize, count: i32, bound: f32): void {
  const zero = f32x4.splat(0);
  const top = f32x4.splat(bound);
  const whole = u + <usize>(count & ~3) * 4;
  const end = u + <usize>count * 4;
  for (; u < whole; u += 16, v += 16) {
    const gate = f32x4.min(f32x4.max(v128.load(v), zero), top);
    v128.store(u, f32x4.mul(v128.load(u), gate));
  }
  for (; u < end; u += 4, v += 4) {
    store<f32>(u, load<f32>(u) * min<f32>(max<f32>(load<f32>(v), 0), bound));
  }
}

let words: usize = 0;
let wordsLeft: i32 = 0;
let lower: u64 = 0;
let range: u64 = 0;
let point: u64 = 0;

// @ts-ignore: decorator
@inline
function nextWord(): u64 {
  const left = wordsLeft--;
  if (left <= 0) return 0;
  const word = load<u32>(words);
  words += 4;
  return word;
}

/** Begin a stream of `count` words. */
export function rangeStart(stream: usize, count: i32): void {
  words = stream;
  wordsLeft = count;
  lower = 0;
  range = ~(<u64>0);
  point = nextWord() << 32;
  point |= nextWord();
}

/** Position of the next symbol in 0..2^24-1; others are damage. */
// @ts-ignore: decorator
@inline
function quantile(): u64 {
  return (point - lower) / (range >> 24);
}

/** Take the symbol whose frequencies begin at `start`. */
// @ts-ignore: decorator
@inline
function take(start: u64, frequency: u64): void {
  const scale = range >> 24;
  lower += scale * start;
  range = scale * frequency;
  if (range < 0x100000000) {
    lower <<= 32;
    range <<= 32;
    point = (point << 32) | nextWord();
  }
}

/**
 * Decode a group of symbols, table by table; false if the stream is damaged.
 *
 * numbers  u16 [count], the table of each symbol
 * tables   i32 [tableCount][3]: least symbol, first entry in `starts`, number of symbols
 * starts   u32, sum of the frequencies before each symbol of each table
 * out      i32 [count]
 * scratch  i32 [count + tableCount]
 */
export function rangeGroup(
  numbers: usize,
  count: i32,
  tables: usize,
  tableCount: i32,
  starts: usize,
  out: usize,
  scratch: usize,
): bool {
  const ends = scratch;
  const order = scratch + <usize>tableCount * 4;
  memory.fill(ends, 0, <usize>tableCount * 4);
  for (let i = 0; i < count; i++) {
    const at = ends + <usize>load<u16>(numbers + (i << 1)) * 4;
    store<i32>(at, load<i32>(at) + 1);
  }
  for (let t = 0, sum = 0; t < tableCount; t++) {
    const own = load<i32>(ends + (t << 2));
    store<i32>(ends + (t << 2), sum);
    sum += own;
  }
  for (let i = 0; i < count; i++) {
    const at = ends + <usize>load<u16>(numbers + (i << 1)) * 4;
    const place = load<i32>(at);
    store<i32>(order + (place << 2), i);
    store<i32>(at, place + 1);
  }
  for (let t = 0, i = 0; t < tableCount; t++) {
    const end = load<i32>(ends + (t << 2));
    const low = load<i32>(tables + t * 12);
    const table = starts + <usize>load<i32>(tables + t * 12, 4) * 4;
    const size = load<i32>(tables + t * 12, 8);
    for (; i < end; i++) {
      const q = quantile();
      if (q >= 0x1000000) return false;
      let first = 0;
      let last = size;
      while (last - first > 1) {
        const middle = (first + last) >> 1;
        if (load<u32>(table + (middle << 2)) <= <u32>q) first = middle;
        else last = middle;
      }
      const start = load<u32>(table + (first << 2));
      const next = last < size ? load<u32>(table + (last << 2)) : 0x1000000;
      take(start, next - start);
      store<i32>(out + (load<i32>(order + (i << 2)) << 2), low + first);
    }
  }
  return true;
}

/**
 * Decode indices one by one, each with frequencies of its own; false if the stream is damaged.
 *
 * logits   f64 [size, count]; 0 for equal frequencies
 * powers   i32 [powerCount]
 * out      i32 [count]
 * scratch  u32 [size]
 */
export function rangeIndices(
  logits: usize,
  count: i32,
  size: i32,
  powers: usize,
  powerCount: i32,
  out: usize,
  scratch: usize,
): bool {
  const step = <usize>count * 8;
  for (let i = 0; i < count; i++) {
    let sum: u64 = size;
    let likeliest = 0;
    if (logits) {
      let largest: f64 = load<f64>(logits);
      for (let k = 1; k < size; k++) largest = max(largest, load<f64>(logits + k * step));
      let most: u32 = 0;
      sum = 0;
      for (let k = 0; k < size; k++) {
        const below = <i32>(largest - load<f64>(logits + k * step));
        const e: u32 = below < powerCount ? load<u32>(powers + (below << 2)) : 0;
        store<u32>(scratch + (k << 2), e);
        sum += e;
        if (e > most) {
          most = e;
          likeliest = k;
        }
      }
      logits += 8;
    }
    let left: u32 = 0x1000000;
    for (let k = 0; k < size; k++) {
      const f: u32 = logits
        ? 1 + <u32>((<u64>load<u32>(scratch + (k << 2)) * (0x1000000 - size)) / sum)
        : 0x1000000 / size;
      store<u32>(scratch + (k << 2), f);
      left -= f;
    }
    store<u32>(scratch + (likeliest << 2), load<u32>(scratch + (likeliest << 2)) + left);
    const q = quantile();
    if (q >= 0x1000000) return false;
    let k = 0;
    let start: u32 = 0;
    let f = load<u32>(scratch);
    while (start + f <= <u32>q) {
      start += f;
      k++;
      f = load<u32>(scratch + (k << 2));
    }
    take(start, f);
    store<i32>(out + (i << 2), k);
  }
  return true;
}

/** Whether nothing is left of the stream, after at least one symbol. */
export function rangeEnd(): bool {
  return wordsLeft <= 0 && point - lower < 0x1ffffffff;
}
