/** Pictures as PNG files: every sample, profile, EXIF and XMP. */

import type { Metadata, Picture } from "../src/api.ts";
import { crc32 } from "../src/crc32.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** Bytes of rows between two pauses, in which the page may do something else. */
const STRIP = 1 << 20;
/** Most bytes of a block of a zlib stream that is stored as it is. */
const BLOCK = 65_535;
const ADLER = 65_521;
/** Bytes after which the sums of Adler-32 might overflow 32 bits. */
const ADLER_RUN = 5552;
/** Longest keyword of a chunk of text is 79 bytes. */
const PROFILE_NAME = "ICC profile";
const XMP_KEYWORD = "XML:com.adobe.xmp";

type Bytes = Uint8Array<ArrayBuffer>;
type Drawn = Pick<Picture, "width" | "height" | "data" | "metadata" | "grey" | "alpha">;

/**
 * A picture as a PNG file.
 *
 * @param options `compressed`: a file to keep; otherwise samples are stored as they are, which is
 *     ten times as fast and what an <img> needs.
 */
export async function toPng(
  picture: Drawn,
  { compressed = false, signal }: { compressed?: boolean; signal?: AbortSignal } = {},
): Promise<Blob> {
  const parts = [
    Uint8Array.from(SIGNATURE),
    ...chunk("IHDR", header(picture)),
    ...(await metadataChunks(picture)),
  ];
  const strips = stripsOf(picture, compressed, signal);
  if (compressed) parts.push(...chunk("IDAT", await deflate(strips)));
  else for await (const stored of storedStream(strips)) parts.push(...chunk("IDAT", stored));
  parts.push(...chunk("IEND", new Uint8Array(0)));
  return new Blob(parts, { type: "image/png" });
}

/** Number of channels of a PNG file. */
function channelsOf({ grey, alpha }: Pick<Picture, "grey" | "alpha">): number {
  return (grey ? 1 : 3) + (alpha ? 1 : 0);
}

function header({ width, height, grey, alpha }: Drawn): Bytes {
  const bytes = new Uint8Array(13);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  bytes[8] = 8; // bits of a sample
  bytes[9] = (grey ? 0 : 2) + (alpha ? 4 : 0);
  return bytes;
}

async function metadataChunks({ metadata, grey }: Drawn): Promise<Bytes[]> {
  const parts: Bytes[] = [];
  const { icc, exif, xmp }: Metadata = metadata;
  if (icc && profileFits(icc, grey)) {
    const name = text(`${PROFILE_NAME}\0\0`); // and the method, which is zlib
    parts.push(...chunk("iCCP", joined([name, await deflate([icc])])));
  }
  if (exif) parts.push(...chunk("eXIf", exif));
  if (xmp) parts.push(...chunk("iTXt", joined([text(`${XMP_KEYWORD}\0\0\0\0\0`), xmp])));
  return parts;
}

/** Whether a profile is one of the picture's kind, grey or colour; PNG allows no other. */
export function profileFits(icc: Uint8Array, grey: boolean): boolean {
  return new TextDecoder().decode(icc.subarray(16, 20)) === (grey ? "GRAY" : "RGB ");
}

