/**
 * .vqc pictures in any page:
 *
 *     <script type="module" src="vqcodec-img.js"></script>
 *     <img src="photo.vqc" width="768" height="512" alt="A meadow">
 *     <vqc-img src="photo.vqc" width="768" height="512" alt="A meadow"></vqc-img>
 *
 * An <img data-vqc="photo.vqc"> keeps the browser from fetching what it cannot show. Pictures are
 * loaded shortly before they come into view, unless they have loading="eager". `load` and `error`
 * are fired as by any <img>. The page's policy, if it has one, must allow blob: as img-src, and
 * 'wasm-unsafe-eval' as script-src.
 */

import { decode, info } from "../src/vqcodec.ts";
import { toPng } from "./png.ts";

/** How far outside of the view pictures are loaded. */
const MARGIN = "50% 0px";
const SUFFIX = /\.vqc$/i;

/** What is shown instead of a .vqc file. */
interface Shown {
  /** Address of the .vqc file. */
  source: string;
  /** What a page wants to be shown where that cannot be. */
  fallback: string | undefined;
  loading: AbortController;
  /** Blob that the element shows: empty room for the picture, then the picture. */
  url?: string;
  done: boolean;
}

const shown = new WeakMap<HTMLImageElement, Shown>();

const visible = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      visible.unobserve(target);
      const image = target as HTMLImageElement;
      const state = shown.get(image);
      if (state) void load(image, state);
    }
  },
  { rootMargin: MARGIN },
);

/** Show a .vqc file in an <img>, when it comes near to the view. */
function show(image: HTMLImageElement, source: string, fallback?: string): void {
  if (shown.get(image)?.source === source) return;
  release(image);
  const state: Shown = { source, fallback, loading: new AbortController(), done: false };
  shown.set(image, state);
  reserve(image, state, numberOf(image, "width") || 3, numberOf(image, "height") || 2);
  if (image.loading === "eager" && image.hasAttribute("loading")) void load(image, state);
  else visible.observe(image);
}

/** Forget a picture and its memory. */
function release(image: HTMLImageElement): void {
  const state = shown.get(image);
  if (!state) return;
  shown.delete(image);
  visible.unobserve(image);
  state.loading.abort();
  if (state.url) URL.revokeObjectURL(state.url);
}

