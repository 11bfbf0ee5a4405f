/** Messages between a page and a worker, which has one job at a time. */

import type { Picture, Region } from "./api.ts";
import type { ErrorKind } from "./errors.ts";
import type { Limits } from "./limits.ts";

/** A picture to decode. */
export interface Job {
  bytes: Uint8Array<ArrayBuffer>;
  region?: Region;
  limits: Limits;
  /** URL of the folder that has `models/`. */
  base: string;
}

/** A picture whose symbols' checksums are by tile. */
export type Decoded = Omit<Picture, "symbolChecksums"> & { checksums: Map<number, number> };

export type ToWorker = { job: Job } | { abort: true };

export type FromWorker =
  | { done: number; total: number }
  | { decoded: Decoded }
  /** Of another kind than a CodecError without one. */
  | { kind?: ErrorKind; message: string };
