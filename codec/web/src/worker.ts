/** What runs in a Web Worker, or in Node beside its caller: decoding with models that are kept. */

import { decodePicture, Model, publicError } from "./decoder.ts";
import { CodecError } from "./errors.ts";
import { bestKernels } from "./kernels.ts";
import type { Decoded, FromWorker, Job, ToWorker } from "./messages.ts";
import { loadWeights } from "./weights.ts";

/** Models by base and id, most recently used last; each takes some 50 MB. */
const models = new Map<string, Promise<Model>>();
const MAX_MODELS = 2;

function modelOf(id: string, base: string): Promise<Model> {
  const key = `${base} ${id}`;
  const model =
    models.get(key) ?? loadWeights(id, base).then((weights) => new Model(weights, bestKernels()));
  models.delete(key);
  models.set(key, model);
  model.catch(() => models.delete(key)); // so that it is tried again
  for (const old of models.keys()) {
    if (models.size <= MAX_MODELS) break;
    models.delete(old);
  }
  return model;
}

/**
 * Decode a picture here.
 *
 * @param progress may end it by a throw.
 */
export async function decodeHere(
  job: Job,
  progress: (done: number, total: number) => void | Promise<void>,
): Promise<Decoded> {
  try {
    return await decodePicture(job.bytes, {
      region: job.region,
      limits: job.limits,
      model: (id) => modelOf(id, job.base),
      progress,
    });
  } catch (error) {
    throw publicError(error);
  }
}

/** What a worker has that this module needs. */
interface Scope {
  postMessage(message: FromWorker, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

/** Answer a page. */
function serve(scope: Scope): void {
  let aborted = false;
  const send = (message: FromWorker, transfer: Transferable[] = []) =>
    scope.postMessage(message, transfer);

  async function work(job: Job): Promise<void> {
    try {
      const decoded = await decodeHere(job, async (done, total) => {
        send({ done, total });
        await new Promise((resolve) => setTimeout(resolve)); // lets an abort come in
        if (aborted) throw new Error("aborted");
      });
      send({ decoded }, [decoded.data.buffer]);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      send(error instanceof CodecError ? { kind: error.kind, message } : { message });
    }
  }

  scope.onmessage = ({ data }: MessageEvent<ToWorker>) => {
    aborted = "abort" in data;
    if ("job" in data) void work(data.job);
  };
}

if ("DedicatedWorkerGlobalScope" in globalThis) {
  serve(globalThis as unknown as Scope);
}
