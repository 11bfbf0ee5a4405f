/** Weights of a model: safetensors, checked against the digest that a list has for the model's id. */

/*! SHA-256 of @noble/hashes, MIT License, (c) 2022 Paul Miller (paulmillr.com) */
import { sha256 } from "@noble/hashes/sha2.js";
import { CodecError } from "./errors.ts";
import { inflate } from "./inflate.ts";

const INDEX = "models/INDEX.json";
const CACHE = "vqcodec-models";
const MAX_BYTES = 2 ** 30;

/** An entry of the list of models, whose keys are the first four bytes of their ids, in hex. */
interface Entry {
  name: string;
  /** Beside the list; a zlib stream of a safetensors file. */
  file: string;
  /** Of the safetensors file. */
  sha256: string;
}

/** The fields of a model's configuration that concern a reader. */
export interface Config {
  rounding: "integer" | "vq";
  anchors: number;
  latent: number;
  hyper: number;
  prior: number;
  transform: string;
  channels8: number;
  channels16: number;
  blocks8: number;
  blocks16: number;
  gate_bound: number;
  gates16: boolean;
  hidden16: number;
  filter4: number;
  groups: number;
  centres: number;
  index_prior: "learned" | "uniform";
}

interface Tensor {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const SIZES: Record<string, number> = { I32: 4, F32: 4, F16: 2 };

/** Tensors and configuration of a model. */
export class Weights {
  readonly config: Config;
  private readonly tensors: Record<string, Tensor>;
  private readonly start: number;

  /** @param file a safetensors file. */
  constructor(private readonly file: Uint8Array<ArrayBuffer>) {
    try {
      const view = new DataView(file.buffer, file.byteOffset);
      this.start = 8 + Number(view.getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(file.subarray(8, this.start)));
      const { config } = header.__metadata__;
      delete header.__metadata__;
      this.tensors = header;
      this.config = {
        gate_bound: 0,
        gates16: true,
        hidden16: 0,
        filter4: 0,
        ...JSON.parse(config),
      };
    } catch {
      throw new CodecError("WeightsError", "not a weights file, or damaged");
    }
  }

  has(name: string): boolean {
    return name in this.tensors;
  }

  shape(name: string): number[] {
    return this.tensor(name).shape;
  }

  /** An integer tensor. */
  ints(name: string, ...shape: number[]): Int32Array {
    return new Int32Array(this.bytes(name, ["I32"], shape));
  }

  /** A tensor of floating point. */
  floats(name: string, ...shape: number[]): Float32Array {
    const bytes = this.bytes(name, ["F16", "F32"], shape);
    if (this.tensor(name).dtype === "F32") return new Float32Array(bytes);
    const halves = new Uint16Array(bytes);
    const values = new Float32Array(halves.length);
    for (let i = 0; i < halves.length; i++) values[i] = half(halves[i]!);
    return values;
  }

  private tensor(name: string): Tensor {
    const tensor = this.tensors[name];
    if (!tensor) throw new CodecError("WeightsError", `the weights lack the tensor ${name}`);
    return tensor;
  }

  /** A copy of the bytes of a tensor of a shape; none for any. */
  private bytes(name: string, dtypes: string[], shape: number[]): ArrayBuffer {
    const tensor = this.tensor(name);
    const [first, end] = tensor.data_offsets;
    const fits = shape.length === 0 || tensor.shape.join() === shape.join();
    const length = tensor.shape.reduce((a, b) => a * b, 1) * (SIZES[tensor.dtype] ?? 0);
    if (!fits || !dtypes.includes(tensor.dtype) || length !== end - first) {
      throw new CodecError("WeightsError", `the tensor ${name} does not fit the model`);
    }
    return this.file.slice(this.start + first, this.start + end).buffer;
  }
}

/** A number of 16 bits. */
function half(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const scale = STEPS[exponent]!;
  const value = exponent ? (1024 + fraction) * scale : fraction * scale;
  return bits & 0x8000 ? -value : value;
}

/** Distance of neighbours among numbers of 16 bits, by exponent; no weight is infinite. */
const STEPS = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(1, exponent) - 25));

/**
 * The weights of a model, from the cache of this origin or else from a folder.
 *
 * @param modelId first four bytes of the model's id, in hex.
 * @param base URL of the folder that has `models/`, with a slash at its end.
 */
export async function loadWeights(modelId: string, base: string): Promise<Weights> {
  const list: Record<string, Entry> = JSON.parse(
    new TextDecoder().decode(await download(new URL(INDEX, base))),
  );
  const entry = list[modelId];
  if (!entry) {
    const known = Object.entries(list).map(([id, { name }]) => `${name} (${id})`);
    throw new CodecError(
      "ModelNotFoundError",
      `made with model ${modelId}, which is not among those here: ${known.join(", ") || "none"}`,
    );
  }
  const cache = await openCache();
  const key = `/${CACHE}/${entry.sha256}`;
  const cached = await cache?.match(key);
  if (cached) {
    const file = new Uint8Array(await cached.arrayBuffer());
    if ((await digest(file)) === entry.sha256) return new Weights(file);
  }
  const packed = await download(new URL(`models/${entry.file}`, base));
  const file = await inflate(packed, MAX_BYTES);
  if (!file || (await digest(file)) !== entry.sha256) {
    throw new CodecError("WeightsError", `${entry.file} is damaged: its digest does not match`);
  }
  // A full disk is no reason not to show a picture.
  await cache?.put(key, new Response(file)).catch(() => undefined);
  return new Weights(file);
}

async function download(url: URL): Promise<Uint8Array<ArrayBuffer>> {
  try {
    if (url.protocol === "file:") {
      const { readFile } = await import("node:fs/promises");
      return new Uint8Array(await readFile(url));
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new CodecError("WeightsError", `${url.href} cannot be loaded: ${error}`);
  }
}

/** The cache of this origin; there is none in pages without TLS, in private windows and in Node. */
async function openCache(): Promise<Cache | undefined> {
  try {
    return await globalThis.caches?.open(CACHE);
  } catch {
    return undefined;
  }
}

/** SHA-256 in hex; pages without TLS have no `crypto.subtle`. */
async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
    : sha256(bytes);
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
