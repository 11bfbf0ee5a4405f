/** The container (FORMAT.md): bytes to fields, with checksums and limits. */

import type { Info, Metadata } from "./api.ts";
import { crc32 } from "./crc32.ts";
import { CodecError, damaged } from "./errors.ts";
import { Box, Grid, LATENT_STRIDE, TILE_UNIT } from "./geometry.ts";
import { inflate } from "./inflate.ts";
import { checkFile, checkPixels, type Limits } from "./limits.ts";

const MAGIC = [0x89, 0x56, 0x51, 0x43, 0x0d, 0x0a];
const VERSION = 1;
const HEADER_BYTES = 18;
const GREY = 0x01;
const VECTOR_QUANTISED = 0x02;
const DIRECTORY = 0x04;
const ALPHA = 0x08;
const RESTORATION = 0x10;
const PATCHES = 0x20;
const MAP = 0x40;
const KNOWN_FLAGS = 0x7f;

const MIN_TILE = 256;
const MAX_PATCH_SIDE = 1023;
const MAX_PATCH_PIXELS = 2 ** 24;
const MAX_METADATA = 2 ** 24;
const MAX_CHUNK = MAX_METADATA + 2 ** 16;
const CHUNKS: Record<string, keyof Metadata> = { "icc ": "icc", exif: "exif", "xmp ": "xmp" };

const TRUNCATED = "the file is truncated";
const MISMATCH = "the checksum does not match; transfer the file again";

/** A part of a file. */
interface Section {
  offset: number;
  length: number;
  /** CRC-32 of its bytes. */
  checksum: number;
}

interface TileSection extends Section {
  /** Bytes of its alpha, which follow those of its stream. */
  alphaLength: number;
  symbolChecksum: number;
}

export interface Tile {
  stream: Uint8Array;
  alpha: Uint8Array<ArrayBuffer>;
  /** CRC-32 of the decoded symbols. */
  symbolChecksum: number;
}

/** The fields that are known without decoding. */
export interface Header {
  width: number;
  height: number;
  grey: boolean;
  alpha: boolean;
  vq: boolean;
  /** In units of 2^-12. */
  level: number;
  /** First four bytes of the model's id, in hex. */
  modelId: string;
  /** Weights of the restoration filter; none without one. */
  restoration: Int8Array;
  /** Coded map of levels; none for one level everywhere. */
  levelMap: Uint8Array;
}

/**
 * A file; header and directory are verified at once, a plain file as a whole, other parts when they
 * are read.
 */
export class ContainerFile {
  readonly header: Header;
  readonly grid: Grid;
  /** Rectangles that are stored without loss, disjoint, in pixels. */
  readonly patches: Box[] = [];
  /** Tiles that patches cover wholly, which have no stream. */
  readonly covered = new Set<number>();
  private readonly metadata = new Map<keyof Metadata, Section>();
  private readonly patchSections: Section[] = [];
  private readonly tiles = new Map<number, TileSection>();

  /** @param limits none are checked without them. */
  constructor(
    private readonly data: Uint8Array<ArrayBuffer>,
    limits?: Limits,
  ) {
    const cursor = new Cursor(data);
    const { header, flags } = readHeader(cursor, data.length);
    if (limits) {
      checkPixels(limits, header.width, header.height);
      checkFile(limits, data.length);
    }
    if (flags & RESTORATION) {
      const count = cursor.u8();
      if (!count) throw damaged("a restoration filter without weights");
      header.restoration = new Int8Array(cursor.bytes(count));
    }
    if (flags & MAP) {
      const length = cursor.u32();
      if (length < 2) throw damaged("an empty map of levels");
      header.levelMap = cursor.bytes(length);
    }
    this.header = header;
    if (flags & DIRECTORY) {
      this.grid = this.readDirectory(cursor, (flags & PATCHES) !== 0);
    } else {
      this.grid = new Grid(header.height, header.width);
      this.readPlain(cursor);
    }
  }

  /** Whether patches cover the whole picture, which takes no model then. */
  get lossless(): boolean {
    return this.covered.size === this.grid.length;
  }

  /** A tile that patches do not cover wholly. */
  readTile(number: number): Tile {
    const section = this.tiles.get(number)!;
    const data = this.verified(section);
    const end = data.length - section.alphaLength;
    return {
      stream: data.subarray(0, end),
      alpha: data.subarray(end),
      symbolChecksum: section.symbolChecksum,
    };
  }

  /** Bytes of a patch by its number in `patches`. */
  readPatch(number: number): Uint8Array {
    return this.verified(this.patchSections[number]!);
  }

