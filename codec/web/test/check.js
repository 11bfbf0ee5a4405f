/**
 * Comparison with what another reader found, in Node and in browsers alike.
 *
 * A case is a file and either the picture that it shows or the error that it is; `bits` and `cuts`
 * have the errors of all files that differ in one bit, and of all shorter ones.
 *
 * @typedef {{ name: string, file: string, region?: number[], error?: string, rgba?: string,
 *   width?: number, height?: number, symbols?: number[],
 *   bits?: string[], cuts?: string[], lengths?: number[], errors?: string[] }} Case
 */

/** Kind of the error that a file is; "" of a picture. */
async function errorOf(decode, bytes, options) {
  try {
    await decode(bytes, options);
    return "";
  } catch (error) {
    return error.kind ?? String(error);
  }
}

/** What is wrong with the errors of damaged files. */
async function damage(decode, wanted, made, options) {
  const wrong = [];
  for (const [i, kind] of wanted.entries()) {
    const found = await errorOf(decode, made(i), options);
    if (found !== kind) wrong.push(`${i}: ${found || "a picture"}, not ${kind || "a picture"}`);
  }
  return wrong.slice(0, 5).join("; ");
}

function flipped(bytes, bit) {
  const copy = bytes.slice();
  copy[bit >> 3] ^= 1 << (bit & 7);
  return copy;
}

/** Largest difference and number of differing samples. */
function compare(data, expected) {
  let most = 0;
  let differing = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(data[i] - expected[i]);
    if (difference) differing++;
    if (difference > most) most = difference;
  }
  return { most, differing, samples: expected.length };
}

/**
 * Check one case.
 *
 * @param decode the module's.
 * @param {Case} one
 * @param {(name: string) => Promise<Uint8Array>} read
 * @param options of `decode`.
 * @returns {Promise<{ name: string, wrong: string, most?: number, differing?: number,
 *   samples?: number, milliseconds: number }>} with what is wrong, "" if nothing is.
 */
export async function check(decode, one, read, options = {}) {
  const bytes = await read(one.file);
  const result = { name: one.name, wrong: "", milliseconds: 0 };
  if (one.error !== undefined) {
    const found = await errorOf(decode, bytes, options);
    if (found !== one.error) result.wrong = `${found || "a picture"} instead of ${one.error}`;
    return result;
  }
  if (one.bits) {
    result.wrong = await damage(decode, one.bits, (bit) => flipped(bytes, bit), options);
    result.wrong += await damage(decode, one.cuts, (at) => bytes.slice(0, at), options);
    return result;
  }
  if (one.errors) {
    let end = 0;
    const parts = one.lengths.map((length) => bytes.subarray(end, (end += length)));
    result.wrong = await damage(decode, one.errors, (i) => parts[i].slice(), options);
    return result;
  }
  const start = performance.now();
  let picture;
  try {
    picture = await decode(bytes, { ...options, region: one.region });
  } catch (error) {
    result.wrong = String(error);
    return result;
  }
  result.milliseconds = Math.round(performance.now() - start);
  const { width, height, data, symbolChecksums } = picture;
  if (width !== one.width || height !== one.height) result.wrong = `size ${width}x${height}`;
  else if (symbolChecksums.join() !== one.symbols.join()) result.wrong = "other symbols";
  else {
    Object.assign(result, compare(data, await read(one.rgba)));
    if (result.most > 1) result.wrong = `samples differ by ${result.most}`;
  }
  return result;
}
