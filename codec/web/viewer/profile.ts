/** Names of ICC profiles. */

/** The description that a profile has of itself; an empty string if it has none. */
export function profileName(icc: Uint8Array<ArrayBuffer>): string {
  try {
    return description(new DataView(icc.buffer, icc.byteOffset, icc.byteLength));
  } catch (error) {
    if (error instanceof RangeError) return ""; // an offset beyond the end
    throw error;
  }
}

const tagAt = (view: DataView, at: number) =>
  String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));

function description(view: DataView): string {
  const count = Math.min(view.getUint32(128), 100);
  for (let entry = 132; entry < 132 + 12 * count; entry += 12) {
    if (tagAt(view, entry) !== "desc") continue;
    const at = view.getUint32(entry + 4);
    const bytes = (from: number, length: number) =>
      new Uint8Array(view.buffer, view.byteOffset + from, length);
    if (tagAt(view, at) === "desc") {
      const text = bytes(at + 12, view.getUint32(at + 8));
      return new TextDecoder("latin1").decode(text).replace(/\0.*$/s, "");
    }
    if (tagAt(view, at) === "mluc") {
      const length = view.getUint32(at + 20);
      return new TextDecoder("utf-16be").decode(bytes(at + view.getUint32(at + 24), length));
    }
  }
  return "";
}
