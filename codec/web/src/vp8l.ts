/**
 * The lossless format of WebP (RFC 9649, section 3), without the header that begins it.
 *
 * Browsers have a decoder, but give its pixels only through a canvas, which premultiplies alpha
 * and, in some of them, adds noise. Patches must be exact, so they are decoded here.
 *
 * Pixels are integers of 32 bits: alpha, red, green, blue from the highest byte down.
 */

const MAX_LENGTH = 15;
const FAST_BITS = 8;
const FAST_MASK = (1 << FAST_BITS) - 1;
const LITERALS = 256;
const LENGTH_CODES = 24;
const DISTANCE_CODES = 40;
const CODE_LENGTH_ORDER = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const MAX_CACHE_BITS = 11;
const BLACK = 0xff000000 | 0;
const RED_BLUE = 0x00ff00ff;
const ALPHA_GREEN = 0xff00ff00 | 0;

/** Distances 1..120 are of pixels around: (columns to the left, rows above), nearest first. */
const NEIGHBOURS = Array.from({ length: 8 * 16 }, (_, i) => [(i % 16) - 7, i >> 4] as const)
  .filter(([x, y]) => y > 0 || x > 0)
  .sort(
    ([x, y], [u, v]) =>
      x * x + y * y - u * u - v * v || Math.abs(x) - Math.abs(u) || Number(x < 0) - Number(u < 0),
  );

/** Thrown where bytes are no picture. */
class Damage extends Error {}

function expect(sound: boolean): void {
  if (!sound) throw new Damage();
}

/** Reads bits, the least significant first. */
class Bits {
  private at = 0;
  private value = 0;
  private count = 0;

  constructor(private readonly data: Uint8Array) {}

  /** At least 15 bits, without taking them. */
  peek(): number {
    while (this.count <= 23) {
      this.value |= (this.data[this.at++] ?? 0) << this.count;
      this.count += 8;
    }
    return this.value;
  }

  skip(count: number): void {
    this.value >>>= count;
    this.count -= count;
  }

  /** A number of at most 24 bits. */
  read(count: number): number {
    const value = this.peek() & ((1 << count) - 1);
    this.skip(count);
    return value;
  }

  flag(): boolean {
    return this.read(1) === 1;
  }

  /** Refuse to have read more than there is: the bytes, and the zero that pads a WebP file. */
  check(): void {
    const { length } = this.data;
    expect(8 * this.at - this.count <= 8 * (length + ((length + 1) % 2)));
  }
}

/** A prefix code. */
class Code {
  /** By the next bits: symbol times 16, and length; 0 for longer ones. Empty for one symbol. */
  private readonly fast = new Uint16Array();
  private readonly counts = new Uint16Array(MAX_LENGTH + 1);
  /** By length, and by value. */
  private readonly symbols: Uint16Array;

  /** @param lengths of the symbols' codes, 0 for none. */
  constructor(lengths: Uint8Array) {
    for (const length of lengths) this.counts[length]!++;
    const used = lengths.length - this.counts[0]!;
    expect(used > 0);
    this.counts[0] = 0;
    const places = new Uint16Array(MAX_LENGTH + 2);
    const codes = new Uint16Array(MAX_LENGTH + 2);
    let free = 1;
    for (let length = 1; length <= MAX_LENGTH; length++) {
      const count = this.counts[length]!;
      places[length + 1] = places[length]! + count;
      codes[length + 1] = (codes[length]! + count) << 1;
      free = 2 * free - count;
      expect(free >= 0 || used === 1);
    }
    this.symbols = new Uint16Array(used);
    if (used > 1) {
      expect(free === 0);
      this.fast = new Uint16Array(1 << FAST_BITS);
    }
    lengths.forEach((length, symbol) => {
      if (!length) return;
      this.symbols[places[length]!++] = symbol;
      const code = codes[length]!++;
      if (length > FAST_BITS || used === 1) return;
      for (let i = reversed(code, length); i <= FAST_MASK; i += 1 << length) {
        this.fast[i] = (symbol << 4) | length;
      }
    });
  }

