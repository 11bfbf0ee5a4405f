/** What a page may rely on besides samples. */

/** Reason for which a promise is rejected; undefined if it is not. */
async function rejection(promise) {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error;
  }
}

/**
 * Try what pages do.
 *
 * @param module what `vqcodec.js` exports.
 * @param bytes a file whose model is there.
 * @returns {Promise<string>} what is wrong, "" if nothing is.
 */
export async function behaviour({ CodecError, decode, info }, bytes) {
  const wrong = [];
  const expect = (what, holds) => holds || wrong.push(what);

  const alone = await decode(bytes);
  const together = await Promise.all(Array.from({ length: 5 }, () => decode(new Blob([bytes]))));
  const same = (picture) => picture.data.every((sample, i) => sample === alone.data[i]);
  expect("several pictures at once", together.every(same));
  const facts = info(bytes);
  expect("info", facts.width === alone.width && facts.bytes === bytes.length);

  const seen = [];
  await decode(bytes, { onprogress: (done, total) => seen.push([done, total]) });
  const pixels = alone.width * alone.height;
  expect("progress", seen.at(-1)?.join() === [pixels, pixels].join());
  expect(
    "progress rises",
    seen.every(([done], i) => !i || done >= seen[i - 1][0]),
  );

  const before = AbortSignal.abort(new Error("before"));
  expect(
    "abort before",
    (await rejection(decode(bytes, { signal: before })))?.message === "before",
  );
  const later = new AbortController();
  const ended = rejection(decode(bytes, { signal: later.signal }));
  later.abort(new Error("later"));
  expect("abort later", (await ended)?.message === "later");

  const error = await rejection(decode(bytes, { maxPixels: 0 }));
  expect("limit", error instanceof CodecError && error.kind === "LimitError");
  const elsewhere = await rejection(decode(bytes, { base: new URL("/nowhere/", location) }));
  expect("base", elsewhere instanceof Error);
  expect("a picture after all that", same(await decode(bytes)));
  return wrong.join("; ");
}
