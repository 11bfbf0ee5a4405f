/** Layers in exact arithmetic (FORMAT.md): integers in units of 2^-10, held as f64. */

import { CodecError } from "./errors.ts";
import { ADD, type Address, type Arena, Depthwise3, Linear, RELU } from "./kernels.ts";
import type { Weights } from "./weights.ts";

/** One, as an activation. */
export const UNIT = 1024;
export const LOWEST = -(2 ** 21);
export const HIGHEST = 2 ** 21 - 1;
const WEIGHT_UNIT = 2 ** -16;

export const clamp = (v: number): number => Math.max(LOWEST, Math.min(HIGHEST, v));

/** Biases as activations, with the 1/2 of rounding. */
export function offsets(bias: Int32Array): Float64Array {
  return Float64Array.from(bias, (b) => b * (UNIT * WEIGHT_UNIT) + 0.5);
}

/** Weights in units of 1, once no sum can leave the range in which it is exact. */
export function exactWeights(weight: Int32Array, bias: Int32Array, outputs: number): Float64Array {
  const depth = weight.length / outputs;
  for (let o = 0; o < outputs; o++) {
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += Math.abs(weight[o * depth + k]!);
    let largest = 0;
    for (let at = o; at < bias.length; at += outputs) {
      largest = Math.max(largest, Math.abs(bias[at]!));
    }
    if (UNIT * largest + 2 ** 21 * sum + 2 ** 16 >= 2 ** 52) {
      throw new CodecError("WeightsError", "a layer exceeds the range of exact arithmetic");
    }
  }
  const exact = new Float64Array(weight.length);
  for (let i = 0; i < weight.length; i++) exact[i] = weight[i]! * WEIGHT_UNIT;
  return exact;
}

/** The layer `NAME.weight`, `NAME.bias`. */
export function pointwise(
  arena: Arena,
  weights: Weights,
  name: string,
  outputs: number,
  inputs: number,
): Linear {
  const weight = weights.ints(`${name}.weight`, outputs, inputs);
  const bias = weights.ints(`${name}.bias`, outputs);
  const exact = exactWeights(weight, bias, outputs);
  return new Linear(arena, 64, outputs, inputs, exact, offsets(bias));
}

/** Residual block x + w2 relu(dw relu(w1 x)), in place. */
export class ExactBlock {
  private readonly w1: Linear;
  private readonly dw: Depthwise3;
  private readonly w2: Linear;

  constructor(
    private readonly arena: Arena,
    weights: Weights,
    name: string,
    private readonly channels: number,
  ) {
    this.w1 = pointwise(arena, weights, `${name}.w1`, channels, channels);
    const weight = weights.ints(`${name}.dw.weight`, channels, 3, 3);
    const bias = weights.ints(`${name}.dw.bias`, channels);
    const exact = exactWeights(weight, bias, channels);
    this.dw = new Depthwise3(arena, 64, channels, exact, offsets(bias));
    this.w2 = pointwise(arena, weights, `${name}.w2`, channels, channels);
  }

  /** @param x [channels, height, width]. */
  run(x: Address, height: number, width: number): void {
    const { arena, channels } = this;
    const count = height * width;
    arena.scoped(() => {
      const h = arena.allocate(8 * channels * count);
      this.w1.run(x, count, count, h, count, RELU);
      this.dw.run(h, height, width);
      this.w2.run(h, count, count, x, count, ADD);
    });
  }
}

/** [4 C, height, width] to [C, 2 height, 2 width], of which the first rows and columns are kept. */
export function shuffle(
  arena: Arena,
  x: Address,
  out: Address,
  channels: number,
  height: number,
  width: number,
  rows: number,
  columns: number,
): void {
  const from = arena.f64(x, 4 * channels * height * width);
  const to = arena.f64(out, channels * rows * columns);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let r = 0; r < rows; r++) {
      const row = ((4 * c + 2 * (r & 1)) * height + (r >> 1)) * width;
      for (let j = 0; j < columns; j++) {
        to[at++] = from[row + (j & 1) * height * width + (j >> 1)]!;
      }
    }
  }
}

/** Columns of [channels, count] in another order: out[c, i] = x[c, order[i]]. */
export function gather(
  arena: Arena,
  x: Address,
  out: Address,
  channels: number,
  order: Int32Array,
): void {
  const count = order.length;
  const from = arena.f64(x, channels * count);
  const to = arena.f64(out, channels * count);
  for (let c = 0; c < channels * count; c += count) {
    for (let i = 0; i < count; i++) to[c + i] = from[c + order[i]!]!;
  }
}

/** Row-major positions by class, those of each class rising; and where each class begins. */
export function positionsByClass(
  rows: number,
  columns: number,
  classes: number,
  classOf: (row: number, column: number) => number,
): { order: Int32Array; starts: number[] } {
  const found: number[][] = Array.from({ length: classes }, () => []);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) found[classOf(r, c)]!.push(r * columns + c);
  }
  const starts = [0];
  for (const own of found) starts.push(starts.at(-1)! + own.length);
  return { order: Int32Array.from(found.flat()), starts };
}

/** Row of a table [anchors, n] at a level, by integer interpolation. */
export function rowAt(table: Int32Array, anchors: number, level: number): Int32Array {
  const n = table.length / anchors;
  const r = level >> 12;
  const f = level & 4095;
  const row = table.slice(r * n, (r + 1) * n);
  if (f === 0) return row;
  return row.map((v, i) =>
    Math.floor((v * (4096 - f) + table[(r + 1) * n + i]! * f + 2048) / 4096),
  );
}
