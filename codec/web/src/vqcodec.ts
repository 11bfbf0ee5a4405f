/** Reader of .vqc files. */

import type { DecodeOptions, Info, Picture } from "./api.ts";
import { CodecError } from "./errors.ts";

export type { DecodeOptions, Info, Metadata, Picture, Region } from "./api.ts";
export { CodecError, type ErrorKind } from "./errors.ts";

/**
 * Decode a picture, in a Web Worker where there are any.
 *
 * @throws CodecError
 */
export async function decode(
  _bytes: ArrayBuffer | Uint8Array | Blob,
  _options: DecodeOptions = {},
): Promise<Picture> {
  throw new CodecError("FileFormatError", "not a vqcodec file");
}

/**
 * What a file says of itself: header and directory, without decoding it.
 *
 * @throws CodecError
 */
export function info(_bytes: ArrayBuffer | Uint8Array): Info {
  throw new CodecError("FileFormatError", "not a vqcodec file");
}
