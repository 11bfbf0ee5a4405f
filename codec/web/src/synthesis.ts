/** Synthesis g_s and the restoration filter (FORMAT.md), in floating point. */

import { CodecError } from "./errors.ts";
import { type Box, LATENT_STRIDE } from "./geometry.ts";
import { ADD, type Address, type Arena, Depthwise3, Linear, PLAIN, RELU } from "./kernels.ts";
import { byPosition, type Levels } from "./levels.ts";
import type { Config, Weights } from "./weights.ts";

const COLOURS = 3;
/** Samples a side of the blocks that the stem writes, and that the filter at 1/4 reads. */
const STEM = 8;
const FILTER = 4;
/** Pixels that the filter at 1/4 sees: two 3x3. */
const FILTER_RADIUS = 8;
const KERNEL_RADIUS = 2;
const KERNEL_SIDE = 2 * KERNEL_RADIUS + 1;
/** Columns of a gated branch that are in work at once, so that they stay in the cache. */
const GATED = 2048;

/** Samples [3, height, width], about 0..1. */
export interface Samples {
  values: Float32Array;
  height: number;
  width: number;
}

/** A matrix and its bias. */
function dense(arena: Arena, weights: Weights, name: string, out: number, depth: number): Linear {
  return new Linear(
    arena,
    32,
    out,
    depth,
    weights.floats(`${name}.weight`, out, depth),
    weights.floats(`${name}.bias`, out),
  );
}

class Block {
  private readonly w1: Linear;
  private readonly dw: Depthwise3;
  private readonly w2: Linear;
  private readonly w3: Linear | null;
  private readonly w4: Linear | null;
  private readonly bound: number;

  constructor(
    private readonly arena: Arena,
    weights: Weights,
    name: string,
    private readonly channels: number,
    private readonly hidden: number,
    gated: boolean,
  ) {
    const layer = (part: string, outputs: number, inputs = channels) =>
      dense(arena, weights, `${name}.${part}`, outputs, inputs);
    this.w1 = layer("w1", hidden);
    this.dw = new Depthwise3(
      arena,
      32,
      hidden,
      weights.floats(`${name}.dw.weight`, hidden, 3, 3),
      weights.floats(`${name}.dw.bias`, hidden),
    );
    this.w2 = layer("w2", channels, hidden);
    this.w3 = gated ? layer("w3", 2 * channels) : null;
    this.w4 = gated ? layer("w4", channels) : null;
    this.bound = weights.config.gate_bound || Number.POSITIVE_INFINITY;
  }

  /** @param x [channels, height, width], changed in place. */
  run(x: Address, height: number, width: number): void {
    const { arena, channels, hidden } = this;
    const count = height * width;
    arena.scoped(() => {
      const h = arena.allocate(4 * hidden * count);
      this.w1.run(x, count, count, h, count, RELU);
      this.dw.run(h, height, width);
      this.w2.run(h, count, count, x, count, ADD);
    });
    if (!this.w3 || !this.w4) return;
    const { w3, w4 } = this;
    arena.scoped(() => {
      const u = arena.allocate(8 * channels * GATED);
      for (let first = 0; first < count; first += GATED) {
        const length = Math.min(GATED, count - first);
        const at = x + 4 * first;
        w3.run(at, count, length, u, length, PLAIN);
        const v = u + 4 * channels * length;
        arena.kernels.gate32(u, v, channels * length, this.bound);
        w4.run(u, length, length, at, count, ADD);
      }
    });
  }
}

/** A plane of channels with a border of zeros, for convolutions. */
interface Bordered {
  at: Address;
  /** Elements of a channel, and of a row. */
  plane: number;
  stride: number;
}

/** The filter at 1/4: blocks of 4x4 samples as channels. */
class Filter {
  private readonly enter: Linear;
  private readonly mix: Linear;
  private readonly leave: Linear;
  readonly channels = COLOURS * FILTER ** 2;

  constructor(
    private readonly arena: Arena,
    weights: Weights,
    private readonly width: number,
  ) {
    const convolution = (name: string, outputs: number, inputs: number, side: number) =>
      new Linear(
        arena,
        32,
        outputs,
        inputs * side ** 2,
        weights.floats(`g_s.filter.${name}.weight`, outputs, inputs, side, side),
        weights.floats(`g_s.filter.${name}.bias`, outputs),
      );
    this.enter = convolution("enter", width, this.channels, 3);
    this.mix = convolution("mix", width, width, 1);
    this.leave = convolution("leave", this.channels, width, 3);
  }

