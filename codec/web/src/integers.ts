/** Symbols of integer rounding (FORMAT.md): hyper-latents, then four passes of latents. */

import { CodecError } from "./errors.ts";
import {
  clamp,
  ExactBlock,
  exactWeights,
  gather,
  offsets,
  pointwise,
  positionsByClass,
  rowAt,
  shuffle,
  UNIT,
} from "./exact.ts";
import { HYPER_STRIDE } from "./geometry.ts";
import { type Address, type Arena, Linear, PLAIN, RAW } from "./kernels.ts";
import { byPosition, type Levels, levelsOfHyper } from "./levels.ts";
import {
  check,
  checksumOf,
  endStream,
  type Latents,
  type SymbolReader,
  startStream,
} from "./symbols.ts";
import type { Weights } from "./weights.ts";

const PASSES = 4;
const SCALES = 64;
const CONTEXTS = 25;
/** Magnitude to which neighbours of z are clamped. */
const REACH = 2;
const MAX_SYMBOL = 4095;
const MAX_HYPER = 2047;

/** Names of the layers that predict each pass. */
const STEPS = [
  { context: "", blocks: [], head: "first_head" },
  { context: "first_split.context", blocks: ["first_split.block"], head: "first_split.head" },
  { context: "context", blocks: ["context_block1", "context_block2"], head: "second_head" },
  { context: "second_split.context", blocks: ["second_split.block"], head: "second_split.head" },
];

/** Class of a position: each square of 2x2 has one of every class. */
const classOf = (row: number, column: number) => 2 * ((row + column) % 2) + (row % 2);

/** A family of frequency tables. */
class Tables {
  readonly count: number;
  private readonly fields: Address;
  private readonly starts: Address;

  constructor(
    private readonly arena: Arena,
    weights: Weights,
    name: string,
    most: number,
  ) {
    const low = weights.ints(`${name}.low`);
    const size = weights.ints(`${name}.size`, low.length);
    const frequencies = weights.ints(`${name}.frequencies`);
    this.count = low.length;
    this.fields = arena.allocate(12 * low.length);
    this.starts = arena.allocate(4 * frequencies.length);
    const fields = arena.i32(this.fields, 3 * low.length);
    const starts = arena.i32(this.starts, frequencies.length);
    let at = 0;
    for (let i = 0; i < low.length; i++) {
      fields.set([low[i]!, at, size[i]!], 3 * i);
      let sum = 0;
      let sound = size[i]! > 1 && low[i]! >= -most && low[i]! + size[i]! - 1 <= most;
      for (const end = at + size[i]!; at < end; at++) {
        starts[at] = sum;
        sound &&= frequencies[at]! > 0;
        sum += frequencies[at]!;
      }
      if (!sound || sum !== 2 ** 24) {
        throw new CodecError("WeightsError", "a frequency table is unsound");
      }
    }
    if (at !== frequencies.length) {
      throw new CodecError("WeightsError", "the frequency tables have another length");
    }
  }

  /** Decode symbols, i32 [count], by the numbers of their tables, u16 [count]. */
  decode(numbers: Address, count: number, out: Address): void {
    const { arena } = this;
    arena.scoped(() => {
      const scratch = arena.allocate(4 * (count + this.count));
      const { fields, starts } = this;
      check(arena.kernels.rangeGroup(numbers, count, fields, this.count, starts, out, scratch));
    });
  }
}

/** Layers that predict one pass. Weights are apart by the parts of the channels. */
interface Step {
  /** Of each class: from the parts that are known at its positions to features. */
  context: Linear[];
  blocks: ExactBlock[];
  /** Of each part: from features to its means and scales. */
  heads: Linear[];
  levelBias: Int32Array;
}

/** Reads the streams of one model. */
export class IntegerReader implements SymbolReader {
  private readonly channels: number;
  private readonly part: number;
  private readonly hyper: number;
  private readonly width: number;
  private readonly anchors: number;
  private readonly stem: Linear;
  private readonly levelBias: Int32Array;
  private readonly upsampling: { block: ExactBlock; up: Linear }[];
  private readonly last: ExactBlock;
  private readonly steps: Step[];
  private readonly zTables: Tables;
  private readonly yTables: Tables;
  private readonly zContext: Int32Array;

  constructor(
    private readonly arena: Arena,
    weights: Weights,
  ) {
    const { latent, hyper, prior, anchors } = weights.config;
    this.channels = latent;
    this.part = latent / PASSES;
    this.hyper = hyper;
    this.width = prior;
    this.anchors = anchors;
    const block = (name: string) => new ExactBlock(arena, weights, `prior.${name}`, prior);
    this.stem = pointwise(arena, weights, "prior.stem", prior, hyper);
    this.levelBias = weights.ints("prior.level_bias", anchors, prior);
    this.upsampling = ["64", "32"].map((side) => ({
      block: block(`block${side}`),
      up: pointwise(arena, weights, `prior.up${side}`, 4 * prior, prior),
    }));
    this.last = block("block16");
    this.steps = STEPS.map(({ context, blocks, head }, pass) => ({
      context: context ? this.contexts(weights, `prior.${context}`, pass) : [],
      blocks: blocks.map(block),
      ...this.heads(weights, `prior.${head}`),
    }));
    this.yTables = new Tables(arena, weights, "tables.y", MAX_SYMBOL);
    this.zTables = new Tables(arena, weights, "tables.z", MAX_HYPER);
    this.zContext = weights.ints("tables.z_context", anchors, CONTEXTS, hyper);
    const sound = this.zContext.every((number) => number >= 0 && number < this.zTables.count);
    if (this.yTables.count !== SCALES || !sound) {
      throw new CodecError("WeightsError", "the frequency tables do not fit the model");
    }
  }