  read(bits: Bits): number {
    if (this.symbols.length === 1) return this.symbols[0]!;
    let value = bits.peek();
    const found = this.fast[value & FAST_MASK]!;
    if (found) {
      bits.skip(found & 15);
      return found >> 4;
    }
    let code = 0;
    let first = 0;
    let place = 0;
    for (let length = 1; ; length++) {
      code |= value & 1;
      value >>>= 1;
      const count = this.counts[length]!;
      if (code - first < count) {
        bits.skip(length);
        return this.symbols[place + code - first]!;
      }
      place += count;
      first = (first + count) << 1;
      code <<= 1;
    }
  }
}

function reversed(code: number, length: number): number {
  let result = 0;
  for (let i = 0; i < length; i++) result |= ((code >> i) & 1) << (length - 1 - i);
  return result;
}

function readCode(bits: Bits, symbols: number): Code {
  const lengths = new Uint8Array(Math.max(symbols, LITERALS));
  if (bits.flag()) {
    const two = bits.flag();
    lengths[bits.read(bits.flag() ? 8 : 1)] = 1;
    if (two) lengths[bits.read(8)] = 1;
  } else {
    readLengths(bits, lengths.subarray(0, symbols));
  }
  bits.check();
  return new Code(lengths.subarray(0, symbols));
}

/** Lengths of the codes of symbols, which are coded themselves. */
function readLengths(bits: Bits, lengths: Uint8Array): void {
  const own = new Uint8Array(CODE_LENGTH_ORDER.length);
  const count = bits.read(4) + 4;
  for (let i = 0; i < count; i++) own[CODE_LENGTH_ORDER[i]!] = bits.read(3);
  const code = new Code(own);
  let left = lengths.length;
  if (bits.flag()) {
    left = 2 + bits.read(2 + 2 * bits.read(3));
    expect(left <= lengths.length);
  }
  let before = 8;
  for (let symbol = 0; symbol < lengths.length && left > 0; left--) {
    const length = code.read(bits);
    if (length < 16) {
      lengths[symbol++] = length;
      if (length) before = length;
      continue;
    }
    const repeat =
      length === 16 ? 3 + bits.read(2) : length === 17 ? 3 + bits.read(3) : 11 + bits.read(7);
    expect(symbol + repeat <= lengths.length);
    if (length === 16) lengths.fill(before, symbol, symbol + repeat);
    symbol += repeat;
  }
}

/** Codes of green and of lengths, red, blue, alpha, distance. */
type Group = [Code, Code, Code, Code, Code];

/** A number whose prefix was decoded. */
function readValue(bits: Bits, prefix: number): number {
  if (prefix < 4) return prefix + 1;
  const extra = (prefix - 2) >> 1;
  return ((2 + (prefix & 1)) << extra) + bits.read(extra) + 1;
}