/** Rows with their filters, strip by strip. */
async function* stripsOf(
  picture: Drawn,
  filtered: boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<Bytes> {
  const { width, height } = picture;
  const length = width * channelsOf(picture);
  const rows = Math.max(1, Math.floor(STRIP / (length + 1)));
  const filter = filtered ? new Filter(length, channelsOf(picture)) : null;
  for (let top = 0; top < height; top += rows) {
    if (top) await pause();
    signal?.throwIfAborted();
    const count = Math.min(rows, height - top);
    const strip = new Uint8Array(count * (length + 1));
    const samples = filter ? new Uint8Array(length) : strip;
    for (let row = 0; row < count; row++) {
      const at = row * (length + 1);
      if (filter) {
        packRow(picture, top + row, samples, 0);
        filter.write(samples, strip, at);
      } else packRow(picture, top + row, strip, at + 1);
    }
    yield strip;
  }
}

/** The samples of a row without those that PNG does not have. */
function packRow({ data, width, grey, alpha }: Drawn, row: number, out: Uint8Array, to: number) {
  let from = 4 * width * row;
  const end = from + 4 * width;
  if (!grey && alpha) out.set(data.subarray(from, end), to);
  else if (grey) {
    for (let at = to; from < end; from += 4) {
      out[at++] = data[from]!;
      if (alpha) out[at++] = data[from + 3]!;
    }
  } else {
    for (let at = to; from < end; from += 4, at += 3) {
      out[at] = data[from]!;
      out[at + 1] = data[from + 1]!;
      out[at + 2] = data[from + 2]!;
    }
  }
}

/** The filters of PNG; that of a row is the one with the least sum of magnitudes. */
class Filter {
  private before: Uint8Array;
  private readonly tried: Uint8Array[];

  constructor(
    private readonly length: number,
    private readonly channels: number,
  ) {
    this.before = new Uint8Array(length);
    this.tried = Array.from({ length: 5 }, () => new Uint8Array(length));
  }

  write(row: Uint8Array, out: Uint8Array, to: number): void {
    const [none, sub, up, average, paeth] = this.tried as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const { before, channels } = this;
    let [sum0, sum1, sum2, sum3, sum4] = [0, 0, 0, 0, 0];
    for (let i = 0; i < this.length; i++) {
      const x = row[i]!;
      const a = i < channels ? 0 : row[i - channels]!;
      const b = before[i]!;
      const c = i < channels ? 0 : before[i - channels]!;
      const toA = Math.abs(b - c);
      const toB = Math.abs(a - c);
      const toC = Math.abs(a + b - 2 * c);
      const nearest = toA <= toB && toA <= toC ? a : toB <= toC ? b : c;
      // Of bytes with a sign, hence the shifts.
      sum0 += Math.abs((x << 24) >> 24);
      sum1 += Math.abs(((sub[i] = x - a) << 24) >> 24);
      sum2 += Math.abs(((up[i] = x - b) << 24) >> 24);
      sum3 += Math.abs(((average[i] = x - ((a + b) >> 1)) << 24) >> 24);
      sum4 += Math.abs(((paeth[i] = x - nearest) << 24) >> 24);
    }
    none.set(row);
    const sums = [sum0, sum1, sum2, sum3, sum4];
    const best = sums.indexOf(Math.min(...sums));
    out[to] = best;
    out.set(this.tried[best]!, to + 1);
    this.before.set(row);
  }
}

/** A zlib stream of stored blocks. */
async function* storedStream(strips: AsyncIterable<Bytes>): AsyncGenerator<Bytes> {
  let a = 1;
  let b = 0;
  yield Uint8Array.of(0x78, 0x01);
  for await (const strip of strips) {
    for (let at = 0; at < strip.length; ) {
      for (const end = Math.min(at + ADLER_RUN, strip.length); at < end; at++) {
        a += strip[at]!;
        b += a;
      }
      a %= ADLER;
      b %= ADLER;
    }
    yield blocks(strip);
  }
  yield Uint8Array.of(1, 0, 0, 255, 255, b >> 8, b, a >> 8, a); // an empty last block, the sum
}

function blocks(bytes: Bytes): Bytes {
  const count = Math.ceil(bytes.length / BLOCK);
  const out = new Uint8Array(bytes.length + 5 * count);
  let to = 0;
  for (let at = 0; at < bytes.length; at += BLOCK) {
    const part = bytes.subarray(at, at + BLOCK);
    out.set([0, part.length, part.length >> 8, ~part.length, ~part.length >> 8], to);
    out.set(part, to + 5);
    to += part.length + 5;
  }
  return out;
}

/** A zlib stream. */
async function deflate(parts: Iterable<Bytes> | AsyncIterable<Bytes>): Promise<Bytes> {
  const { readable, writable } = new CompressionStream("deflate");
  const written = (async () => {
    const writer = writable.getWriter();
    try {
      for await (const part of parts) await writer.write(part);
      await writer.close();
    } catch (error) {
      await writer.abort(error);
      throw error;
    }
  })();
  const [bytes] = await Promise.all([new Response(readable).arrayBuffer(), written]);
  return new Uint8Array(bytes);
}

function chunk(type: string, content: Bytes): [Bytes, Bytes, Bytes] {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setUint32(0, content.length);
  head.set(text(type), 4);
  const checksum = new Uint8Array(4);
  new DataView(checksum.buffer).setUint32(0, crc32(content, crc32(head.subarray(4))));
  return [head, content, checksum];
}

function joined(parts: Bytes[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let to = 0;
  for (const part of parts) {
    out.set(part, to);
    to += part.length;
  }
  return out;
}

function text(ascii: string): Bytes {
  return Uint8Array.from(ascii, (letter) => letter.charCodeAt(0));
}

/** Let the page draw and answer. */
function pause(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