  private contexts(weights: Weights, name: string, pass: number): Linear[] {
    const { arena, channels, part, width } = this;
    const weight = weights.ints(`${name}.weight`, width, channels);
    const bias = weights.ints(`${name}.bias`, width);
    const exact = exactWeights(weight, bias, width);
    return [0, 1, 2, 3].map((own) => {
      const known = pass * part;
      const chosen = new Float64Array(width * known);
      for (let o = 0; o < width; o++) {
        for (let k = 0; k < pass; k++) {
          const first = o * channels + (own ^ k) * part;
          chosen.set(exact.subarray(first, first + part), o * known + k * part);
        }
      }
      return new Linear(arena, 64, width, known, chosen, offsets(bias));
    });
  }

  private heads(weights: Weights, name: string): Pick<Step, "heads" | "levelBias"> {
    const { arena, channels, part, width, anchors } = this;
    const weight = weights.ints(`${name}.weight`, 2 * channels, width);
    const levelBias = weights.ints(`${name}.level_bias`, anchors, 2 * channels);
    const exact = exactWeights(weight, levelBias, 2 * channels);
    const heads = [0, 1, 2, 3].map((p) => {
      const rows = (first: number) => exact.subarray(first * width, (first + part) * width);
      const chosen = new Float64Array(2 * part * width);
      chosen.set(rows(p * part));
      chosen.set(rows(channels + p * part), part * width);
      return new Linear(arena, 64, 2 * part, width, chosen, null);
    });
    return { heads, levelBias };
  }

  read(stream: Uint8Array, rows: number, columns: number, levels: Levels): Latents {
    return this.arena.scoped(() => {
      startStream(this.arena, stream);
      const coarse = levelsOfHyper(levels, rows, columns);
      const z = this.readHyper(rows, columns, coarse);
      const features = this.features(z.symbols, rows, columns, coarse);
      const latents = this.readPasses(features, rows, columns, levels, z.checksum);
      endStream(this.arena);
      return latents;
    });
  }

  /** Hyper-latents z, diagonal by diagonal. */
  private readHyper(
    rows: number,
    columns: number,
    levels: Levels,
  ): { symbols: Int32Array; checksum: number } {
    const { arena, hyper, zContext } = this;
    const height = Math.ceil(rows / HYPER_STRIDE);
    const width = Math.ceil(columns / HYPER_STRIDE);
    const z = new Int32Array(hyper * height * width);
    const most = hyper * Math.min(height, width);
    const numbersAt = arena.allocate(2 * most);
    const outAt = arena.allocate(4 * most);
    const clampReach = (v: number) => Math.max(-REACH, Math.min(REACH, v));
    for (let diagonal = 0; diagonal < height + width - 1; diagonal++) {
      const first = Math.max(0, diagonal - width + 1);
      const end = Math.min(height, diagonal + 1);
      let count = 0;
      const numbers = arena.u16(numbersAt, most);
      for (let n = 0; n < hyper; n++) {
        for (let r = first; r < end; r++) {
          const c = diagonal - r;
          const at = (n * height + r) * width + c;
          const above = r ? z[at - width]! : 0;
          const level = typeof levels === "number" ? levels : levels[r * width + c]!;
          const left = clampReach(c ? z[at - 1]! : above);
          const up = clampReach(r ? above : left);
          const context = ((level + 2048) >> 12) * CONTEXTS + 5 * (left + REACH) + up + REACH;
          numbers[count++] = zContext[context * hyper + n]!;
        }
      }
      this.zTables.decode(numbersAt, count, outAt);
      const out = arena.i32(outAt, count);
      count = 0;
      for (let n = 0; n < hyper; n++) {
        for (let r = first; r < end; r++) {
          z[(n * height + r) * width + diagonal - r] = out[count++]!;
        }
      }
    }
    const checksum = arena.scoped(() => {
      const all = arena.allocate(4 * z.length);
      arena.i32(all, z.length).set(z);
      return checksumOf(arena, all, z.length, 0);
    });
    return { symbols: z, checksum };
  }

