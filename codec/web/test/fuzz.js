// node test/fuzz.js SECONDS FOLDER...: damage the .vqc files of folders, mostly with checksums put
// right, and read them. Whatever is thrown but a CodecError is a fault, and so is a long wait.

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CodecError, decode } from "../dist/vqcodec.js";

const PATIENCE = 20_000;
const DIRECTORY = 4;
const ALPHA = 8;
const RESTORATION = 16;
const PATCHES = 32;
const MAP = 64;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let c = byte;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes) {
  let c = -1;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return ~c;
}

/** Put all checksums right, as far as the directory makes sense. */
function seal(bytes) {
  const view = new DataView(bytes.buffer);
  const flags = bytes[7];
  let at = 18;
  if (flags & RESTORATION) at += 1 + bytes[at];
  if (flags & MAP) at += 4 + view.getUint32(at, true);
  if (!(flags & DIRECTORY)) {
    view.setInt32(bytes.length - 4, crc32(bytes.subarray(0, -4)), true);
    return;
  }
  const chunks = bytes[at + 2];
  at += 3;
  const patches = flags & PATCHES ? view.getUint16(at, true) : 0;
  if (flags & PATCHES) at += 2;
  const entries = [];
  for (let i = 0; i < chunks; i++, at += 12) entries.push([view.getUint32(at + 4, true), at + 8]);
  for (let i = 0; i < patches; i++, at += 16) entries.push([view.getUint32(at + 8, true), at + 12]);
  const known = entries.reduce((sum, [length]) => sum + length, 0);
  const size = flags & ALPHA ? 16 : 12;
  // As many tiles as make up for the length of the file.
  for (let left = bytes.length - known - at - 4; left >= size; at += size) {
    const length = view.getUint32(at, true) + (flags & ALPHA ? view.getUint32(at + 4, true) : 0);
    entries.push([length, at + size - 4]);
    left -= size + length;
  }
  let offset = at + 4;
  for (const [length, place] of entries) {
    view.setInt32(place, crc32(bytes.subarray(offset, offset + length)), true);
    offset += length;
  }
  view.setInt32(at, crc32(bytes.subarray(0, at)), true);
}

const random = (below) => Math.floor(Math.random() * below);

function damaged(bytes, others) {
  let copy = bytes.slice();
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const at = random(copy.length);
    const kind = random(6);
    if (kind === 0) copy[at] ^= 1 << random(8);
    else if (kind === 1) copy[at] = random(256);
    else if (kind === 2) copy[18 + random(Math.min(40, copy.length - 18))] = random(256);
    else if (kind === 3) copy.fill(random(2) * 255, at, at + random(8));
    else if (kind === 4) copy = copy.slice(0, 26 + random(copy.length - 25));
    else {
      const other = others[random(others.length)];
      const from = random(other.length);
      copy.set(other.subarray(from, from + Math.min(random(60), copy.length - at)), at);
    }
  }
  return copy;
}

const [seconds, ...folders] = process.argv.slice(2);
const files = [];
for (const folder of folders) {
  for (const name of await readdir(folder)) {
    if (name.endsWith(".vqc")) files.push(new Uint8Array(await readFile(join(folder, name))));
  }
}
const small = files.filter((file) => file.length < 5000);
const counts = {};
const end = Date.now() + 1000 * Number(seconds);
while (Date.now() < end) {
  const bytes = damaged(small[random(small.length)], small);
  try {
    if (random(8)) seal(bytes);
  } catch {
    // a directory that makes no sense
  }
  const start = process.cpuUsage();
  let outcome = "picture";
  try {
    await decode(bytes, { maxPixels: 2 ** 17 });
  } catch (error) {
    outcome = error instanceof CodecError ? error.kind : "fault";
    if (outcome === "fault" || error.message.startsWith("there is not enough memory")) {
      outcome = "fault";
      console.error(error);
    }
  }
  if (process.cpuUsage(start).user > 1000 * PATIENCE) outcome = "fault";
  counts[outcome] = (counts[outcome] ?? 0) + 1;
  if (outcome === "fault") {
    await writeFile("fault.vqc", bytes);
    console.error("the file is in fault.vqc");
    process.exitCode = 1;
    break;
  }
}
console.log(counts, `${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`);
