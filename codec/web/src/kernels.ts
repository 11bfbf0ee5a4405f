/**
 * What takes the time: WebAssembly from `kernels/`, or the same in JavaScript where there is none.
 *
 * Integers come out the same bit for bit; floats may differ in their last bits.
 */

import plain from "../build/kernels.wasm";
import relaxed from "../build/kernels-relaxed.wasm";
import { scriptKernels } from "./kernels-script.ts";

/** Address in the memory of the kernels. */
export type Address = number;

/**
 * What becomes of the sums of a layer: nothing; a rectifier; they are added to what is there.
 * Exact ones are rounded and clamped but for raw ones.
 */
export const PLAIN = 0;
export const RELU = 1;
export const ADD = 2;
export const RAW = 3;

/** Columns of a product that are packed at once; its scratch has so many for each input. */
const BLOCK = 64;
/** Products read so many bytes behind their columns. */
const SLACK = 64;
const ALIGNMENT = 16;
const PAGE = 2 ** 16;

export interface Memory {
  readonly buffer: ArrayBuffer;
  /** Add pages of 64 KiB. */
  grow(pages: number): number;
}

/** The functions of `kernels/kernels.ts`, which has what their arguments are. */
export interface Kernels {
  readonly memory: Memory;
  product32: Product;
  product64: Product;
  depthwise32: Depthwise;
  depthwise64: Depthwise;
  gate32(u: Address, v: Address, count: number, bound: number): void;
  rangeStart(stream: Address, words: number): void;
  rangeGroup(
    numbers: Address,
    count: number,
    tables: Address,
    tableCount: number,
    starts: Address,
    out: Address,
    scratch: Address,
  ): boolean;
  rangeIndices(
    logits: Address,
    count: number,
    size: number,
    powers: Address,
    powerCount: number,
    out: Address,
    scratch: Address,
  ): boolean;
  rangeEnd(): boolean;
}

type Product = (
  weight: Address,
  bias: Address,
  outputs: number,
  depth: number,
  x: Address,
  offsets: Address,
  columns: number,
  out: Address,
  step: number,
  mode: number,
  scratch: Address,
) => void;

type Depthwise = (
  weight: Address,
  bias: Address,
  channels: number,
  height: number,
  width: number,
  x: Address,
  scratch: Address,
) => void;

/** The fastest kernels that there are here. */
export function bestKernels(): Kernels {
  for (const bytes of [relaxed, plain]) {
    try {
      const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
        env: {
          abort() {
            throw new Error("a kernel failed");
          },
        },
      });
      return instance.exports as unknown as Kernels;
    } catch {
      // no SIMD of this kind, or no WebAssembly at all
    }
  }
  return scriptKernels();
}

/** The memory of kernels, as a stack: all that is allocated in `scoped` is free behind it. */
export class Arena {
  private top: Address = PAGE;

  constructor(readonly kernels: Kernels) {}

  allocate(bytes: number): Address {
    const address = this.top;
    this.top += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    const { memory } = this.kernels;
    const missing = this.top + SLACK - memory.buffer.byteLength;
    if (missing > 0) {
      // In larger steps, since the fallback's memory is copied when it grows.
      const more = Math.max(missing, Math.min(memory.buffer.byteLength >> 2, 2 ** 25));
      memory.grow(Math.ceil(more / PAGE));
    }
    return address;
  }

  scoped<T>(work: () => T): T {
    const { top } = this;
    try {
      return work();
    } finally {
      this.top = top;
    }
  }

  /** Arrays are valid until the next allocation. */
  f32(at: Address, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.kernels.memory.buffer, at, length);
  }

  f64(at: Address, length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.kernels.memory.buffer, at, length);
  }

  i32(at: Address, length: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.kernels.memory.buffer, at, length);
  }

  u16(at: Address, length: number): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.kernels.memory.buffer, at, length);
  }

  u8(at: Address, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.kernels.memory.buffer, at, length);
  }
}

/** Exact layers work on f64, those of the synthesis on f32. */
export type Precision = 32 | 64;

/** A linear layer of one precision: out = weight x + bias, at each column. */
export class Linear {
  private readonly weight: Address;
  private readonly bias: Address;

  /**
   * @param weight [outputs, depth].
   * @param bias [outputs]; null for none.
   */
  constructor(
    private readonly arena: Arena,
    private readonly precision: Precision,
    readonly outputs: number,
    readonly depth: number,
    weight: ArrayLike<number>,
    bias: ArrayLike<number> | null,
  ) {
    const groups = Math.ceil(outputs / 4);
    this.weight = arena.allocate((groups * 4 * depth * precision) / 8);
    this.bias = arena.allocate((groups * 4 * precision) / 8);
    const packed = this.view(this.weight, groups * 4 * depth).fill(0);
    for (let o = 0; o < outputs; o++) {
      const first = (o >> 2) * 4 * depth + (o & 3);
      for (let k = 0; k < depth; k++) packed[first + 4 * k] = weight[o * depth + k]!;
    }
    this.view(this.bias, groups * 4).fill(0);
    if (bias) this.view(this.bias, outputs).set(bias);
  }

  /**
   * @param x address of the first input.
   * @param stride elements from one input to the next, or the place of each.
   * @param out address of the first output.
   * @param step elements from one output to the next.
   */
  run(
    x: Address,
    stride: number | Int32Array,
    columns: number,
    out: Address,
    step: number,
    mode: number,
  ): void {
    const { arena, precision, depth } = this;
    arena.scoped(() => {
      const offsets = arena.allocate(4 * depth);
      const scratch = arena.allocate((depth * BLOCK * precision) / 8 + 256);
      const places =
        typeof stride === "number"
          ? Int32Array.from({ length: depth }, (_, k) => k * stride)
          : stride;
      arena.i32(offsets, depth).set(places);
      const product = precision === 64 ? arena.kernels.product64 : arena.kernels.product32;
      product(
        this.weight,
        this.bias,
        this.outputs,
        depth,
        x,
        offsets,
        columns,
        out,
        step,
        mode,
        scratch,
      );
    });
  }

  private view(at: Address, length: number): Float32Array | Float64Array {
    return this.precision === 64 ? this.arena.f64(at, length) : this.arena.f32(at, length);
  }
}

/** A 3x3 convolution of each channel by itself. */
export class Depthwise3 {
  private readonly weight: Address;
  private readonly bias: Address;

  /**
   * @param weight [channels, 3, 3].
   * @param bias [channels].
   */
  constructor(
    private readonly arena: Arena,
    private readonly precision: Precision,
    private readonly channels: number,
    weight: ArrayLike<number>,
    bias: ArrayLike<number>,
  ) {
    this.weight = arena.allocate((9 * channels * precision) / 8);
    this.bias = arena.allocate((channels * precision) / 8);
    const view = (at: Address, length: number) =>
      precision === 64 ? arena.f64(at, length) : arena.f32(at, length);
    view(this.weight, 9 * channels).set(weight);
    view(this.bias, channels).set(bias);
  }

  /** @param x [channels, height, width], changed in place. */
  run(x: Address, height: number, width: number): void {
    const { arena, precision, channels, weight, bias } = this;
    arena.scoped(() => {
      const elements = (height + 2) * (width + 2) + 32;
      const scratch = arena.allocate((elements * precision) / 8);
      const { depthwise64, depthwise32 } = arena.kernels;
      const convolve = precision === 64 ? depthwise64 : depthwise32;
      convolve(weight, bias, channels, height, width, x, scratch);
    });
  }
}
