/** The rate level by latent position: one for a whole picture, or a map (FORMAT.md, "Levels"). */

import { damaged } from "./errors.ts";
import { type Box, HYPER_STRIDE } from "./geometry.ts";
import type { Arena } from "./kernels.ts";
import { check, endStream, startStream } from "./symbols.ts";

/** Side of a cell of a map in pixels, and in latent positions. */
const CELL = 32;
const POSITIONS = 2;
/** Levels that an offset stands for, in 16ths, which the weights of four cells sum up to. */
const STEP = 32;
/** Largest difference of offsets, which are -128..127. */
const REACH = 255;
const LOWEST = -128;
const HIGHEST = 127;

/** One level for all positions of a box, or the levels of each, row by row. */
export type Levels = number | Int32Array;

/** The offsets of the cells of a picture. */
export interface Offsets {
  values: Int8Array;
  rows: number;
  columns: number;
}

/** The levels of a picture. */
export class LevelMap {
  /**
   * @param base level of the file.
   * @param offsets null for one level everywhere.
   * @param top highest level of the model.
   */
  constructor(
    private readonly base: number,
    private readonly offsets: Offsets | null,
    private readonly top: number,
  ) {}

  /** Levels of a box of latent positions of the picture. */
  within(box: Box): Levels {
    const { base, offsets, top } = this;
    if (!offsets) return base;
    const { values, rows, columns } = offsets;
    const levels = new Int32Array(box.area);
    let at = 0;
    for (let i = box.top; i < box.bottom; i++) {
      const [row, otherRow] = cells(i, rows);
      for (let j = box.left; j < box.right; j++) {
        const [column, otherColumn] = cells(j, columns);
        const sum =
          9 * values[row * columns + column]! +
          3 * values[otherRow * columns + column]! +
          3 * values[row * columns + otherColumn]! +
          values[otherRow * columns + otherColumn]!;
        levels[at++] = Math.max(0, Math.min(top, base + STEP * sum));
      }
    }
    return levels;
  }
}

/** The cell that a row or column of positions lies in, and the nearest other one. */
function cells(position: number, count: number): [number, number] {
  const own = Math.floor(position / POSITIONS);
  const other = own + (position % POSITIONS ? 1 : -1);
  return [own, Math.max(0, Math.min(count - 1, other))];
}

/** Levels of the positions of z of a tile, from those of its latents. */
export function levelsOfHyper(levels: Levels, rows: number, columns: number): Levels {
  if (typeof levels === "number") return levels;
  const found = [];
  for (let i = 0; i < rows; i += HYPER_STRIDE) {
    for (let j = 0; j < columns; j += HYPER_STRIDE) {
      const row = Math.min(i + HYPER_STRIDE / 2, rows - 1);
      found.push(levels[row * columns + Math.min(j + HYPER_STRIDE / 2, columns - 1)]!);
    }
  }
  return Int32Array.from(found);
}

/** What belongs to the level of each position, computed once for each level that there is. */
export function byPosition<T>(levels: Levels, count: number, of: (level: number) => T): T[] {
  if (typeof levels === "number") return new Array(count).fill(of(levels));
  const made = new Map<number, T>();
  return Array.from(levels, (level) => {
    let value = made.get(level);
    if (value === undefined) {
      value = of(level);
      made.set(level, value);
    }
    return value;
  });
}

/** Offsets of a picture of so many pixels from the bytes of a map. */
export function readOffsets(
  arena: Arena,
  data: Uint8Array,
  height: number,
  width: number,
): Offsets {
  const rows = Math.ceil(height / CELL);
  const columns = Math.ceil(width / CELL);
  const differences = arena.scoped(() => {
    const count = rows * columns;
    const size = 2 * REACH + 1;
    const table = arena.allocate(12);
    const starts = arena.allocate(4 * size);
    const numbers = arena.allocate(2 * count);
    const out = arena.allocate(4 * count);
    const scratch = arena.allocate(4 * (count + 1));
    startStream(arena, data.subarray(1));
    arena.i32(table, 3).set([-REACH, 0, size]);
    arena.i32(starts, size).set(startsOf(data[0]!));
    arena.u16(numbers, count).fill(0);
    check(arena.kernels.rangeGroup(numbers, count, table, 1, starts, out, scratch));
    endStream(arena);
    return arena.i32(out, count).slice();
  });
  const values = new Int8Array(rows * columns);
  for (let i = 0, at = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++, at++) {
      const left = j ? values[at - 1]! : undefined;
      const above = i ? values[at - columns]! : undefined;
      let predicted = left ?? above ?? 0;
      if (left !== undefined && above !== undefined) {
        const sum = left + above - values[at - columns - 1]!;
        predicted = Math.max(Math.min(left, above), Math.min(Math.max(left, above), sum));
      }
      const offset = predicted + differences[at]!;
      if (offset < LOWEST || offset > HIGHEST) throw damaged("an impossible map of levels");
      values[at] = offset;
    }
  }
  return { values, rows, columns };
}

/** Sums of the frequencies before each difference, for a ratio in 256ths. */
function startsOf(ratio: number): number[] {
  const shares = [2 ** 22];
  for (let v = 0; v < REACH; v++) shares.push((shares[v]! * ratio) >> 8);
  const sum = shares.reduce((a, b) => a + 2 * b, -shares[0]!);
  const size = 2 * REACH + 1;
  const frequencies = shares.map((u) => 1 + Math.floor((u * (2 ** 24 - size)) / sum));
  const others = frequencies.slice(1).reduce((a, b) => a + 2 * b, 0);
  frequencies[0] = 2 ** 24 - others;
  const starts = [0];
  for (let v = -REACH; v < REACH; v++) starts.push(starts.at(-1)! + frequencies[Math.abs(v)]!);
  return starts;
}
