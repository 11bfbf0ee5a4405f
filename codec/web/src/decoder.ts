/**
 * The reader: a .vqc file to a picture.
 *
 *     ContainerFile     header and directory, checked before anything is allocated
 *     SymbolReader      stream of a tile -> symbols <-> exact prior -> y^
 *     windows           y^ of tiles -> y^ of windows and their halos
 *     Synthesis         g_s, restoration filter
 *     decodePatch       rectangles without loss, in place of the synthesis
 *
 * Memory does not grow with the picture beyond its own bytes: a tile's y^ is dropped when no window
 * needs it any more.
 */

import { decodeAlpha } from "./alpha.ts";
import type { Region } from "./api.ts";
import type { ContainerFile, Header } from "./container.ts";
import { CodecError, damaged } from "./errors.ts";
import { Box, Grid, LATENT_STRIDE } from "./geometry.ts";
import { IndexReader } from "./indices.ts";
import { IntegerReader } from "./integers.ts";
import { Arena, type Kernels } from "./kernels.ts";
import { LevelMap, readOffsets } from "./levels.ts";
import type { Limits } from "./limits.ts";
import type { Decoded } from "./messages.ts";
import { plan, windowSide } from "./plan.ts";
import type { SymbolReader } from "./symbols.ts";
import { type Samples, Synthesis } from "./synthesis.ts";
import { decodePatch } from "./vp8l.ts";
import type { Config, Weights } from "./weights.ts";

/** A model in memory. */
export class Model {
  readonly config: Config;
  readonly symbols: SymbolReader;
  readonly synthesis: Synthesis;

  private readonly arena: Arena;

  constructor(weights: Weights, kernels: Kernels) {
    const arena = new Arena(kernels);
    this.arena = arena;
    this.config = weights.config;
    const vq = this.config.rounding === "vq";
    this.symbols = vq ? new IndexReader(arena, weights) : new IntegerReader(arena, weights);
    this.synthesis = new Synthesis(arena, weights);
  }

  /** Levels of a file of this model. */
  levelsOf({ level, levelMap, height, width }: Header): LevelMap {
    const offsets = levelMap.length ? readOffsets(this.arena, levelMap, height, width) : null;
    return new LevelMap(level, offsets, 4096 * (this.config.anchors - 1));
  }
}

export interface Request {
  region?: Region;
  limits: Limits;
  /** A model by the first four bytes of its id, in hex. */
  model: (id: string) => Promise<Model>;
  /** Called with (pixels done, pixels in all) after each window and patch; may end all by a throw. */
  progress?: (done: number, total: number) => void | Promise<void>;
}

/** Decode a picture or a region of it. */
export async function decodePicture(
  data: Uint8Array<ArrayBuffer>,
  { region, limits, model, progress }: Request,
): Promise<Decoded> {
  const { file, area } = plan(data, limits, region);
  const canvas = new Canvas(file, area, progress);
  const loaded = file.lossless ? undefined : await model(file.header.modelId);
  if (loaded) checkModel(file.header, loaded);
  canvas.decoded.metadata = await file.readMetadata();
  if (loaded) await reconstruct(file, loaded, area, canvas);
  await canvas.showPatches();
  return canvas.decoded;
}

/** Refuse a header that contradicts its model. */
function checkModel(header: Header, { config, synthesis }: Model): void {
  if (header.vq !== (config.rounding === "vq")) {
    throw damaged("the file and its model round in different ways");
  }
  const { level } = header;
  if (level > 4096 * (config.anchors - 1) || (header.vq && level % 4096)) {
    throw damaged("the rate level is outside the model's range");
  }
  if (header.restoration.length > synthesis.kernels) {
    throw damaged("more weights of a filter than its model has kernels");
  }
}