  async readMetadata(): Promise<Metadata> {
    const metadata: Metadata = {};
    for (const kind of Object.values(CHUNKS)) {
      const section = this.metadata.get(kind);
      if (!section) continue;
      const content = await inflate(this.verified(section), MAX_METADATA);
      if (!content) throw damaged(`${kind} metadata cannot be inflated`);
      metadata[kind] = content;
    }
    return metadata;
  }

  info(): Info {
    const { header, data, grid } = this;
    const sum = (numbers: Iterable<number>) => [...numbers].reduce((a, b) => a + b, 0);
    const tiles = [...this.tiles.values()];
    const alphaBytes = sum(tiles.map((tile) => tile.alphaLength));
    const codedBytes = sum(tiles.map((tile) => tile.length)) - alphaBytes;
    const patchBytes = sum(this.patchSections.map((section) => section.length));
    const filterBytes = header.restoration.length && header.restoration.length + 1;
    const metadataBytes = Object.fromEntries(
      [...this.metadata].map(([kind, section]) => [kind, section.length]),
    );
    const mapBytes = header.levelMap.length && header.levelMap.length + 4;
    const parts = codedBytes + alphaBytes + patchBytes + filterBytes + mapBytes;
    return {
      version: VERSION,
      width: header.width,
      height: header.height,
      grey: header.grey,
      alpha: header.alpha,
      bytes: data.length,
      bpp: (8 * data.length) / (header.width * header.height),
      lossless: this.lossless,
      codedBytes,
      patchBytes,
      alphaBytes,
      filterBytes,
      mapBytes,
      metadataBytes,
      containerBytes: data.length - parts - sum(Object.values(metadataBytes)),
      patches: this.patches.length,
      patchPixels: sum(this.patches.map((box) => box.area)),
      tiles: grid.length,
      tileSize: grid.side,
      modelId: header.modelId,
      rounding: header.vq ? "vq" : "integer",
      levels: header.vq ? (header.level >> 12) + 1 : null,
      level: header.level,
    };
  }

  private readPlain(cursor: Cursor): void {
    const { data } = this;
    const offset = cursor.at;
    const end = data.length - 8;
    if (end < offset) throw damaged(TRUNCATED);
    cursor.at = end;
    const symbolChecksum = cursor.u32();
    if (crc32(data.subarray(0, end + 4)) !== cursor.u32()) throw damaged(MISMATCH);
    const length = end - offset;
    const checksum = crc32(data.subarray(offset, end));
    this.tiles.set(0, { offset, length, checksum, alphaLength: 0, symbolChecksum });
  }

  private readDirectory(cursor: Cursor, patched: boolean): Grid {
    const { width, height, alpha } = this.header;
    const side = cursor.u16() * TILE_UNIT;
    const chunkCount = cursor.u8();
    const patchCount = patched ? cursor.u16() : 0;
    if (patched && !patchCount) throw damaged("a table of no patches");
    if (side && (side < MIN_TILE || side >= Math.max(width, height))) {
      throw damaged(`impossible tiles of ${side} pixels`);
    }
    const grid = new Grid(height, width, side);
    const chunks = cursor.part(12 * chunkCount);
    const patches = cursor.part(16 * patchCount);
    const patchSizes = this.readPatches(patches, patchCount, grid.whole);
    this.findCovered(grid);
    const tiles = cursor.part((grid.length - this.covered.size) * (alpha ? 16 : 12));
    const computed = crc32(this.data.subarray(0, cursor.at));
    if (cursor.u32() !== computed) throw damaged(MISMATCH);

    let offset = cursor.at;
    for (let i = 0; i < chunkCount; i++) {
      const type = String.fromCharCode(...chunks.bytes(4));
      const section = { offset, length: chunks.u32(), checksum: chunks.u32() };
      if (!/^[a-z]/.test(type)) {
        throw new CodecError("UnsupportedFileError", "uses a chunk of a newer program");
      }
      const kind = CHUNKS[type];
      if (kind) {
        if (this.metadata.has(kind) || section.length > MAX_CHUNK) {
          throw damaged(`impossible ${kind} metadata`);
        }
        this.metadata.set(kind, section);
      }
      offset += section.length;
    }
    for (const { length, checksum } of patchSizes) {
      this.patchSections.push({ offset, length, checksum });
      offset += length;
    }
    for (let number = 0; number < grid.length; number++) {
      if (this.covered.has(number)) continue;
      const streamLength = tiles.u32();
      const alphaLength = alpha ? tiles.u32() : 0;
      const length = streamLength + alphaLength;
      const symbolChecksum = tiles.u32();
      this.tiles.set(number, {
        offset,
        length,
        symbolChecksum,
        checksum: tiles.u32(),
        alphaLength,
      });
      offset += length;
    }
    if (offset !== this.data.length) throw damaged("the file is shorter or longer than its parts");
    return grid;
  }

