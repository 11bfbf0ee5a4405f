/** Pictures that the viewer steps through: files of the user, or addresses. */

/** What to show: a .vqc file and, where there is one, the picture that it was made of. */
export interface Entry {
  name: string;
  load: Load;
  original?: { name: string; load: Load };
}

export type Load = (signal: AbortSignal) => Promise<Blob>;

const SUFFIX = ".vqc";

/** A name without its folder and suffix. */
export function stem(name: string): string {
  return name.replace(/^.*\//, "").replace(/\.[^.]*$/, "");
}

/** Files of the user; other pictures are the originals of .vqc files of the same name. */
export function entriesOf(files: Iterable<File>): { entries: Entry[]; others: File[] } {
  const isOurs = (file: File) => file.name.toLowerCase().endsWith(SUFFIX);
  const sorted = [...files].sort((a, b) =>
    a.name.localeCompare(b.name, undefined, { numeric: true }),
  );
  const others = new Set(sorted.filter((file) => !isOurs(file)));
  const ours = sorted.filter(isOurs);
  const entries = ours.map((file): Entry => {
    const entry: Entry = { name: file.name, load: () => Promise.resolve(file) };
    const original = [...others].find(
      ({ name }) => stem(name) === stem(file.name) || name === stem(file.name),
    );
    if (original) {
      others.delete(original);
      entry.original = originalOf(original);
    }
    return entry;
  });
  // One of each belong together, whatever they are called.
  if (entries.length === 1 && others.size === 1 && !entries[0]!.original) {
    const [original] = others;
    entries[0]!.original = originalOf(original!);
    others.clear();
  }
  return { entries, others: [...others] };
}

/** A file as an original. */
export function originalOf(file: File): { name: string; load: Load } {
  return { name: file.name, load: () => Promise.resolve(file) };
}

/** Pictures that the page's address names: `?src=`, `?original=`, or a list of them, `?list=`. */
export async function linked(page: URL): Promise<{ entries: Entry[]; stop: URL | null }> {
  const list = page.searchParams.get("list");
  if (list) {
    const url = new URL(list, page);
    const { pictures, stop } = await listAt(url);
    const entries = pictures.map(({ src, original, name }) =>
      linkedEntry(url, src, original, name),
    );
    return { entries, stop: stop && url.origin === page.origin ? new URL("stop", url) : null };
  }
  const [original] = page.searchParams.getAll("original");
  const sources = page.searchParams.getAll("src");
  return {
    entries: sources.map((src, i) => linkedEntry(page, src, i ? undefined : original)),
    stop: null,
  };
}

interface List {
  pictures: { src: string; name?: string; original?: string }[];
  /** Whether what serves the list ends when "stop" beside it is posted to. */
  stop?: boolean;
}

async function listAt(url: URL): Promise<List> {
  const text = await (await download(url)).text();
  try {
    const list = JSON.parse(text);
    if (list.pictures.every((entry: { src: unknown }) => typeof entry.src === "string"))
      return list;
  } catch {
    // The same error as that of another JSON file.
  }
  throw new Error("cannot be listed: the file is no list of pictures");
}

function linkedEntry(base: URL, src: string, original?: string, name?: string): Entry {
  const resource = (address: string, called?: string) => {
    const url = new URL(address, base);
    const last = decodeURIComponent(url.pathname.replace(/^.*\//, ""));
    const load: Load = async (signal) => (await download(url, signal)).blob();
    return { name: called ?? (last || url.host), load };
  };
  const entry: Entry = resource(src, name);
  if (original) entry.original = resource(original);
  return entry;
}

/** The answer to a request; an error in words if there is none. */
async function download(url: URL, signal?: AbortSignal): Promise<Response> {
  if (!["http:", "https:", "blob:"].includes(url.protocol)) {
    throw new Error("cannot be fetched: it is no web address");
  }
  let response: Response;
  try {
    response = await fetch(url, { signal: signal ?? null });
  } catch (error) {
    signal?.throwIfAborted();
    const elsewhere = url.origin !== location.origin;
    const why = elsewhere
      ? "its server cannot be reached or does not allow this page to read it"
      : "its server cannot be reached";
    throw new Error(`cannot be fetched: ${why}`, { cause: error });
  }
  if (!response.ok) throw new Error(`cannot be fetched: the server says ${response.status}`);
  return response;
}
