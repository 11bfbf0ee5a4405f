/** Reader of .vqc files; README.md has how to use it. */

import type { DecodeOptions, Info, Picture } from "./api.ts";
import { ContainerFile } from "./container.ts";
import { CodecError } from "./errors.ts";
import type { Box } from "./geometry.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { Decoded, Job } from "./messages.ts";
import { partsOf, plan } from "./plan.ts";
import { Pool, type Progress } from "./pool.ts";

export type { DecodeOptions, Info, Metadata, Picture, Region } from "./api.ts";
export { CodecError, type ErrorKind } from "./errors.ts";

/** Bytes of a file, or a file as a page has it. */
export type Source = ArrayBuffer | Uint8Array<ArrayBuffer> | Blob;

/**
 * Decode a picture, in a Web Worker where there are any.
 *
 * @throws CodecError; or the reason of the signal.
 */
export async function decode(source: Source, options: DecodeOptions = {}): Promise<Picture> {
  const { signal } = options;
  const onprogress = options.onprogress ?? (() => undefined);
  signal?.throwIfAborted();
  const folder = new URL(".", import.meta.url).href;
  const here = globalThis.document?.baseURI ?? folder;
  const base = new URL(options.base ?? folder, here).href.replace(/\/?$/, "/");
  const bytes = source instanceof Blob ? new Uint8Array(await source.arrayBuffer()) : view(source);
  const limits = {
    maxPixels: options.maxPixels ?? DEFAULT_LIMITS.maxPixels,
    maxMemory: options.maxMemory ?? DEFAULT_LIMITS.maxMemory,
  };
  const planned = plan(bytes, limits, options.region);
  const job = (box: Box): Job => ({
    bytes,
    limits,
    base,
    region: [box.left, box.top, box.width, box.height],
  });
  const { area } = planned;
  if (!globalThis.Worker) return picture(await inNode(job(area), onprogress, signal));
  const pool = pools.get(base) ?? new Pool(base);
  pools.set(base, pool);
  const parts = partsOf(planned, limits, pool.size);
  return picture(await inParts(pool, area, parts, job, onprogress, signal));
}

async function inNode(job: Job, progress: Progress, signal?: AbortSignal): Promise<Decoded> {
  const { decodeHere } = await import(new URL("worker.js", job.base).href);
  try {
    return await decodeHere(job, (done: number, total: number) => {
      signal?.throwIfAborted();
      progress(done, total);
    });
  } catch (error) {
    const { kind, message } = error as CodecError; // of the class of another file
    throw kind ? new CodecError(kind, message) : error;
  }
}

/** Decode parts of an area at once. */
async function inParts(
  pool: Pool,
  area: Box,
  parts: Box[],
  job: (box: Box) => Job,
  progress: Progress,
  signal?: AbortSignal,
): Promise<Decoded> {
  signal?.throwIfAborted(); // while the file was read
  const ending = new AbortController();
  const end = () => ending.abort(signal?.reason);
  signal?.addEventListener("abort", end);
  const pixels = new Float64Array(parts.length);
  try {
    const decoded = await Promise.all(
      parts.map((box, i) =>
        pool.run(
          job(box),
          (done) => {
            pixels[i] = done;
            progress(
              pixels.reduce((a, b) => a + b),
              area.area,
            );
          },
          ending.signal,
        ),
      ),
    );
    return joined(area, parts, decoded);
  } catch (error) {
    ending.abort(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", end);
  }
}

/** An area put together from its parts. */
function joined(area: Box, parts: Box[], decoded: Decoded[]): Decoded {
  const [first] = decoded;
  if (decoded.length === 1) return first!;
  const data = new Uint8ClampedArray(4 * area.area);
  for (const [i, box] of parts.entries()) {
    const { left, top, width, height } = box.relativeTo(area);
    const own = decoded[i]!.data;
    for (let r = 0; r < height; r++) {
      const row = own.subarray(4 * r * width, 4 * (r + 1) * width);
      data.set(row, 4 * ((top + r) * area.width + left));
    }
  }
  const checksums = new Map(decoded.flatMap((part) => [...part.checksums]));
  return { ...first!, data, width: area.width, height: area.height, checksums };
}

function picture({ checksums, ...decoded }: Decoded): Picture {
  const sorted = [...checksums].sort(([a], [b]) => a - b);
  return { ...decoded, symbolChecksums: sorted.map(([, checksum]) => checksum) };
}

const pools = new Map<string, Pool>();

/**
 * What a file says of itself: header and directory, without decoding it.
 *
 * @throws CodecError
 */
export function info(source: ArrayBuffer | Uint8Array<ArrayBuffer>): Info {
  return new ContainerFile(view(source)).info();
}

function view(source: ArrayBuffer | Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return source instanceof Uint8Array ? source : new Uint8Array(source);
}
