/** Workers of a page: pictures that are asked for at once are decoded at once. */

import { CodecError } from "./errors.ts";
import type { Decoded, FromWorker, Job, ToWorker } from "./messages.ts";

/** Each keeps a model and the memory of the largest picture so far. */
const MAX_WORKERS = 4;
/** Milliseconds after which a worker without work gives its memory back. */
const IDLE = 30_000;

export type Progress = (done: number, total: number) => void;

interface Task {
  job: Job;
  progress: Progress;
  signal: AbortSignal | undefined;
  resolve(decoded: Decoded): void;
  reject(reason: unknown): void;
}

/** Decodes pictures in the order in which they are asked for. */
export class Pool {
  private readonly waiting: Task[] = [];
  private readonly idle: PoolWorker[] = [];
  private count = 0;
  /** Pictures that are decoded at once. */
  readonly size = Math.min(MAX_WORKERS, navigator.hardwareConcurrency || 1);

  /** @param base URL of the folder that has `worker.js`. */
  constructor(private readonly base: string) {}

  run(job: Job, progress: Progress, signal?: AbortSignal): Promise<Decoded> {
    return new Promise((resolve, reject) => {
      const task: Task = { job, progress, signal, resolve, reject };
      signal?.addEventListener("abort", () => {
        const at = this.waiting.indexOf(task);
        if (at >= 0) this.waiting.splice(at, 1);
        reject(signal.reason);
      });
      this.waiting.push(task);
      this.next();
    });
  }

  private next(): void {
    while (this.waiting.length) {
      const worker = this.idle.pop() ?? (this.count < this.size ? this.addWorker() : undefined);
      if (!worker) return;
      worker.start(this.waiting.shift()!);
    }
  }

  private addWorker(): PoolWorker {
    this.count++;
    return new PoolWorker(new URL("worker.js", this.base), (worker, alive) => {
      const at = this.idle.indexOf(worker);
      if (at >= 0) this.idle.splice(at, 1);
      if (alive) this.idle.push(worker);
      else this.count--;
      this.next();
    });
  }
}

class PoolWorker {
  private readonly worker: Worker;
  private task: Task | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** @param freed called when it has no work any more, and whether it lives. */
  constructor(
    url: URL,
    private readonly freed: (worker: PoolWorker, alive: boolean) => void,
  ) {
    this.worker = new Worker(url, { type: "module" });
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.receive(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.task?.reject(new Error(`${url.href} failed: ${event.message ?? "it cannot be loaded"}`));
      this.end();
    };
  }

  start(task: Task): void {
    clearTimeout(this.timer);
    this.task = task;
    task.signal?.addEventListener("abort", () => {
      if (this.task === task) this.send({ abort: true });
    });
    this.send({ job: task.job });
  }

  private send(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  private receive(message: FromWorker): void {
    const { task } = this;
    if (!task) return;
    if ("done" in message) {
      if (!task.signal?.aborted) task.progress(message.done, message.total);
      return;
    }
    this.task = undefined;
    if ("decoded" in message) task.resolve(message.decoded);
    else if (message.kind) task.reject(new CodecError(message.kind, message.message));
    else task.reject(new Error(message.message));
    this.timer = setTimeout(() => this.end(), IDLE);
    this.freed(this, true);
  }

  private end(): void {
    clearTimeout(this.timer);
    this.worker.terminate();
    this.freed(this, false);
  }
}
