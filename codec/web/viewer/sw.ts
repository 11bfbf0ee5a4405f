/** Keeps the viewer for times without a network; models are kept by the reader itself. */

declare const VERSION: string;
/** Files of the build, relative to this one. */
declare const FILES: string[];

interface ExtendableEvent extends Event {
  waitUntil(promise: Promise<unknown>): void;
}

interface FetchEvent extends ExtendableEvent {
  request: Request;
  respondWith(response: Promise<Response>): void;
}

// The types of pages have none of service workers.
const worker = globalThis as unknown as EventTarget & {
  registration: { scope: string };
  clients: { claim(): Promise<void> };
};

/** The list of models. */
const MODELS = "models/INDEX.json";
const PREFIX = `vqcodec-viewer ${worker.registration.scope} `;
const NAME = PREFIX + VERSION;

function on<T extends Event>(type: string, act: (event: T) => void): void {
  worker.addEventListener(type, act as (event: Event) => void);
}

on<ExtendableEvent>("install", (event) => {
  const fill = async () => {
    const cache = await caches.open(NAME);
    await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
  };
  event.waitUntil(fill());
});

on<ExtendableEvent>("activate", (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(PREFIX) && name !== NAME) await caches.delete(name);
    }
    await worker.clients.claim();
  };
  event.waitUntil(clean());
});

on<FetchEvent>("fetch", (event) => {
  const { request } = event;
  const { scope } = worker.registration;
  const [url] = request.url.split(/[?#]/);
  const name = url!.slice(scope.length);
  if (request.method !== "GET" || !url!.startsWith(scope) || !FILES.includes(name)) return;
  event.respondWith(name === MODELS ? newest(name) : kept(name));
});

/** A file of this version, which stays as it is. */
async function kept(name: string): Promise<Response> {
  const cache = await caches.open(NAME);
  return (await cache.match(name)) ?? fetch(name);
}

/** A file that may change while the version stays; as it was, where there is no network. */
async function newest(name: string): Promise<Response> {
  const cache = await caches.open(NAME);
  try {
    const response = await fetch(name, { cache: "no-cache" });
    if (response.ok) await cache.put(name, response.clone());
    return response;
  } catch (error) {
    const before = await cache.match(name);
    if (!before) throw error;
    return before;
  }
}
