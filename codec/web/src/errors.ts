/** Names of errors, which are those of the classes of `codec/errors.py`. */
export type ErrorKind =
  /** Not a vqcodec file. */
  | "FileFormatError"
  /** Truncated, altered, or contradicts itself. */
  | "DamagedFileError"
  /** Written by a newer version of the format. */
  | "UnsupportedFileError"
  /** A picture with more pixels, or in need of more memory, than the caller grants. */
  | "LimitError"
  /** An argument that does not fit the picture. */
  | "InputError"
  /** Weights that cannot be read or fail their checks. */
  | "WeightsError"
  /** No weights with the id that the file names. */
  | "ModelNotFoundError";

/** The error of everything that this module refuses; its message is one line. */
export class CodecError extends Error {
  override readonly name = "CodecError";

  constructor(
    readonly kind: ErrorKind,
    message: string,
  ) {
    super(message);
  }
}

/** The error of a file that cannot be right. */
export function damaged(message: string): CodecError {
  return new CodecError("DamagedFileError", `damaged: ${message}`);
}