  /** @param x 48 channels of `height` rows inside the border, changed in place. */
  run(x: Bordered, height: number): void {
    const { arena } = this;
    const { plane, stride } = x;
    // Rows stay joined: the columns of the border come out too, and are cleared.
    const columns = height * stride - 2;
    const inside = 4 * (stride + 1);
    const places = (channels: number) =>
      Int32Array.from({ length: 9 * channels }, (_, k) => {
        const tap = k % 9;
        return Math.floor(k / 9) * plane + Math.floor(tap / 3) * stride + (tap % 3);
      });
    arena.scoped(() => {
      const size = this.width * plane;
      const h = arena.allocate(4 * size);
      const mixed = arena.allocate(4 * size);
      arena.f32(mixed, size).fill(0);
      this.enter.run(x.at, places(this.channels), columns, h, plane, RELU);
      this.mix.run(h, plane, columns, mixed + inside, plane, RELU);
      clearBorder(arena.f32(mixed, size), plane, stride);
      this.leave.run(mixed, places(this.width), columns, x.at + inside, plane, ADD);
    });
  }
}

/** Set the columns of the border to zero. */
function clearBorder(values: Float32Array, plane: number, stride: number): void {
  for (let first = 0; first < values.length; first += plane) {
    for (let row = first; row + stride <= first + plane; row += stride) {
      values[row] = 0;
      values[row + stride - 1] = 0;
    }
  }
}

/** The synthesis of one model; it knows `lowres`, which all released models have. */
export class Synthesis {
  /** Latent positions around a window that its samples depend on. */
  readonly halo: number;
  /** Likewise, that they still depend on at 1/8 and at 1/4. */
  private readonly margins: [number, number];
  /** Number of kernels of the restoration filter. */
  readonly kernels: number;
  private readonly config: Config;
  private readonly logInverse: Float32Array | null;
  private readonly logScale: Float32Array;
  private readonly head: Linear;
  private readonly blocks16: Block[];
  private readonly up: Linear;
  private readonly blocks8: Block[];
  private readonly stem: Linear;
  private readonly filter: Filter | null;
  private readonly restoration: { kernels: Float32Array; offsets: Float32Array } | null;

  constructor(
    private readonly arena: Arena,
    weights: Weights,
  ) {
    const { config } = weights;
    this.config = config;
    if (config.transform !== "lowres") {
      throw new CodecError("WeightsError", `this reader has no transform ${config.transform}`);
    }
    const { latent, channels8, channels16, anchors } = config;
    const layer = (name: string, outputs: number, inputs: number) =>
      dense(arena, weights, `g_s.${name}`, outputs, inputs);
    const blocks = (
      name: string,
      channels: number,
      hidden: number,
      count: number,
      gated: boolean,
    ) =>
      Array.from(
        { length: count },
        (_, i) => new Block(arena, weights, `g_s.${name}.${i}`, channels, hidden, gated),
      );
    const integer = config.rounding === "integer";
    this.logInverse = integer ? weights.floats("gain.log_inverse", anchors, latent) : null;
    this.logScale = weights.floats("g_s.scale.log_scale", anchors, channels8);
    this.head = layer("head", channels16, latent);
    this.blocks16 = blocks(
      "blocks16",
      channels16,
      config.hidden16 || channels16,
      config.blocks16,
      config.gates16,
    );
    this.up = layer("up", 4 * channels8, channels16);
    this.blocks8 = blocks("blocks8", channels8, channels8, config.blocks8, true);
    this.stem = layer("stem", COLOURS * STEM ** 2, channels8);
    this.filter = config.filter4 ? new Filter(arena, weights, config.filter4) : null;
    this.kernels = weights.has("restoration.kernels")
      ? weights.shape("restoration.kernels")[0]!
      : 0;
    this.restoration = this.kernels
      ? {
          kernels: weights.floats(
            "restoration.kernels",
            ...[this.kernels, COLOURS, COLOURS, KERNEL_SIDE, KERNEL_SIDE],
          ),
          offsets: weights.floats("restoration.offsets", this.kernels, COLOURS),
        }
      : null;
    const last = (this.kernels && KERNEL_RADIUS) + (this.filter ? FILTER_RADIUS : 0);
    const positions = (pixels: number) => Math.ceil(pixels / LATENT_STRIDE);
    this.margins = [positions(8 * config.blocks8 + last), positions(last)];
    this.halo = config.blocks16 + this.margins[0];
  }

  /**
   * Samples of a box of latent positions.
   *
   * @param y [M, height, width].
   * @param whole the positions of y.
   * @param inner those whose samples are asked for; the others are a halo, where the picture does
   *   not end.
   */
  run(y: Float32Array, whole: Box, inner: Box, levels: Levels, restoration: Int8Array): Samples {
    const { arena } = this;
    return arena.scoped(() => {
      let known = whole;
      const at8 = this.eighth(y, whole, levels, inner.grown(this.margins[0], whole));
      known = inner.grown(this.margins[0], whole);
      let samples: Samples;
      if (this.filter) {
        const kept = inner.grown(this.margins[1], known);
        samples = this.filtered(at8, this.filter, known, kept);
        known = kept;
      } else {
        samples = this.unfiltered(at8, known);
      }
      makeFinite(samples.values);
      if (restoration.length) samples = this.restored(samples, restoration);
      return cropped(samples, inner.relativeTo(known).enlarged(LATENT_STRIDE));
    });
  }

