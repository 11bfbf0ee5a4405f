/** Public types; `vqcodec.ts` has the functions. */

/** (x, y, width, height) in pixels. */
export type Region = readonly [x: number, y: number, width: number, height: number];

export interface DecodeOptions {
  /** Part of the picture to decode; the whole picture if absent. */
  region?: Region;
  /** Called with (pixels done, pixels in all). */
  onprogress?: (done: number, total: number) => void;
  /** Ends decoding with the signal's reason. */
  signal?: AbortSignal;
  /** Folder of `worker.js`, the `.wasm` files and `models/`; that of this module if absent. */
  base?: string | URL;
  /** Most pixels of a picture, width times height; 2^27 if absent. */
  maxPixels?: number;
  /** Most bytes of memory to take for a picture, estimated; 1.5 GiB if absent. */
  maxMemory?: number;
}

export interface Metadata {
  /** ICC profile of the samples; without one they are sRGB, or grey with sRGB's curve. */
  icc?: Uint8Array<ArrayBuffer>;
  exif?: Uint8Array<ArrayBuffer>;
  xmp?: Uint8Array<ArrayBuffer>;
}

export interface Picture {
  /** Of the region, if one was asked for. */
  width: number;
  height: number;
  /** RGBA, row by row, not premultiplied: `new ImageData(data, width, height)`. */
  data: Uint8ClampedArray<ArrayBuffer>;
  metadata: Metadata;
  /** Whether the three colours are equal everywhere because the file has one channel. */
  grey: boolean;
  /** Whether the file has an alpha plane. */
  alpha: boolean;
  /** CRC-32 of the symbols of each tile that was decoded, by rising number of the tile. */
  symbolChecksums: number[];
}

export interface Info {
  version: number;
  width: number;
  height: number;
  grey: boolean;
  alpha: boolean;
  /** Bytes of the file. */
  bytes: number;
  /** Bits per pixel. */
  bpp: number;
  /** Whether all of it is stored without loss. */
  lossless: boolean;
  /** Bytes of the range-coded streams. */
  codedBytes: number;
  patchBytes: number;
  alphaBytes: number;
  filterBytes: number;
  /** Of a map of levels. */
  mapBytes: number;
  metadataBytes: { icc?: number; exif?: number; xmp?: number };
  /** What is left: header, directory, checksums. */
  containerBytes: number;
  /** Number of the rectangles that are stored without loss. */
  patches: number;
  patchPixels: number;
  tiles: number;
  /** Side of the tiles in pixels, 0 for one tile. */
  tileSize: number;
  /** First four bytes of the model's id, in hex. */
  modelId: string;
  /** "vq": vector-quantised. */
  rounding: "integer" | "vq";
  /** Number of residual levels, vector-quantised; null otherwise. */
  levels: number | null;
  /** Rate level, in units of 2^-12; a map of levels has offsets to it. */
  level: number;
}
