/** What of a file is decoded, by how many workers; and whether the caller's limits allow it. */

import type { Region } from "./api.ts";
import { ContainerFile } from "./container.ts";
import { Box, regionBox } from "./geometry.ts";
import { checkMemory, type Limits, memoryOf, UNTILED_PIXELS, WINDOW } from "./limits.ts";

/** A verified file, and the area of it that is wanted. */
export interface Plan {
  file: ContainerFile;
  area: Box;
}

/** Open a file; refuse one that is damaged, and what needs more than there may be. */
export function plan(data: Uint8Array<ArrayBuffer>, limits: Limits, region?: Region): Plan {
  const file = new ContainerFile(data, limits);
  const area = regionBox(file.grid.whole, region);
  checkMemory(limits, memoryOf(file, area));
  return { file, area };
}

/** Side of the windows of a picture that are synthesised at once; 0 for all of it. */
export function windowSide({ grid }: ContainerFile): number {
  return grid.side || (grid.whole.area <= UNTILED_PIXELS ? 0 : WINDOW);
}

/**
 * Parts of an area for workers to decode at once, each of whole lines of windows.
 *
 * @param most number of workers; fewer are used if memory does not suffice.
 */
export function partsOf({ file, area }: Plan, limits: Limits, most: number): Box[] {
  const side = windowSide(file);
  if (area.area <= UNTILED_PIXELS || !side || file.lossless) return [area];
  const upright = area.height >= area.width;
  const { left, top, right, bottom } = area;
  const first = Math.floor((upright ? top : left) / side);
  const lines = Math.ceil((upright ? bottom : right) / side) - first;
  for (let count = Math.min(most, lines); count > 1; count--) {
    const parts = Array.from({ length: count }, (_, i) => {
      const from = side * (first + Math.floor((i * lines) / count));
      const to = side * (first + Math.floor(((i + 1) * lines) / count));
      return (upright ? new Box(left, from, right, to) : new Box(from, top, to, bottom)).and(area);
    });
    const needed = parts.reduce((sum, part) => sum + memoryOf(file, part), 0);
    if (needed <= limits.maxMemory) return parts;
  }
  return [area];
}
