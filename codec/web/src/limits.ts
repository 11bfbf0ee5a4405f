/**
 * Limits on pixels and memory, checked from the header before anything is allocated.
 *
 * The constants are upper bounds for the released models, measured by `make web-check`.
 */

import { CodecError } from "./errors.ts";
import type { Box, Grid } from "./geometry.ts";

/** Side of the windows that are synthesised, where a file's tiles do not say otherwise. */
export const WINDOW = 1024;
/** Pictures up to this are one window. */
export const UNTILED_PIXELS = 2 * WINDOW ** 2;

/** A model and the code. */
const BASE_BYTES = 100 * 2 ** 20;
/** Per pixel of the picture: RGBA. */
const PICTURE_BYTES = 4;
/** Per pixel of the tiles whose latents wait for the next line of windows. */
const HELD_BYTES = 6;
/** Per pixel of a tile while its latents are decoded. */
const CODING_BYTES = 60;
/** Per pixel of a window and its halo. */
const WINDOW_BYTES = 160;
/** Per pixel of a patch. */
const PATCH_BYTES = 12;

export interface Limits {
  /** Of a picture, width times height. */
  maxPixels: number;
  /** Estimated peak in bytes. */
  maxMemory: number;
}

export const DEFAULT_LIMITS: Limits = { maxPixels: 2 ** 27, maxMemory: 1.5 * 2 ** 30 };

export function checkPixels(limits: Limits, width: number, height: number): void {
  if (width * height > limits.maxPixels) {
    throw new CodecError(
      "LimitError",
      `${width}x${height} is ${width * height} pixels, above the limit of ${limits.maxPixels}; ` +
        "allow more with maxPixels",
    );
  }
}

export function checkFile(limits: Limits, size: number): void {
  if (size > limits.maxMemory) {
    throw new CodecError(
      "LimitError",
      `the file has ${size} bytes, above the limit of ${limits.maxMemory >> 20} MiB; ` +
        "allow more with maxMemory",
    );
  }
}

/**
 * Refuse what needs more memory than there may be.
 *
 * @param region that is decoded.
 * @param halo pixels around a window that its samples depend on.
 * @param patches those of the region.
 */
export function checkMemory(
  limits: Limits,
  grid: Grid,
  region: Box,
  halo: number,
  patches: readonly Box[],
): void {
  const side = Math.min(grid.side || WINDOW, Math.max(grid.height, grid.width));
  const window = Math.min(grid.whole.area, (side + 2 * halo) ** 2);
  const tile = grid.box(0).area;
  const line = 3 * side * Math.min(region.height, region.width);
  const held = Math.min(grid.whole.area, line) + 2 * tile;
  const tiled = held * HELD_BYTES + Math.max(tile * CODING_BYTES, window * WINDOW_BYTES);
  checkBytes(limits, region, Math.max(tiled, patchBytes(patches)));
}

/** The same of a picture that patches cover wholly. */
export function checkPatches(limits: Limits, region: Box, patches: readonly Box[]): void {
  checkBytes(limits, region, patchBytes(patches));
}

function patchBytes(patches: readonly Box[]): number {
  return PATCH_BYTES * patches.reduce((most, box) => Math.max(most, box.area), 0);
}

function checkBytes(limits: Limits, region: Box, bytes: number): void {
  const needed = BASE_BYTES + region.area * PICTURE_BYTES + bytes;
  if (needed > limits.maxMemory) {
    throw new CodecError(
      "LimitError",
      `needs about ${Math.round(needed / 2 ** 20)} MiB of memory, above the limit of ` +
        `${Math.round(limits.maxMemory / 2 ** 20)} MiB; allow more with maxMemory`,
    );
  }
}
