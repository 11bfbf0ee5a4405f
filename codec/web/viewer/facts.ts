/** What a file holds, for people. */

import { profileFits } from "../element/png.ts";
import type { Info, Metadata } from "../src/api.ts";
import { profileName } from "./profile.ts";

/** What is known of a model by its id. */
export type Models = Record<string, { name: string; anchors: number }>;

/** Rate levels between two anchors of a model. */
const LEVELS = 4096;

const number = new Intl.NumberFormat("en");

/** A count with its noun. */
export function counted(count: number, noun: string): string {
  return `${number.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** A number of bytes in few digits. */
export function size(bytes: number): string {
  if (bytes < 1000) return counted(bytes, "byte");
  return bytes < 1e6 ? `${(bytes / 1e3).toPrecision(3)} kB` : `${(bytes / 1e6).toPrecision(3)} MB`;
}

const percent = (share: number) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

/**
 * Terms and descriptions of a file.
 *
 * @param metadata once it is decoded.
 * @param seconds that decoding took, once it is done.
 */
export function facts(
  info: Info,
  models: Models,
  metadata: Metadata | null,
  seconds: number | null,
): HTMLElement[] {
  const pixels = info.width * info.height;
  const kind = (info.grey ? "Grey" : "Colour") + (info.alpha ? " with transparency" : "");
  const rows = [
    row("Picture", `${number.format(info.width)} × ${number.format(info.height)}`, [
      `${(pixels / 1e6).toPrecision(3)} megapixels, ${kind.toLowerCase()}`,
    ]),
    bytesOf(info),
  ];
  if (info.patches) {
    const kept = info.lossless
      ? "All pixels"
      : `${percent(info.patchPixels / pixels)} of the pixels, in ${counted(info.patches, "rectangle")}`;
    rows.push(row("Kept without loss", kept));
  }
  const known = models[info.modelId];
  const model = known ? `${known.name} (${info.modelId})` : info.modelId;
  if (known && known.anchors > 1 && !info.lossless) {
    const quality = (100 * info.level) / LEVELS / (known.anchors - 1);
    rows.push(
      row(
        "Quality",
        quality.toFixed(quality % 1 < 0.05 ? 0 : 1),
        info.mapBytes ? ["As the map says, more or less from place to place"] : [],
      ),
    );
  }
  const rounding = info.rounding === "vq" ? "to centres (vector quantised)" : "to integers";
  if (!info.lossless) rows.push(row("Model", model, [`Latents rounded ${rounding}`]));
  if (info.levels) rows.push(row("Residual levels", String(info.levels)));
  rows.push(row("Colours", ...colours(info, metadata)));
  const { exif, xmp } = info.metadataBytes;
  const kept = [exif && `EXIF ${size(exif)}`, xmp && `XMP ${size(xmp)}`].filter(Boolean);
  if (kept.length) rows.push(row("Metadata", kept.join(", "), ["Saved with the PNG"]));
  const tiles = info.tiles > 1 ? `, ${counted(info.tiles, "tile")} of ${info.tileSize} pixels` : "";
  rows.push(row("Format", `Version ${info.version}${tiles}`));
  if (seconds !== null) rows.push(row("Decoded in", `${seconds.toFixed(2)} s`));
  return rows;
}

function colours(info: Info, metadata: Metadata | null): [string, string[]] {
  if (!info.metadataBytes.icc) return [info.grey ? "Grey, sRGB’s curve" : "sRGB", []];
  if (!metadata?.icc) return ["ICC profile", []];
  const name = profileName(metadata.icc) || "ICC profile";
  return profileFits(metadata.icc, info.grey)
    ? [name, ["The browser converts it to your screen’s colours"]]
    : [name, ["Not applied: it is not of this kind of picture"]];
}

/** Bytes by what they are for, as a bar and a list. */
function bytesOf(info: Info): HTMLElement {
  const { icc = 0, exif = 0, xmp = 0 } = info.metadataBytes;
  const parts = [
    ["coded", "Picture", info.codedBytes],
    ["patch", "Without loss", info.patchBytes],
    ["alpha", "Transparency", info.alphaBytes],
    ["filter", "Filter", info.filterBytes],
    ["map", "Map of quality", info.mapBytes],
    ["metadata", "Metadata", icc + exif + xmp],
    ["container", "Container", info.containerBytes],
  ] as const;
  const held = parts.filter(([, , bytes]) => bytes);
  const bar = element("div", "parts");
  bar.setAttribute("aria-hidden", "true");
  const list = element("ul", "legend");
  for (const [kind, name, bytes] of held) {
    const part = element("i", kind);
    part.style.flexGrow = String(bytes);
    bar.append(part);
    const item = element("li", kind);
    item.append(element("span", "", name), element("span", "", number.format(bytes)));
    list.append(item);
  }
  const title = `${counted(info.bytes, "byte")}`;
  const result = row("File", title, [`${info.bpp.toFixed(3)} bits per pixel`]);
  const detail = document.createElement("dd");
  detail.append(bar, list);
  result.append(detail);
  return result;
}

function row(term: string, description: string, details: string[] = []): HTMLElement {
  const group = element("div");
  group.append(element("dt", "", term), element("dd", "", description));
  group.append(...details.map((text) => element("dd", "", text)));
  return group;
}

function element(tag: string, kind = "", text = ""): HTMLElement {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}
