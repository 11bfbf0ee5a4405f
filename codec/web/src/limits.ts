/**
 * Limits on pixels and memory, checked from the header before anything is allocated.
 *
 * The constants are upper bounds for the released models, measured by `make web-check`.
 */

import type { ContainerFile } from "./container.ts";
import { CodecError } from "./errors.ts";
import type { Box } from "./geometry.ts";

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
/** Pixels around a window that its samples depend on, of the released models. */
const HALO = 96;
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

/** Bytes that decoding an area takes at most. */
export function memoryOf({ grid, lossless, patches }: ContainerFile, area: Box): number {
  let largest = 0;
  for (const box of patches) if (box.and(area).area) largest = Math.max(largest, box.area);
  let needed = PATCH_BYTES * largest;
  if (!lossless) {
    const side = Math.min(grid.side || WINDOW, Math.max(grid.height, grid.width));
    const window = Math.min(grid.whole.area, (side + 2 * HALO) ** 2);
    const tile = grid.box(0).area;
    const line = 3 * side * Math.min(area.height, area.width);
    const held = Math.min(grid.whole.area, line) + 2 * tile;
    const working = Math.max(tile * CODING_BYTES, window * WINDOW_BYTES);
    needed = Math.max(needed, held * HELD_BYTES + working);
  }
  return BASE_BYTES + area.area * PICTURE_BYTES + needed;
}

export function checkMemory(limits: Limits, needed: number): void {
  if (needed > limits.maxMemory) {
    throw new CodecError(
      "LimitError",
      `needs about ${Math.round(needed / 2 ** 20)} MiB of memory, above the limit of ` +
        `${Math.round(limits.maxMemory / 2 ** 20)} MiB; allow more with maxMemory`,
    );
  }
}
