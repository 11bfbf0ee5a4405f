/** What both roundings have in common: the range decoder, and what a tile's stream gives. */

import { crc32 } from "./crc32.ts";
import { damaged } from "./errors.ts";
import type { Address, Arena } from "./kernels.ts";
import type { Levels } from "./levels.ts";

export interface Latents {
  /** [M, rows, columns]. */
  y: Float32Array;
  /** CRC-32 of the symbols. */
  checksum: number;
}

/** Reads streams of one rounding. */
export interface SymbolReader {
  /**
   * Latents of a tile.
   *
   * @param levels of its latent positions; never a map, vector-quantised.
   */
  read(stream: Uint8Array, rows: number, columns: number, levels: Levels): Latents;
}

/** Begin to decode a stream, which must stay allocated until all of it is decoded. */
export function startStream(arena: Arena, stream: Uint8Array): void {
  if (stream.at(-1) === 0) throw damaged("the coded data is not in canonical form");
  const words = Math.ceil(stream.length / 4);
  const at = arena.allocate(4 * words);
  arena.i32(at, words).fill(0);
  arena.u8(at, stream.length).set(stream);
  arena.kernels.rangeStart(at, words);
}

export function endStream(arena: Arena): void {
  if (!arena.kernels.rangeEnd()) throw damaged("the coded data is longer than its symbols");
}

/** Refuse what a kernel says is impossible. */
export function check(decoded: boolean | number): void {
  if (!decoded) throw damaged("the coded data cannot be decoded");
}

/** CRC-32 of symbols as 16-bit integers, which continue those that `before` is of. */
export function checksumOf(arena: Arena, symbols: Address, count: number, before: number): number {
  const words = Int16Array.from(arena.i32(symbols, count));
  return crc32(new Uint8Array(words.buffer), before);
}