/** Synthesise all windows of an area that patches do not hide. */
async function reconstruct(
  file: ContainerFile,
  model: Model,
  area: Box,
  canvas: Canvas,
): Promise<void> {
  const { config, symbols, synthesis } = model;
  const { header, grid, covered } = file;
  const levels = model.levelsOf(header);
  const alphas = new Map<number, Uint8Array<ArrayBuffer>>();
  let plane: { number: number; samples: Uint8Array } | undefined;

  const readLatents = (number: number): Float32Array => {
    const box = grid.box(number).shrunk(LATENT_STRIDE);
    if (covered.has(number)) return new Float32Array(config.latent * box.area);
    const tile = file.readTile(number);
    if (header.alpha) alphas.set(number, tile.alpha);
    const { y, checksum } = symbols.read(tile.stream, box.height, box.width, levels.within(box));
    if (checksum !== tile.symbolChecksum) {
      throw damaged("the decoded symbols fail their checksum");
    }
    canvas.decoded.checksums.set(number, checksum);
    return y;
  };

  const alphaOf = async (number: number): Promise<Uint8Array | undefined> => {
    if (!header.alpha) return undefined;
    if (plane?.number !== number) {
      const { height, width } = grid.box(number);
      const samples = await decodeAlpha(alphas.get(number)!, height, width);
      alphas.delete(number);
      plane = { number, samples };
    }
    return plane.samples;
  };

  let tiles = new Map<number, Float32Array>();
  for (const line of windows(file, area)) {
    const shown = line.filter((box) => !canvas.hides(box));
    const sources = shown.map((box) =>
      box
        .shrunk(LATENT_STRIDE)
        .enlarged(LATENT_STRIDE)
        .grown(synthesis.halo * LATENT_STRIDE, grid.whole),
    );
    const needed = new Set(sources.flatMap((source) => grid.touched(source)));
    tiles = new Map([...tiles].filter(([number]) => needed.has(number)));
    for (const number of [...needed].sort((a, b) => a - b)) {
      if (tiles.has(number)) continue;
      tiles.set(number, readLatents(number));
      await canvas.report(0);
    }
    for (const [i, box] of shown.entries()) {
      const around = sources[i]!.shrunk(LATENT_STRIDE);
      const inner = box.shrunk(LATENT_STRIDE);
      const y = gatherTiles(grid, sources[i]!, tiles, config.latent);
      const own = levels.within(around);
      const samples = synthesis.run(y, around, inner, own, header.restoration);
      const [number] = grid.touched(box); // windows never straddle tiles
      await canvas.show(samples, inner, box, await alphaOf(number!), grid.box(number!));
    }
  }
}

/** Windows in lines along the shorter side of an area, so that few tiles are held. */
function windows(file: ContainerFile, area: Box): Box[][] {
  const cells = new Grid(file.grid.height, file.grid.width, windowSide(file));
  const lines = new Map<number, Box[]>();
  const upright = area.height >= area.width;
  for (const number of cells.touched(area)) {
    const row = Math.floor(number / cells.columns);
    const key = upright ? row : number % cells.columns;
    const line = lines.get(key) ?? [];
    line.push(cells.box(number).and(area));
    lines.set(key, line);
  }
  return [...lines.entries()].sort(([a], [b]) => a - b).map(([, line]) => line);
}

/** y^ of a box of pixels, put together from the tiles that it touches. */
function gatherTiles(
  grid: Grid,
  source: Box,
  tiles: Map<number, Float32Array>,
  channels: number,
): Float32Array {
  const around = source.shrunk(LATENT_STRIDE);
  const y = new Float32Array(channels * around.area);
  for (const number of grid.touched(source)) {
    const tile = grid.box(number).shrunk(LATENT_STRIDE);
    const shared = tile.and(around);
    const from = tiles.get(number)!;
    for (let c = 0; c < channels; c++) {
      for (let r = shared.top; r < shared.bottom; r++) {
        const row = (c * tile.height + r - tile.top) * tile.width - tile.left;
        const to = (c * around.height + r - around.top) * around.width - around.left;
        y.set(from.subarray(row + shared.left, row + shared.right), to + shared.left);
      }
    }
  }
  return y;
}

/** An area of a picture that is put together. */
class Canvas {
  readonly decoded: Decoded;
  private done = 0;
  /** Latent positions that patches cover. */
  private readonly cover: Uint8Array;
  private readonly lattice: Box;

