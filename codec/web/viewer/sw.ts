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
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
};

const PREFIX = `vqcodec-viewer ${worker.registration.scope} `;
const NAME = PREFIX + VERSION;

function on<T extends Event>(type: string, act: (event: T) => void): void {
  worker.addEventListener(type, act as (event: Event) => void);
}

on<ExtendableEvent>("install", (event) => {
  const fill = async () => {
    const cache = await caches.open(NAME);
    await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
    await worker.skipWaiting();
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
  const answer = async () => {
    const kept = await caches.open(NAME);
    return (await kept.match(new URL(name, scope))) ?? fetch(request);
  };
  event.respondWith(answer());
});
