/** Alpha planes of tiles (FORMAT.md, "Alpha and metadata"). */

import { damaged } from "./errors.ts";
import { inflate } from "./inflate.ts";

/** Alpha of a tile, row by row. */
export async function decodeAlpha(
  data: Uint8Array<ArrayBuffer>,
  height: number,
  width: number,
): Promise<Uint8Array> {
  const size = height * width;
  const filter = data[0];
  if (filter === undefined) throw damaged("an alpha plane is missing");
  if (data.length === 1) return new Uint8Array(size).fill(filter);
  const plane = filter < 4 ? await inflate(data.subarray(1), size) : null;
  if (plane?.length !== size) throw damaged("an alpha plane cannot be decoded");
  if (filter & 2) for (let i = width; i < size; i++) plane[i]! += plane[i - width]!;
  if (filter & 1) for (let i = 1; i < size; i++) if (i % width) plane[i]! += plane[i - 1]!;
  return plane;
}
