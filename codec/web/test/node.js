// node test/node.js FOLDER [script]: check the cases of a folder, and print the results as JSON;
// with "script" without WebAssembly.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { decode } from "../dist/vqcodec.js";
import { check } from "./check.js";

const [folder, kernels] = process.argv.slice(2);
if (kernels === "script") globalThis.WebAssembly = undefined;
const read = async (name) => new Uint8Array(await readFile(join(folder, name)));
const results = [];
for (const one of JSON.parse(await readFile(join(folder, "cases.json"), "utf8"))) {
  results.push(await check(decode, one, read));
}
console.log(JSON.stringify(results));
