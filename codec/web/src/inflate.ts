/** zlib streams by `DecompressionStream`. */

/** Bytes that are inflated at once: a thousand times as many may come out of them. */
const PIECE = 1 << 12;

/**
 * Content of a zlib stream.
 *
 * @param most bytes of the content; no more than that and one piece are ever made.
 * @returns null if it is no zlib stream, more follows it, or its content is longer.
 */
export async function inflate(
  data: Uint8Array<ArrayBuffer>,
  most: number,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const { readable, writable } = new DecompressionStream("deflate");
  const writer = writable.getWriter();
  const written = (async () => {
    for (let at = 0; at < data.length; at += PIECE) {
      await writer.ready;
      await writer.write(data.subarray(at, at + PIECE));
    }
    await writer.close();
  })();
  written.catch(() => undefined); // the reader below sees the same error
  const reader = readable.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      length += value.length;
      if (length > most) {
        await reader.cancel();
        return null;
      }
    }
  } catch {
    return null;
  }
  const content = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    content.set(part, at);
    at += part.length;
  }
  // Some engines ignore bytes behind a stream, whose last four are the checksum of its content.
  return data.length > 4 && bigEndian(data.subarray(-4)) === adler32(content) ? content : null;
}

function bigEndian(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(at + 2000, bytes.length); // sums stay below 2^30
    for (; at < end; at++) {
      a += bytes[at]!;
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}