async function load(image: HTMLImageElement, state: Shown): Promise<void> {
  const { signal } = state.loading;
  try {
    const response = await fetch(state.source, { signal });
    if (!response.ok) throw new Error(`the server says ${response.status}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const { width, height } = info(bytes);
    reserve(image, state, width, height);
    const png = await toPng(await decode(bytes, { signal }), { signal });
    signal.throwIfAborted();
    replace(image, state, URL.createObjectURL(png), true);
  } catch (error) {
    if (signal.aborted) return;
    console.warn(`${state.source}: ${error instanceof Error ? error.message : error}`);
    state.done = true;
    if (state.url) URL.revokeObjectURL(state.url);
    delete state.url;
    if (state.fallback) image.src = state.fallback;
    else {
      image.removeAttribute("src"); // which leaves its text
      image.dispatchEvent(new Event("error"));
    }
  }
}

/** Room for a picture of this size, so that nothing moves when it comes. */
function reserve(image: HTMLImageElement, state: Shown, width: number, height: number): void {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"/>`;
  replace(image, state, URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" })), false);
}

function replace(image: HTMLImageElement, state: Shown, url: string, done: boolean): void {
  const before = state.url;
  state.url = url;
  state.done = done;
  image.src = url;
  if (before) URL.revokeObjectURL(before);
}

/** Keep from the page what an <img> says of a file that it cannot show, and of empty room. */
function hush(event: Event): void {
  const image = event.target;
  if (!(image instanceof HTMLImageElement)) return;
  const state = shown.get(image);
  const own = state ? !state.done : event.type === "error" && sourceOf(image) !== undefined;
  if (own && event.isTrusted) event.stopImmediatePropagation();
}

/** The .vqc file that an <img> names, as it is written there; undefined if it names none. */
function sourceOf(image: HTMLImageElement): string | undefined {
  const source = image.getAttribute("src");
  const url = source && URL.canParse(source, image.baseURI) && new URL(source, image.baseURI);
  return url && url.protocol !== "blob:" && SUFFIX.test(url.pathname)
    ? source
    : image.dataset.vqc || undefined;
}

function adopt(image: HTMLImageElement): void {
  const source = sourceOf(image);
  if (!source || !URL.canParse(source, image.baseURI)) return;
  if (image.dataset.vqc !== source) image.dataset.vqc = source; // it is observed
  const before = image.getAttribute("src");
  const fallback = before && before !== source && !before.startsWith("blob:") ? before : undefined;
  show(image, new URL(source, image.baseURI).href, fallback);
}

/** A length in pixels that an attribute has; 0 if it has none. */
function numberOf(element: Element, name: string): number {
  return Math.max(0, Number.parseInt(element.getAttribute(name) ?? "", 10) || 0);
}

function imagesIn(node: Node): HTMLImageElement[] {
  if (node instanceof HTMLImageElement) return [node];
  return node instanceof Element ? [...node.querySelectorAll("img")] : [];
}

/** <vqc-img src alt width height loading>: an <img> of its own, sized as an <img> is. */
class VqcImage extends HTMLElement {
  static readonly observedAttributes = ["src", "alt", "width", "height", "loading"];
  private readonly image = document.createElement("img");
  private readonly sheet = new CSSStyleSheet();

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [this.sheet];
    this.image.setAttribute("part", "image");
    root.append(this.image);
    root.addEventListener("load", hush, true);
    root.addEventListener("error", hush, true);
    for (const type of ["load", "error"]) {
      this.image.addEventListener(type, () => this.dispatchEvent(new Event(type)));
    }
    this.layOut();
  }

  connectedCallback(): void {
    this.update();
  }

  disconnectedCallback(): void {
    queueMicrotask(() => {
      if (!this.isConnected) release(this.image); // moved elements keep their pictures
    });
  }

  attributeChangedCallback(name: string, before: string | null, value: string | null): void {
    if (before === value) return;
    if (name === "src") {
      if (this.isConnected) this.update();
      return;
    }
    if (value === null) this.image.removeAttribute(name);
    else this.image.setAttribute(name, value);
    this.layOut();
  }

  private update(): void {
    const source = this.getAttribute("src");
    if (source && URL.canParse(source, this.baseURI)) {
      show(this.image, new URL(source, this.baseURI).href);
    } else {
      release(this.image);
      this.image.removeAttribute("src");
    }
  }

  /** Width and height as the hints that they are: styles of the page go before them. */
  private layOut(): void {
    const width = numberOf(this, "width");
    const height = numberOf(this, "height");
    const size = [
      width && `width: ${width}px`,
      width && height ? `aspect-ratio: ${width} / ${height}` : height && `height: ${height}px`,
    ];
    this.sheet.replaceSync(
      `:host { display: inline-block; ${size.filter(Boolean).join("; ")} }` +
        ":host([hidden]) { display: none }" +
        "img { display: block; width: 100%; height: 100%; object-fit: inherit; border-radius: inherit }",
    );
  }

  get src(): string {
    const source = this.getAttribute("src");
    return source ? new URL(source, this.baseURI).href : "";
  }

  set src(value: string) {
    this.setAttribute("src", value);
  }

  get alt(): string {
    return this.getAttribute("alt") ?? "";
  }

  set alt(value: string) {
    this.setAttribute("alt", value);
  }

  /** Whether the picture is shown, or cannot be. */
  get complete(): boolean {
    return shown.get(this.image)?.done ?? true;
  }

  get naturalWidth(): number {
    return this.image.naturalWidth;
  }

  get naturalHeight(): number {
    return this.image.naturalHeight;
  }
}

document.addEventListener("load", hush, true);
window.addEventListener("error", hush, true); // which loads do not reach
new MutationObserver((changes) => {
  for (const { type, target, addedNodes, removedNodes } of changes) {
    if (type === "attributes" && target instanceof HTMLImageElement) adopt(target);
    for (const node of addedNodes) imagesIn(node).forEach(adopt);
    for (const node of removedNodes) {
      for (const image of imagesIn(node)) if (!image.isConnected) release(image);
    }
  }
}).observe(document, {
  subtree: true,
  childList: true,
  attributes: true,
  attributeFilter: ["src", "data-vqc"],
});
imagesIn(document.documentElement).forEach(adopt);
customElements.define("vqc-img", VqcImage);