  /** From latents to features at 1/8 [C8, 2 h, 2 w] of a box. */
  private eighth(y: Float32Array, whole: Box, levels: Levels, kept: Box): Address {
    const { arena } = this;
    const { latent, channels8, channels16 } = this.config;
    const { height, width, area: count } = whole;
    const out = arena.allocate(16 * channels8 * kept.area);
    arena.scoped(() => {
      const h = arena.allocate(4 * channels16 * count);
      arena.scoped(() => {
        const input = arena.allocate(4 * latent * count);
        const values = arena.f32(input, latent * count);
        values.set(y);
        if (this.logInverse) scale(values, this.factors(this.logInverse, levels, count), 1);
        this.head.run(input, count, count, h, count, PLAIN);
      });
      for (const block of this.blocks16) block.run(h, height, width);
      const four = arena.allocate(16 * channels8 * count);
      this.up.run(h, count, count, four, count, PLAIN);
      const place = kept.relativeTo(whole).enlarged(2);
      const values = arena.f32(out, 4 * channels8 * kept.area);
      const from = arena.f32(four, 4 * channels8 * count);
      // Each group of four channels is one at 1/8, which is scaled before it is shuffled.
      const factors = this.factors(this.logScale, levels, count);
      scale(from, factors, 4);
      unfold(from, values, channels8, whole, 2, place);
    });
    for (const block of this.blocks8) block.run(out, 2 * kept.height, 2 * kept.width);
    return out;
  }

  /** Samples without a filter at 1/4. */
  private unfiltered(at8: Address, box: Box): Samples {
    const { arena } = this;
    const eighth = box.enlarged(2);
    const count = eighth.area;
    const blocks = arena.allocate(4 * COLOURS * STEM ** 2 * count);
    this.stem.run(at8, count, count, blocks, count, PLAIN);
    const values = new Float32Array(COLOURS * STEM ** 2 * count);
    const all = eighth.relativeTo(eighth).enlarged(STEM);
    unfold(arena.f32(blocks, values.length), values, COLOURS, eighth, STEM, all);
    addHalf(values);
    return { values, height: all.height, width: all.width };
  }

  /** Samples of a box, after the filter at 1/4. */
  private filtered(at8: Address, filter: Filter, known: Box, kept: Box): Samples {
    const { arena } = this;
    const eighth = known.enlarged(2);
    const { height, width } = kept.enlarged(4);
    const stride = width + 2;
    const plane = (height + 2) * stride;
    const at = arena.allocate(4 * filter.channels * plane);
    arena.f32(at, filter.channels * plane).fill(0);
    arena.scoped(() => {
      const count = eighth.area;
      const blocks = arena.allocate(4 * COLOURS * STEM ** 2 * count);
      this.stem.run(at8, count, count, blocks, count, PLAIN);
      const from = arena.f32(blocks, COLOURS * STEM ** 2 * count);
      const to = arena.f32(at, filter.channels * plane);
      const corner = kept.relativeTo(known).enlarged(4);
      // The stem writes (colour, row, column) of 8x8; the filter reads those of 4x4.
      for (let channel = 0; channel < filter.channels; channel++) {
        const colour = Math.floor(channel / FILTER ** 2);
        const row = Math.floor(channel / FILTER) % FILTER;
        const column = channel % FILTER;
        for (let i = 0; i < height; i++) {
          const r = corner.top + i;
          const first = (colour * STEM + (r & 1) * FILTER + row) * STEM + column;
          const place = (r >> 1) * eighth.width;
          let target = channel * plane + (i + 1) * stride + 1;
          for (let c = corner.left; c < corner.right; c++) {
            to[target++] = from[(first + (c & 1) * FILTER) * count + place + (c >> 1)]!;
          }
        }
      }
    });
    filter.run({ at, plane, stride }, height);
    const from = arena.f32(at, filter.channels * plane);
    const across = FILTER * width;
    const values = new Float32Array(COLOURS * FILTER * height * across);
    for (let colour = 0; colour < COLOURS; colour++) {
      for (let r = 0; r < FILTER * height; r++) {
        const first = (colour * FILTER + (r & 3)) * FILTER * plane + ((r >> 2) + 1) * stride + 1;
        const target = (colour * FILTER * height + r) * across;
        for (let c = 0; c < across; c++) {
          values[target + c] = from[first + (c & 3) * plane + (c >> 2)]!;
        }
      }
    }
    addHalf(values);
    return { values, height: FILTER * height, width: across };
  }