  /** Features F [prior, rows, columns] from z. */
  private features(z: Int32Array, rows: number, columns: number, levels: Levels): Address {
    const { arena, width } = this;
    const features = arena.allocate(8 * width * rows * columns);
    arena.scoped(() => {
      let height = Math.ceil(rows / HYPER_STRIDE);
      let across = Math.ceil(columns / HYPER_STRIDE);
      let count = height * across;
      const input = arena.allocate(8 * z.length);
      let h = arena.allocate(8 * width * count);
      arena.f64(input, z.length).set(Float64Array.from(z, (symbol) => UNIT * symbol));
      this.stem.run(input, count, count, h, count, PLAIN);
      const bias = byPosition(levels, count, (level) => this.levelBiasAt(level));
      const values = arena.f64(h, width * count);
      for (let c = 0, at = 0; c < width; c++) {
        for (let i = 0; i < count; i++, at++) values[at] = clamp(values[at]! + bias[i]![c]!);
      }
      this.upsampling.forEach(({ block, up }, i) => {
        block.run(h, height, across);
        const last = i === this.upsampling.length - 1;
        const [tall, wide] = last ? [rows, columns] : [2 * height, 2 * across];
        const four = arena.allocate(32 * width * count);
        const next = last ? features : arena.allocate(32 * width * count);
        up.run(h, count, count, four, count, PLAIN);
        shuffle(arena, four, next, width, height, across, tall, wide);
        h = next;
        height = tall;
        across = wide;
        count = tall * wide;
      });
    });
    this.last.run(features, rows, columns);
    return features;
  }

  private levelBiasAt(level: number): Int32Array {
    return rowAt(this.levelBias, this.anchors, level).map((v) => (v + 32) >> 6);
  }

  /** The four passes of y; columns are by class here, but for the blocks. */
  private readPasses(
    features: Address,
    rows: number,
    columns: number,
    levels: Levels,
    checksumOfZ: number,
  ): Latents {
    const { arena, width, channels, part } = this;
    const count = rows * columns;
    const { order, starts } = positionsByClass(rows, columns, PASSES, classOf);
    const eachClass = (work: (own: number, first: number, length: number) => void) => {
      for (let c = 0; c < PASSES; c++) {
        const length = starts[c + 1]! - starts[c]!;
        if (length) work(c, 8 * starts[c]!, length);
      }
    };
    const packed = arena.allocate(8 * width * count);
    const known = arena.allocate(8 * channels * count);
    const predicted = arena.allocate(16 * part * count);
    const numbersAt = arena.allocate(2 * part * count);
    const symbolsAt = arena.allocate(4 * part * count);
    let checksum = checksumOfZ;
    this.steps.forEach(({ context, blocks, heads, levelBias }, pass) => {
      if (pass) {
        eachClass((own, at, length) => {
          context[own]!.run(known + at, count, length, packed + at, count, PLAIN);
        });
        addColumns(arena, features, packed, width, order);
        for (const block of blocks) block.run(features, rows, columns);
      }
      gather(arena, features, packed, width, order);
      eachClass((own, at, length) => {
        heads[own ^ pass]!.run(packed + at, count, length, predicted + at, count, RAW);
      });
      const bias = byPosition(levels, count, (level) =>
        offsets(rowAt(levelBias, this.anchors, level)),
      );
      const size = part * count;
      const predictions = arena.f64(predicted, 2 * size);
      for (let own = 0; own < PASSES; own++) {
        for (let o = 0; o < 2 * part; o++) {
          // Means of a part, then its scales.
          const channel = (o < part ? o : channels + o - part) + (own ^ pass) * part;
          for (let i = starts[own]!; i < starts[own + 1]!; i++) {
            const at = o * count + i;
            predictions[at] = clamp(Math.floor(predictions[at]! + bias[order[i]!]![channel]!));
          }
        }
      }
      const scales = arena.f64(predicted + 8 * size, size);
      const numbers = arena.u16(numbersAt, size);
      for (let i = 0; i < size; i++) {
        numbers[i] = Math.max(0, Math.min(SCALES - 1, (scales[i]! + UNIT / 2) >> 10));
      }
      this.yTables.decode(numbersAt, size, symbolsAt);
      checksum = checksumOf(arena, symbolsAt, size, checksum);
      const symbols = arena.i32(symbolsAt, size);
      const means = arena.f64(predicted, size);
      const latents = arena.f64(known + 8 * pass * size, size);
      for (let i = 0; i < size; i++) latents[i] = clamp(UNIT * symbols[i]! + means[i]!);
    });
    const all = arena.f64(known, channels * count);
    const y = new Float32Array(channels * count);
    for (let pass = 0; pass < PASSES; pass++) {
      for (let own = 0; own < PASSES; own++) {
        for (let channel = 0; channel < part; channel++) {
          const from = (pass * part + channel) * count;
          const to = ((own ^ pass) * part + channel) * count;
          for (let i = starts[own]!; i < starts[own + 1]!; i++) {
            y[to + order[i]!] = all[from + i]! / UNIT;
          }
        }
      }
    }
    return { y, checksum };
  }
}

/** x[c, order[i]] = clamp(x[c, order[i]] + added[c, i]). */
function addColumns(
  arena: Arena,
  x: Address,
  added: Address,
  channels: number,
  order: Int32Array,
): void {
  const count = order.length;
  const to = arena.f64(x, channels * count);
  const from = arena.f64(added, channels * count);
  for (let c = 0; c < channels * count; c += count) {
    for (let i = 0; i < count; i++) {
      const at = c + order[i]!;
      to[at] = clamp(to[at]! + from[c + i]!);
    }
  }
}