  /** Rectangles of the patch table, verified; gives lengths and checksums. */
  private readPatches(table: Cursor, count: number, whole: Box): Omit<Section, "offset">[] {
    const lattice = whole.shrunk(LATENT_STRIDE);
    const bottoms = new Uint16Array(lattice.width);
    const sizes = [];
    let before = -1;
    for (let i = 0; i < count; i++) {
      const left = table.u16();
      const top = table.u16();
      const box = new Box(left, top, left + table.u16(), top + table.u16());
      const inRange = (side: number) => side > 0 && side <= MAX_PATCH_SIDE;
      if (!inRange(box.width) || !inRange(box.height)) throw damaged("impossible sides of a patch");
      if (!lattice.holds(box)) throw damaged("a patch lies outside of the picture");
      const pixels = box.enlarged(LATENT_STRIDE).and(whole);
      if (pixels.area > MAX_PATCH_PIXELS) throw damaged("a patch has too many pixels");
      const order = top * 65536 + left;
      if (order <= before) throw damaged("patches are out of order");
      before = order;
      // Those before begin no lower than this one, so they overlap if they end below its top.
      const columns = bottoms.subarray(left, box.right);
      if (columns.some((bottom) => bottom > top)) throw damaged("patches overlap");
      columns.fill(box.bottom);
      this.patches.push(pixels);
      sizes.push({ length: table.u32(), checksum: table.u32() });
    }
    return sizes;
  }

  private findCovered(grid: Grid): void {
    const areas = new Map<number, number>();
    for (const patch of this.patches) {
      for (const number of grid.touched(patch)) {
        const area = (areas.get(number) ?? 0) + grid.box(number).and(patch).area;
        areas.set(number, area);
        if (area === grid.box(number).area) this.covered.add(number);
      }
    }
  }

  private verified(section: Section): Uint8Array<ArrayBuffer> {
    const data = this.data.subarray(section.offset, section.offset + section.length);
    if (crc32(data) !== section.checksum) throw damaged(MISMATCH);
    return data;
  }
}

function readHeader(cursor: Cursor, size: number): { header: Header; flags: number } {
  if (!size) throw new CodecError("FileFormatError", "the file is empty");
  const known = Math.min(size, MAGIC.length);
  if (cursor.bytes(known).some((byte, i) => byte !== MAGIC[i])) {
    throw new CodecError("FileFormatError", "not a vqcodec file");
  }
  if (size < HEADER_BYTES) throw damaged(TRUNCATED);
  const version = cursor.u8();
  if (version !== VERSION) {
    throw new CodecError(
      "UnsupportedFileError",
      `version ${version} of the format; this program reads version ${VERSION}`,
    );
  }
  const flags = cursor.u8();
  if (flags & ~KNOWN_FLAGS) {
    throw new CodecError("UnsupportedFileError", "uses features of a newer program");
  }
  const width = cursor.u16();
  const height = cursor.u16();
  if (!width || !height) throw damaged(`impossible size ${width}x${height}`);
  if (flags & ALPHA && !(flags & DIRECTORY)) throw damaged("alpha without a directory");
  if (flags & PATCHES && !(flags & DIRECTORY)) throw damaged("patches without a directory");
  if (flags & MAP && flags & VECTOR_QUANTISED) throw damaged("a map of residual levels");
  const level = cursor.u16();
  const modelId = Array.from(cursor.bytes(4), (byte) => byte.toString(16).padStart(2, "0"));
  const header = {
    width,
    height,
    grey: (flags & GREY) !== 0,
    alpha: (flags & ALPHA) !== 0,
    vq: (flags & VECTOR_QUANTISED) !== 0,
    level,
    modelId: modelId.join(""),
    restoration: new Int8Array(),
    levelMap: new Uint8Array(),
  };
  return { header, flags };
}

/** Reads little-endian numbers one after the other; beyond the end is damage. */
class Cursor {
  at = 0;
  private readonly view: DataView;

  constructor(private readonly data: Uint8Array<ArrayBuffer>) {
    this.view = new DataView(data.buffer, data.byteOffset, data.length);
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (this.at + length > this.data.length) throw damaged(TRUNCATED);
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }

  /** The next bytes, to be read in turn. */
  part(length: number): Cursor {
    return new Cursor(this.bytes(length));
  }

  u8(): number {
    return this.bytes(1)[0]!;
  }

  u16(): number {
    this.bytes(2);
    return this.view.getUint16(this.at - 2, true);
  }

  u32(): number {
    this.bytes(4);
    return this.view.getUint32(this.at - 4, true);
  }
}
