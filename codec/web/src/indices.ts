/** Symbols of rounding to centres (FORMAT.md): indices, level by level. */

import { clamp, ExactBlock, exactWeights, gather, offsets, positionsByClass } from "./exact.ts";
import { type Address, type Arena, Linear, PLAIN } from "./kernels.ts";
import type { Levels } from "./levels.ts";
import {
  check,
  checksumOf,
  endStream,
  type Latents,
  type SymbolReader,
  startStream,
} from "./symbols.ts";
import type { Weights } from "./weights.ts";

const PASSES = 2;
const POWERS = 24 * 1024;

/** The learned prior of indices. */
interface Prior {
  width: number;
  /** [anchors, passes, width] */
  passBias: Int32Array;
  blocks: ExactBlock[];
  /** By level and group. */
  heads: Linear[][];
  /** [anchors, groups centres, width] */
  embedding: Int32Array;
  powers: Address;
}

/** Reads the streams of one model. */
export class IndexReader implements SymbolReader {
  private readonly groups: number;
  private readonly size: number;
  private readonly dimensions: number;
  private readonly channels: number;
  private readonly prior: Prior | null;
  /** [anchors, groups, centres, dimensions] */
  private readonly centres: Float32Array;

  constructor(
    private readonly arena: Arena,
    weights: Weights,
  ) {
    const { anchors, groups, centres, latent, index_prior } = weights.config;
    this.groups = groups;
    this.size = centres;
    this.channels = latent;
    this.dimensions = latent / groups;
    this.centres = weights.floats("quantizer.centres", anchors, groups, centres, this.dimensions);
    this.prior = index_prior === "learned" ? this.learnedPrior(weights) : null;
  }

  private learnedPrior(weights: Weights): Prior {
    const { arena, groups, size } = this;
    const { prior: width, anchors } = weights.config;
    const rows = groups * size;
    const weight = weights.ints("prior.head_weight", anchors, rows, width);
    const bias = weights.ints("prior.head_bias", anchors, rows);
    const heads = Array.from({ length: anchors }, (_, level) =>
      Array.from({ length: groups }, (_, group) => {
        const first = level * rows + group * size;
        const own = weight.subarray(first * width, (first + size) * width);
        const ownBias = bias.slice(first, first + size);
        const exact = exactWeights(own, ownBias, size);
        return new Linear(arena, 64, size, width, exact, offsets(ownBias));
      }),
    );
    const powers = arena.allocate(4 * POWERS);
    arena.i32(powers, POWERS).set(weights.ints("prior.powers", POWERS));
    return {
      width,
      heads,
      powers,
      passBias: weights.ints("prior.pass_bias", anchors, PASSES, width),
      blocks: ["1", "2"].map((n) => new ExactBlock(arena, weights, `prior.block${n}`, width)),
      embedding: weights.ints("prior.embedding", anchors, rows, width),
    };
  }

  read(stream: Uint8Array, rows: number, columns: number, levels: Levels): Latents {
    const { arena, prior, groups, size } = this;
    const count = rows * columns;
    const { order, starts } = positionsByClass(rows, columns, 2, (r, c) => (r + c) % 2);
    const state = new Float64Array(prior ? prior.width * count : 0);
    const y = new Float32Array(this.channels * count);
    let checksum = 0;
    return arena.scoped(() => {
      startStream(arena, stream);
      for (let number = 0; number <= Number(levels) >> 12; number++) {
        for (let pass = 0; pass < PASSES; pass++) {
          arena.scoped(() => {
            const features = prior && this.features(prior, state, number, pass, rows, order);
            for (let group = 0; group < groups; group++) {
              const parity = Number(group >= Math.floor(groups / 2)) ^ pass;
              const first = starts[parity]!;
              const places = order.subarray(first, starts[parity + 1]!);
              if (!places.length) continue;
              arena.scoped(() => {
                const out = arena.allocate(4 * places.length);
                let logits = 0;
                if (prior && features !== null) {
                  logits = arena.allocate(8 * size * places.length);
                  const head = prior.heads[number]![group]!;
                  const { length } = places;
                  head.run(features + 8 * first, count, length, logits, length, PLAIN);
                }
                const scratch = arena.allocate(4 * size);
                check(
                  arena.kernels.rangeIndices(
                    logits,
                    places.length,
                    size,
                    prior?.powers ?? 0,
                    POWERS,
                    out,
                    scratch,
                  ),
                );
                checksum = checksumOf(arena, out, places.length, checksum);
                const indices = arena.i32(out, places.length);
                if (prior) this.embed(prior, state, indices, places, number, group);
                this.addCentres(y, indices, places, number, group);
              });
            }
          });
        }
      }
      endStream(arena);
      return { y, checksum };
    });
  }

  /** Features of a pass [width, count], columns by parity. */
  private features(
    prior: Prior,
    state: Float64Array,
    level: number,
    pass: number,
    rows: number,
    order: Int32Array,
  ): Address {
    const { arena } = this;
    const { width } = prior;
    const count = order.length;
    const packed = arena.allocate(8 * width * count);
    const h = arena.allocate(8 * width * count);
    const bias = prior.passBias.subarray((level * PASSES + pass) * width);
    const values = arena.f64(h, width * count);
    for (let i = 0; i < values.length; i++) {
      values[i] = clamp(state[i]! + bias[Math.floor(i / count)]!);
    }
    for (const block of prior.blocks) block.run(h, rows, count / rows);
    gather(arena, h, packed, width, order);
    return packed;
  }

  /** Add what indices tell of those after them. No group of a pass sees another one's. */
  private embed(
    prior: Prior,
    state: Float64Array,
    indices: Int32Array,
    places: Int32Array,
    level: number,
    group: number,
  ): void {
    const { width, embedding } = prior;
    const count = state.length / width;
    for (let i = 0; i < indices.length; i++) {
      const row = ((level * this.groups + group) * this.size + indices[i]!) * width;
      for (let c = 0; c < width; c++) state[c * count + places[i]!]! += embedding[row + c]!;
    }
  }

  /** Add the centres to the latents; group g is the channels g, g + G, g + 2 G, ... */
  private addCentres(
    y: Float32Array,
    indices: Int32Array,
    places: Int32Array,
    level: number,
    group: number,
  ): void {
    const { dimensions, groups } = this;
    const count = y.length / this.channels;
    for (let i = 0; i < indices.length; i++) {
      const row = ((level * groups + group) * this.size + indices[i]!) * dimensions;
      for (let d = 0; d < dimensions; d++) {
        y[(d * groups + group) * count + places[i]!]! += this.centres[row + d]!;
      }
    }
  }
}