  /** Samples after the restoration filter with the weights of a file. */
  private restored({ values, height, width }: Samples, weights: Int8Array): Samples {
    const { arena, restoration } = this;
    const taps = COLOURS * KERNEL_SIDE ** 2; // of each colour
    const kernel = new Float64Array(COLOURS * taps);
    const bias = new Float64Array(COLOURS);
    for (const [k, weight] of weights.entries()) {
      for (let i = 0; i < kernel.length; i++) {
        kernel[i]! += weight * restoration!.kernels[k * kernel.length + i]!;
      }
      for (let i = 0; i < COLOURS; i++) {
        bias[i]! += weight * restoration!.offsets[k * COLOURS + i]!;
      }
    }
    const stride = width + 2 * KERNEL_RADIUS;
    const plane = (height + 2 * KERNEL_RADIUS) * stride;
    const columns = height * stride - 2 * KERNEL_RADIUS;
    const within = (v: number, size: number) => Math.max(0, Math.min(size - 1, v));
    const clamped = values.map((v) => Math.max(0, Math.min(1, v)));
    return arena.scoped(() => {
      const layer = new Linear(arena, 32, COLOURS, taps, kernel, bias);
      const input = arena.allocate(4 * COLOURS * plane);
      const out = arena.allocate(4 * COLOURS * height * stride);
      const around = arena.f32(input, COLOURS * plane);
      let at = 0;
      for (let colour = 0; colour < COLOURS; colour++) {
        for (let r = -KERNEL_RADIUS; r < height + KERNEL_RADIUS; r++) {
          const row = (colour * height + within(r, height)) * width;
          for (let c = -KERNEL_RADIUS; c < width + KERNEL_RADIUS; c++) {
            around[at++] = clamped[row + within(c, width)]! - 0.5;
          }
        }
      }
      const places = Int32Array.from({ length: taps }, (_, k) => {
        const tap = k % KERNEL_SIDE ** 2;
        const colour = Math.floor(k / KERNEL_SIDE ** 2);
        return colour * plane + Math.floor(tap / KERNEL_SIDE) * stride + (tap % KERNEL_SIDE);
      });
      layer.run(input, places, columns, out, height * stride, PLAIN);
      const change = arena.f32(out, COLOURS * height * stride);
      for (let r = 0; r < COLOURS * height; r++) {
        for (let c = 0; c < width; c++) clamped[r * width + c]! += change[r * stride + c]!;
      }
      makeFinite(clamped);
      return { values: clamped, height, width };
    });
  }

  /** Exponentials of a table of logarithms [anchors, n] at the level of each position. */
  private factors(table: Float32Array, levels: Levels, count: number): Float32Array[] {
    const { anchors } = this.config;
    const n = table.length / anchors;
    return byPosition(levels, count, (level) => {
      const r = Math.min(level >> 12, Math.max(anchors - 2, 0));
      const next = Math.min(r + 1, anchors - 1);
      const f = level / 4096 - r;
      return Float32Array.from({ length: n }, (_, i) => {
        const low = table[r * n + i]!;
        return Math.exp(low + f * (table[next * n + i]! - low));
      });
    });
  }
}

/** Multiply [repeats n, count] by the factors [count][n] of each position. */
function scale(x: Float32Array, factors: Float32Array[], repeats: number): void {
  const count = factors.length;
  for (let row = 0, at = 0; at < x.length; row++) {
    const channel = Math.floor(row / repeats);
    for (let i = 0; i < count; i++) x[at++]! *= factors[i]![channel]!;
  }
}

/** A box of the shuffle of [side^2 C, h, w] to [C, side h, side w]. */
function unfold(
  from: Float32Array,
  to: Float32Array,
  channels: number,
  { area, width }: Box,
  side: number,
  box: Box,
): void {
  let at = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let r = box.top; r < box.bottom; r++) {
      const first = (channel * side + (r % side)) * side;
      const row = Math.floor(r / side) * width;
      for (let c = box.left; c < box.right; c++) {
        to[at++] = from[(first + (c % side)) * area + row + Math.floor(c / side)]!;
      }
    }
  }
}

function addHalf(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i]! += 0.5;
}

/** Latents outside of what the model was trained on can overflow. */
function makeFinite(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) values[i] = 0.5;
}

function cropped({ values, height, width }: Samples, box: Box): Samples {
  if (box.height === height && box.width === width) return { values, height, width };
  const out = new Float32Array(COLOURS * box.area);
  for (let colour = 0; colour < COLOURS; colour++) {
    for (let r = 0; r < box.height; r++) {
      const row = (colour * height + box.top + r) * width;
      out.set(
        values.subarray(row + box.left, row + box.right),
        (colour * box.height + r) * box.width,
      );
    }
  }
  return { values: out, height: box.height, width: box.width };
}
