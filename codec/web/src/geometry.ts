/** Geometry of tiles, windows and halos: integers only. */

import type { Region } from "./api.ts";
import { CodecError } from "./errors.ts";

/** Pixels in a row or column of y. */
export const LATENT_STRIDE = 16;
/** Positions of y in a row or column of z. */
export const HYPER_STRIDE = 4;
/** Tile sides are multiples of this. */
export const TILE_UNIT = LATENT_STRIDE * HYPER_STRIDE;

/** A half-open rectangle of pixels or latent positions. */
export class Box {
  constructor(
    readonly left: number,
    readonly top: number,
    readonly right: number,
    readonly bottom: number,
  ) {}

  get width(): number {
    return this.right - this.left;
  }

  get height(): number {
    return this.bottom - this.top;
  }

  get area(): number {
    return this.width * this.height;
  }

  /** Intersection; of no area if the boxes do not meet. */
  and(other: Box): Box {
    const left = Math.max(this.left, other.left);
    const top = Math.max(this.top, other.top);
    const right = Math.max(left, Math.min(this.right, other.right));
    const bottom = Math.max(top, Math.min(this.bottom, other.bottom));
    return new Box(left, top, right, bottom);
  }

  /** Whether all of another box lies in this one. */
  holds(other: Box): boolean {
    return (
      this.left <= other.left &&
      this.top <= other.top &&
      other.right <= this.right &&
      other.bottom <= this.bottom
    );
  }

  /** This box with a margin on every side, cut at the border of `within`. */
  grown(margin: number, within: Box): Box {
    const { left, top, right, bottom } = this;
    return new Box(left - margin, top - margin, right + margin, bottom + margin).and(within);
  }

  /** The same place, counted from the corner of `outer`. */
  relativeTo(outer: Box): Box {
    const left = this.left - outer.left;
    const top = this.top - outer.top;
    return new Box(left, top, left + this.width, top + this.height);
  }

  /** The positions, one per `stride` pixels, that cover this box. */
  shrunk(stride: number): Box {
    const { left, top, right, bottom } = this;
    return new Box(
      Math.floor(left / stride),
      Math.floor(top / stride),
      Math.ceil(right / stride),
      Math.ceil(bottom / stride),
    );
  }

  /** The pixels that positions, one per `stride` pixels, stand for. */
  enlarged(stride: number): Box {
    const { left, top, right, bottom } = this;
    return new Box(left * stride, top * stride, right * stride, bottom * stride);
  }
}

/** A picture cut into square tiles, numbered row by row; side 0 means one tile. */
export class Grid {
  readonly rows: number;
  readonly columns: number;
  readonly whole: Box;

  constructor(
    readonly height: number,
    readonly width: number,
    readonly side = 0,
  ) {
    this.rows = side ? Math.ceil(height / side) : 1;
    this.columns = side ? Math.ceil(width / side) : 1;
    this.whole = new Box(0, 0, width, height);
  }

  get length(): number {
    return this.rows * this.columns;
  }

  /** Pixels of a tile. */
  box(number: number): Box {
    if (!this.side) return this.whole;
    const left = (number % this.columns) * this.side;
    const top = Math.floor(number / this.columns) * this.side;
    return new Box(left, top, left + this.side, top + this.side).and(this.whole);
  }

  /** Tiles that share pixels with a box inside the picture. */
  touched(box: Box): number[] {
    const side = this.side || Math.max(this.height, this.width);
    const { left, top, right, bottom } = box.shrunk(side);
    const found = [];
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) found.push(row * this.columns + column);
    }
    return found;
  }
}

/** Box of a region; the whole picture without one. */
export function regionBox(whole: Box, region?: Region): Box {
  if (!region) return whole;
  const [left, top, width, height] = region;
  if (region.length !== 4 || !region.every(Number.isInteger)) {
    throw new CodecError("InputError", "a region is [x, y, width, height] in whole pixels");
  }
  const box = new Box(left, top, left + width, top + height);
  if (width < 1 || height < 1 || !whole.holds(box)) {
    throw new CodecError(
      "InputError",
      `region ${region.join()} does not lie in the picture, which has ` +
        `${whole.width}x${whole.height} pixels`,
    );
  }
  return box;
}