/** Entropy-coded pixels; `outer` ones may have several groups of codes. */
function readPixels(bits: Bits, width: number, height: number, outer: boolean): Int32Array {
  const cacheBits = bits.flag() ? bits.read(4) : 0;
  expect(cacheBits <= MAX_CACHE_BITS);
  const cache = new Int32Array(cacheBits && 1 << cacheBits);
  let groupBits = 0;
  let groupOf = new Int32Array(1);
  if (outer && bits.flag()) {
    groupBits = bits.read(3) + 2;
    const image = readPixels(bits, blocks(width, groupBits), blocks(height, groupBits), false);
    groupOf = image.map((pixel) => (pixel >> 8) & 0xffff);
  }
  const groupCount = 1 + groupOf.reduce((most, group) => Math.max(most, group), 0);
  const groups: Group[] = [];
  for (let i = 0; i < groupCount; i++) {
    groups.push([
      readCode(bits, LITERALS + LENGTH_CODES + cache.length),
      readCode(bits, LITERALS),
      readCode(bits, LITERALS),
      readCode(bits, LITERALS),
      readCode(bits, DISTANCE_CODES),
    ]);
  }
  const across = groupOf.length > 1 ? blocks(width, groupBits) : 0;
  const pixels = new Int32Array(width * height);
  const remember = (pixel: number) => {
    if (cacheBits) cache[Math.imul(0x1e35a7bd, pixel) >>> (32 - cacheBits)] = pixel;
  };
  let x = 0;
  let y = 0;
  let group = groups[groupOf[0]!]!;
  for (let at = 0; at < pixels.length; ) {
    if (across) group = groups[groupOf[(y >> groupBits) * across + (x >> groupBits)]!]!;
    const symbol = group[0].read(bits);
    let length = 1;
    if (symbol < LITERALS) {
      const red = group[1].read(bits);
      const blue = group[2].read(bits);
      const alpha = group[3].read(bits);
      pixels[at] = (alpha << 24) | (red << 16) | (symbol << 8) | blue;
      remember(pixels[at]!);
    } else if (symbol >= LITERALS + LENGTH_CODES) {
      pixels[at] = cache[symbol - LITERALS - LENGTH_CODES]!;
      remember(pixels[at]!);
    } else {
      length = readValue(bits, symbol - LITERALS);
      const code = readValue(bits, group[4].read(bits));
      const [left, up] = NEIGHBOURS[code - 1] ?? [code - NEIGHBOURS.length, 0];
      const distance = Math.max(1, up * width + left);
      expect(distance <= at && at + length <= pixels.length);
      for (let i = at; i < at + length; i++) {
        pixels[i] = pixels[i - distance]!;
        remember(pixels[i]!);
      }
    }
    at += length;
    x += length;
    while (x >= width) {
      x -= width;
      y++;
      bits.check();
    }
  }
  bits.check();
  return pixels;
}

const blocks = (size: number, bits: number) => (size + (1 << bits) - 1) >> bits;

/** Turns pixels into those that they were made from. */
type Transform = (pixels: Int32Array) => Int32Array;

/** Sums of each of the four channels, modulo 256. */
function add(a: number, b: number): number {
  return (
    (((a & ALPHA_GREEN) + (b & ALPHA_GREEN)) & ALPHA_GREEN) |
    (((a & RED_BLUE) + (b & RED_BLUE)) & RED_BLUE)
  );
}

/** Means of each of the four channels, rounded down. */
const mean = (a: number, b: number) => ((a & b) + (((a ^ b) & 0xfefefefe) >>> 1)) | 0;

/** The same function of each of the four channels. */
function channels(
  a: number,
  b: number,
  c: number,
  of: (a: number, b: number, c: number) => number,
): number {
  let result = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const v = of((a >>> shift) & 255, (b >>> shift) & 255, (c >>> shift) & 255);
    result |= Math.max(0, Math.min(255, v)) << shift;
  }
  return result;
}

function select(left: number, top: number, corner: number): number {
  let difference = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const c = (corner >>> shift) & 255;
    difference += Math.abs(((top >>> shift) & 255) - c) - Math.abs(((left >>> shift) & 255) - c);
  }
  return difference < 0 ? left : top;
}

function predict(mode: number, pixels: Int32Array, at: number, width: number): number {
  const left = pixels[at - 1]!;
  const top = pixels[at - width]!;
  const corner = pixels[at - width - 1]!;
  const right = pixels[at - width + 1]!;
  switch (mode) {
    case 1:
      return left;
    case 2:
      return top;
    case 3:
      return right;
    case 4:
      return corner;
    case 5:
      return mean(mean(left, right), top);
    case 6:
      return mean(left, corner);
    case 7:
      return mean(left, top);
    case 8:
      return mean(corner, top);
    case 9:
      return mean(top, right);
    case 10:
      return mean(mean(left, corner), mean(top, right));
    case 11:
      return select(left, top, corner);
    case 12:
      return channels(left, top, corner, (l, t, c) => l + t - c);
    case 13:
      return channels(mean(left, top), corner, 0, (m, c) => m + Math.trunc((m - c) / 2));
    default:
      return BLACK;
  }
}

