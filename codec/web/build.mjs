// Builds dist/: the module, its worker and its types. Models come from `codec.web.reader_weights`.

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import { build } from "esbuild";
import { buildPages } from "./viewer/build.mjs";

const root = dirname(fileURLToPath(import.meta.url));
process.chdir(root);
mkdirSync("build", { recursive: true });

/** Compile the kernels, with fused multiplication or without it. */
async function kernels(name, ...features) {
  const enable = ["simd", ...features].flatMap((feature) => ["--enable", feature]);
  const { error, stderr } = await asc.main([
    "kernels/kernels.ts",
    ...["--outFile", `build/${name}.wasm`],
    ...["--runtime", "stub"],
    ...["--disableWarning", "201"], // usize and i32 are the same here
    ...enable,
    "-O3",
    "--noAssert",
  ]);
  if (error) throw new Error(stderr.toString());
}

await kernels("kernels");
await kernels("kernels-relaxed", "relaxed-simd");
rmSync("dist/types", { recursive: true, force: true });
await build({
  entryPoints: ["src/vqcodec.ts", "src/worker.ts"],
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: true,
  loader: { ".wasm": "binary" },
  external: ["node:*"],
  legalComments: "eof",
});
await buildPages();
execFileSync(join("node_modules", ".bin", "tsc"), ["--project", "tsconfig.types.json"], {
  stdio: "inherit",
});
