/** Reader of .vqc files; README.md has how to use it. */

import type { DecodeOptions, Info, Picture } from "./api.ts";
import { ContainerFile } from "./container.ts";
import { CodecError } from "./errors.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { Job } from "./messages.ts";
import { Pool } from "./pool.ts";

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
  const { signal, region } = options;
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
  const job: Job = { bytes, limits, base, ...(region && { region }) };
  if (!globalThis.Worker) {
    const { decodeHere } = await import(new URL("worker.js", base).href);
    try {
      return await decodeHere(job, (done: number, total: number) => {
        signal?.throwIfAborted();
        onprogress(done, total);
      });
    } catch (error) {
      const { kind, message } = error as CodecError; // of the class of another file
      throw kind ? new CodecError(kind, message) : error;
    }
  }
  const pool = pools.get(base) ?? new Pool(base);
  pools.set(base, pool);
  return pool.run(job, onprogress, signal);
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