function predictor(bits: Bits, width: number, height: number): Transform {
  const side = bits.read(3) + 2;
  const across = blocks(width, side);
  const modes = readPixels(bits, across, blocks(height, side), false);
  return (pixels) => {
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        let mode = (modes[(y >> side) * across + (x >> side)]! >> 8) & 15;
        if (y === 0) mode = x === 0 ? 0 : 1;
        else if (x === 0) mode = 2;
        pixels[at] = add(pixels[at]!, predict(mode, pixels, at, width));
      }
    }
    return pixels;
  };
}

const signed = (byte: number) => (byte << 24) >> 24;

function crossColour(bits: Bits, width: number, height: number): Transform {
  const side = bits.read(3) + 2;
  const across = blocks(width, side);
  const factors = readPixels(bits, across, blocks(height, side), false);
  return (pixels) => {
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const factor = factors[(y >> side) * across + (x >> side)]!;
        const pixel = pixels[at]!;
        const green = signed(pixel >> 8);
        const red = ((pixel >> 16) + ((signed(factor) * green) >> 5)) & 255;
        const blue =
          (pixel +
            ((signed(factor >> 8) * green) >> 5) +
            ((signed(factor >> 16) * signed(red)) >> 5)) &
          255;
        pixels[at] = (pixel & ALPHA_GREEN) | (red << 16) | blue;
      }
    }
    return pixels;
  };
}

function addGreen(pixels: Int32Array): Int32Array {
  return pixels.map((pixel) => {
    const green = (pixel >> 8) & 255;
    return add(pixel, (green << 16) | green);
  });
}

/** A palette; of up to 16 colours, several pixels are in the green of one. */
function palette(bits: Bits, width: number, height: number): { packed: number; apply: Transform } {
  const count = bits.read(8) + 1;
  const side = count > 16 ? 0 : count > 4 ? 1 : count > 2 ? 2 : 3;
  const colours = new Int32Array(256);
  colours.set(readPixels(bits, count, 1, false));
  for (let i = 1; i < count; i++) colours[i] = add(colours[i]!, colours[i - 1]!);
  const packed = blocks(width, side);
  const depth = 8 >> side;
  const apply: Transform = (pixels) => {
    const out = new Int32Array(width * height);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const index = (pixels[y * packed + (x >> side)]! >> 8) & 255;
        const shift = (x & ((1 << side) - 1)) * depth;
        out[at] = colours[(index >> shift) & ((1 << depth) - 1)]!;
      }
    }
    return out;
  };
  return { packed, apply };
}

/**
 * Pixels of a patch, row by row.
 *
 * @returns null if the bytes are no picture.
 */
export function decodePatch(data: Uint8Array, width: number, height: number): Int32Array | null {
  try {
    const bits = new Bits(data);
    const transforms: Transform[] = [];
    const seen = new Set<number>();
    let across = width;
    while (bits.flag()) {
      const kind = bits.read(2);
      expect(!seen.has(kind));
      seen.add(kind);
      if (kind === 0) transforms.push(predictor(bits, across, height));
      else if (kind === 1) transforms.push(crossColour(bits, across, height));
      else if (kind === 2) transforms.push(addGreen);
      else {
        const { packed, apply } = palette(bits, across, height);
        transforms.push(apply);
        across = packed;
      }
    }
    const pixels = readPixels(bits, across, height, true);
    return transforms.reduceRight((made, transform) => transform(made), pixels);
  } catch (error) {
    if (error instanceof Damage) return null;
    throw error;
  }
}
