// Adds the viewer, the element and the page of a folder to dist/, beside the module.

import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { build } from "esbuild";

const PAGES = ["viewer.html", "gallery.html", "icon.svg"];
/** What of dist/ the viewer does without, or keeps in another way. */
const LEFT_OUT = /^(sw\.js|gallery\..*|vqcodec-img\.js|models|types|.*\.map)$/;

/** All import the one module: so all pictures of a page share its workers. */
const sharedModule = {
  name: "shared module",
  setup({ onResolve }) {
    onResolve({ filter: /\/src\/vqcodec\.ts$/ }, () => ({ path: "./vqcodec.js", external: true }));
  },
};

const options = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  outdir: "dist",
  legalComments: "none",
  plugins: [sharedModule],
};

/** Build in a folder whose dist/ has the module and its worker. */
export async function buildPages() {
  const entries = ["viewer/viewer.ts", "viewer/gallery.ts", "element/vqcodec-img.ts"];
  const styles = ["viewer/viewer.css", "viewer/gallery.css"];
  await build({ ...options, entryPoints: entries.map(named) });
  await build({ ...options, entryPoints: styles.map(named) });
  for (const page of PAGES) cpSync(`viewer/${page}`, `dist/${page}`);
  const files = readdirSync("dist").filter((name) => !LEFT_OUT.test(name));
  const hash = createHash("sha256");
  for (const name of files) hash.update(readFileSync(`dist/${name}`));
  const define = {
    FILES: JSON.stringify([...files, "models/INDEX.json"]),
    VERSION: JSON.stringify(hash.digest("hex").slice(0, 16)),
  };
  await build({ ...options, entryPoints: [named("viewer/sw.ts")], define });
}

/** An entry point whose output lies in dist/ itself. */
function named(path) {
  return { in: path, out: path.replace(/^.*\/|\.\w+$/g, "") };
}