  constructor(
    private readonly file: ContainerFile,
    private readonly area: Box,
    private readonly progress: Request["progress"],
  ) {
    const { grey, alpha } = file.header;
    const { width, height } = area;
    this.decoded = {
      width,
      height,
      data: new Uint8ClampedArray(4 * area.area),
      metadata: {},
      grey,
      alpha,
      checksums: new Map(),
    };
    this.lattice = file.grid.whole.shrunk(LATENT_STRIDE);
    this.cover = new Uint8Array(file.patches.length && this.lattice.area);
    for (const patch of file.patches) {
      const { left, top, right, bottom } = patch.shrunk(LATENT_STRIDE);
      for (let r = top; r < bottom; r++) {
        this.cover.fill(1, r * this.lattice.width + left, r * this.lattice.width + right);
      }
    }
  }

  /** Whether patches cover all pixels of a box. */
  hides(box: Box): boolean {
    return this.file.patches.length > 0 && this.coveredPixels(box) === box.area;
  }

  /** Show samples that begin at the corner of `inner`, in latent positions; and report it. */
  async show(
    samples: Samples,
    inner: Box,
    box: Box,
    alpha: Uint8Array | undefined,
    tile: Box,
  ): Promise<void> {
    const { data, grey } = this.decoded;
    const { values, height, width } = samples;
    const size = height * width;
    const corner = inner.enlarged(LATENT_STRIDE);
    for (let r = box.top; r < box.bottom; r++) {
      let to = this.addressOf(box.left, r);
      let from = (r - corner.top) * width + box.left - corner.left;
      let own = (r - tile.top) * tile.width + box.left - tile.left;
      for (let c = box.left; c < box.right; c++, to += 4, from++, own++) {
        let red = values[from]!;
        let green = values[size + from]!;
        let blue = values[2 * size + from]!;
        if (grey) red = green = blue = (red + green + blue) / 3;
        data[to] = 255 * red; // which rounds and clamps
        data[to + 1] = 255 * green;
        data[to + 2] = 255 * blue;
        data[to + 3] = alpha ? alpha[own]! : 255;
      }
    }
    await this.report(box.area - this.coveredPixels(box));
  }

  async showPatches(): Promise<void> {
    const { file, area } = this;
    const { grey, alpha } = file.header;
    for (const [number, patch] of file.patches.entries()) {
      const shown = patch.and(area);
      if (!shown.area) continue;
      const pixels = decodePatch(file.readPatch(number), patch.width, patch.height);
      if (!pixels) throw damaged("a patch cannot be decoded");
      for (let r = shown.top; r < shown.bottom; r++) {
        let to = this.addressOf(shown.left, r);
        let from = (r - patch.top) * patch.width + shown.left - patch.left;
        for (let c = shown.left; c < shown.right; c++, to += 4, from++) {
          const argb = pixels[from]!;
          const green = (argb >> 8) & 255;
          this.decoded.data[to] = grey ? green : (argb >> 16) & 255;
          this.decoded.data[to + 1] = green;
          this.decoded.data[to + 2] = grey ? green : argb & 255;
          this.decoded.data[to + 3] = alpha ? argb >>> 24 : 255;
        }
      }
      await this.report(shown.area);
    }
  }

  /** Report as many pixels as done. */
  async report(pixels: number): Promise<void> {
    this.done += pixels;
    await this.progress?.(this.done, this.area.area);
  }

  /** Pixels of a box that patches cover. */
  private coveredPixels(box: Box): number {
    if (!this.cover.length) return 0;
    const positions = box.shrunk(LATENT_STRIDE);
    let pixels = 0;
    for (let r = positions.top; r < positions.bottom; r++) {
      for (let c = positions.left; c < positions.right; c++) {
        if (!this.cover[r * this.lattice.width + c]) continue;
        pixels += new Box(c, r, c + 1, r + 1).enlarged(LATENT_STRIDE).and(box).area;
      }
    }
    return pixels;
  }

  private addressOf(left: number, top: number): number {
    return 4 * ((top - this.area.top) * this.area.width + left - this.area.left);
  }
}

/** The error that a caller sees, whatever went wrong. */
export function publicError(error: unknown): unknown {
  // Engines throw this where memory cannot be had.
  if (error instanceof RangeError) {
    return new CodecError("LimitError", `there is not enough memory: ${error.message}`);
  }
  return error;
}
