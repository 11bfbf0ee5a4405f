/** The viewer's page. */

import { toPng } from "../element/png.ts";
import type { Info, Metadata, Picture } from "../src/api.ts";
import { decode, info as infoOf } from "../src/vqcodec.ts";
import { facts, type Models, size } from "./facts.ts";
import { type Entry, entriesOf, linked, originalOf, stem } from "./pictures.ts";
import { Stage } from "./stage.ts";

/** Cache in which the reader keeps models. */
const MODELS = "vqcodec-models";
const TITLE = "vqcodec viewer";

/** A picture that is shown. */
interface Shown {
  entry: Entry;
  url: string;
  info: Info;
  picture: Picture;
  /** That decoding took. */
  seconds: number;
  /** Of the file. */
  bytes: number;
}

function get<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const button = (id: string, act: () => void) => get(id).addEventListener("click", act);

class Viewer {
  private entries: Entry[] = [];
  private at = 0;
  private shown: Shown | null = null;
  private originalUrl: string | null = null;
  private loading = new AbortController();
  private models: Models = {};
  private stopUrl: URL | null = null;
  private readonly stage = new Stage(
    get("stage"),
    get("divider"),
    (scale) => this.tellScale(scale),
    (by) => this.step(by),
  );

  constructor() {
    const chooser = get<HTMLInputElement>("chooser");
    const choose = () => chooser.click();
    button("open", choose);
    button("choose", choose);
    chooser.addEventListener("change", () => {
      this.open(chooser.files ?? []);
      chooser.value = ""; // so that the same file may be chosen again
    });
    button("dismiss", () => this.dismiss());
    button("save", () => void this.save());
    button("compare", () => void this.toggleOriginal());
    button("info", () => this.togglePanel());
    button("panel-close", () => this.togglePanel());
    const help = get<HTMLDialogElement>("help");
    button("keys", () => help.showModal());
    button("help-close", () => help.close());
    button("stop", () => void this.stop());
    button("previous", () => this.step(-1));
    button("next", () => this.step(1));
    button("zoom-in", () => this.stage.zoomIn());
    button("zoom-out", () => this.stage.zoomOut());
    button("fit", () => this.stage.fit());
    button("actual", () => this.stage.actual());
    document.addEventListener("keydown", (event) => this.key(event));
    this.acceptDrops();
    window.addEventListener("hashchange", () => {
      const number = Number.parseInt(location.hash.slice(1), 10) - 1;
      if (number !== this.at && this.entries[number]) void this.goTo(number);
    });
  }

  /** Show what the page's address names. */
  async start(): Promise<void> {
    void this.loadModels();
    try {
      const { entries, stop } = await linked(new URL(location.href));
      this.stopUrl = stop;
      get("stop").hidden = !stop;
      if (!stop) registerServiceWorker();
      if (!entries.length) return;
      this.entries = entries;
      const number = Number.parseInt(location.hash.slice(1), 10) || 1;
      await this.goTo(Math.min(Math.max(number, 1), entries.length) - 1);
    } catch (error) {
      this.fail(`The pictures ${message(error)}`);
    }
  }

  /** Show files of the user; a picture of another format becomes the original of what is shown. */
  private open(files: Iterable<File>): void {
    const { entries, others } = entriesOf(files);
    const [first, second] = others;
    if (entries.length) {
      this.entries = entries;
      if (location.search) history.replaceState(null, "", location.pathname);
      void this.goTo(0);
    } else if (first && !second && this.shown) {
      this.shown.entry.original = originalOf(first);
      void this.showOriginal();
    } else if (first) {
      this.fail(`${first.name}: not a .vqc file`);
    }
  }

  private step(by: number): void {
    const to = this.at + by;
    if (this.entries[to]) void this.goTo(to);
  }

  private async goTo(number: number): Promise<void> {
    this.loading.abort(new DOMException("another picture", "AbortError"));
    const { signal } = (this.loading = new AbortController());
    this.at = number;
    const entry = this.entries[number]!;
    this.dismiss();
    this.hideOriginal();
    this.tellEntry(entry);
    this.tellProgress("Loading…");
    get("status").textContent = `Loading ${entry.name}`;
    try {
      const shown = await this.decode(entry, signal);
      this.clear();
      this.shown = shown;
      this.show(shown);
      this.tellFacts(shown.info, shown.picture.metadata, shown.seconds);
      if (entry.original) await this.showOriginal();
    } catch (error) {
      if (signal.aborted) return;
      this.clear();
      this.fail(`${entry.name}: ${message(error)}`);
    } finally {
      if (!signal.aborted) this.tellProgress(null);
    }
  }

  private async decode(entry: Entry, signal: AbortSignal): Promise<Shown> {
    const file = await entry.load(signal);
    signal.throwIfAborted();
    const bytes = new Uint8Array(await file.arrayBuffer());
    const info = infoOf(bytes);
    this.tellFacts(info, null, null);
    this.tellProgress("Decoding…");
    const began = performance.now();
    const onprogress = (done: number, total: number) =>
      this.tellProgress(`Decoding ${Math.round((100 * done) / total)} %`, done / total);
    const picture = await decode(bytes, { signal, onprogress });
    const seconds = (performance.now() - began) / 1000;
    // A command serves the page at another address each time: nobody would use the cache again.
    if (this.stopUrl) void caches.delete(MODELS);
    const url = URL.createObjectURL(await toPng(picture, { signal }));
    return { entry, url, info, picture, seconds, bytes: file.size };
  }

  private show({ entry, url, info }: Shown): void {
    const { width, height } = info;
    for (const id of ["save", "compare", "info", "zoom"]) get(id).hidden = false;
    this.stage.show({ url, width, height, alt: stem(entry.name) }, info.alpha);
    get("status").textContent =
      `${entry.name}, ${width} by ${height} pixels${this.entries.length > 1 ? `, ${this.at + 1} of ${this.entries.length}` : ""}`;
  }

  private clear(): void {
    this.hideOriginal();
    this.stage.show(null);
    if (this.shown) URL.revokeObjectURL(this.shown.url);
    this.shown = null;
    get("facts").replaceChildren();
    for (const id of ["save", "compare", "zoom"]) get(id).hidden = true;
  }

  private async toggleOriginal(): Promise<void> {
    if (this.stage.comparing) this.hideOriginal();
    else if (this.shown?.entry.original) await this.showOriginal();
    else get("chooser").click();
  }

  private async showOriginal(): Promise<void> {
    const { shown } = this;
    const original = shown?.entry.original;
    if (!shown || !original) return;
    const { signal } = this.loading;
    try {
      const blob = await original.load(signal);
      const { width, height } = await sizeOf(blob);
      const { info } = shown;
      if (width !== info.width || height !== info.height) {
        throw new Error(
          `is ${width} × ${height} pixels, the picture is ${info.width} × ${info.height}`,
        );
      }
      if (signal.aborted) return;
      this.hideOriginal();
      this.originalUrl = URL.createObjectURL(blob);
      this.stage.compare({ url: this.originalUrl, alt: "Original" });
      get("decoded-label").textContent = `${shown.entry.name}, ${size(shown.bytes)}`;
      get("original-label").textContent = `Original, ${size(blob.size)}`;
      this.tellComparing(true);
      this.dismiss();
    } catch (error) {
      if (!signal.aborted) this.fail(`${original.name}: ${message(error)}`);
    }
  }

  private hideOriginal(): void {
    this.stage.compare(null);
    if (this.originalUrl) URL.revokeObjectURL(this.originalUrl);
    this.originalUrl = null;
    this.tellComparing(false);
  }

  private tellComparing(on: boolean): void {
    get("compare").setAttribute("aria-pressed", String(on));
    for (const id of ["decoded-label", "original-label"]) get(id).hidden = !on;
  }

  private async save(): Promise<void> {
    const { shown } = this;
    if (!shown) return;
    this.tellProgress("Saving…");
    try {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await toPng(shown.picture, { compressed: true }));
      link.download = `${stem(shown.entry.name)}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // once it is surely written
      get("status").textContent = `${link.download} is saved`;
    } catch (error) {
      this.fail(`${shown.entry.name} cannot be saved: ${message(error)}`);
    } finally {
      this.tellProgress(null);
    }
  }

  private async stop(): Promise<void> {
    if (!this.stopUrl) return;
    try {
      await fetch(this.stopUrl, { method: "POST" });
      this.tell("The program that served this page has ended; the page can be closed");
    } catch {
      this.tell("The program that served this page has ended already");
    }
    get("stop").hidden = true;
  }

  private togglePanel(): void {
    const panel = get("panel");
    panel.hidden = !panel.hidden;
    get("info").setAttribute("aria-expanded", String(!panel.hidden));
    get(panel.hidden ? "info" : "panel-close").focus();
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as Element;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("dialog, input")) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const keys: Record<string, () => void> = {
      c: () => void this.toggleOriginal(),
      i: () => this.togglePanel(),
      s: () => void this.save(),
      o: () => get("chooser").click(),
      "?": () => get<HTMLDialogElement>("help").showModal(),
    };
    if (name === "Escape" && !get("panel").hidden) this.togglePanel();
    // Single letters count only where nothing else is in focus.
    else if (target.closest("#panel, button") || get("view").hidden) return;
    else if (keys[name]) keys[name]();
    else if (!this.stage.key(name)) return;
    event.preventDefault();
  }

  private acceptDrops(): void {
    let depth = 0; // of elements that the pointer has entered
    const hint = (by: number) => {
      depth = by ? depth + by : 0;
      document.body.classList.toggle("dropping", depth > 0);
    };
    document.addEventListener("dragenter", (event) => {
      if (event.dataTransfer?.types.includes("Files")) hint(1);
    });
    document.addEventListener("dragleave", () => hint(-1));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      hint(0);
      this.open(event.dataTransfer?.files ?? []);
    });
  }

  /** Names of the models, for the panel. */
  private async loadModels(): Promise<void> {
    try {
      this.models = await (await fetch("models/INDEX.json")).json();
    } catch {
      // Then their ids are shown.
    }
  }

  private tellEntry(entry: Entry): void {
    const many = this.entries.length > 1;
    document.title = `${entry.name} - ${TITLE}`;
    get("title").textContent = entry.name;
    get("position").textContent = `${this.at + 1} of ${this.entries.length}`;
    get("position").hidden = !many;
    get("pictures").hidden = !many;
    get("previous").hidden = !this.entries[this.at - 1];
    get("next").hidden = !this.entries[this.at + 1];
    const choosing = get("start").contains(document.activeElement);
    get("start").hidden = true;
    get("view").hidden = false;
    if (choosing) get("stage").focus(); // where what had it was is gone
    if (!many) return;
    history.replaceState(null, "", `#${this.at + 1}`);
    get("picture-list").replaceChildren(
      ...this.entries.map(({ name }, number) => {
        const choice = document.createElement("button");
        choice.type = "button";
        choice.textContent = name;
        if (number === this.at) choice.setAttribute("aria-current", "true");
        choice.addEventListener("click", () => {
          void this.goTo(number);
          get("picture-list").querySelectorAll("button")[number]?.focus();
        });
        const item = document.createElement("li");
        item.append(choice);
        return item;
      }),
    );
  }

  private tellFacts(info: Info, metadata: Metadata | null, seconds: number | null): void {
    get("facts").replaceChildren(...facts(info, this.models, metadata, seconds));
  }

  private tellScale(scale: number): void {
    get("actual").textContent = `${Math.round(100 * scale)} %`;
  }

  /** @param text null when there is nothing to wait for. */
  private tellProgress(text: string | null, share?: number): void {
    const progress = get<HTMLProgressElement>("progress");
    get("waiting").hidden = text === null;
    get("waiting-text").textContent = text;
    get("view").setAttribute("aria-busy", String(text !== null));
    if (share === undefined) progress.removeAttribute("value");
    else progress.value = share;
  }

  private fail(text: string): void {
    this.tell(text);
    get("message").classList.add("error");
  }

  private tell(text: string): void {
    get("message").classList.remove("error");
    get("message").hidden = false;
    get("message-text").textContent = text;
  }

  private dismiss(): void {
    get("message").hidden = true;
    get("message-text").textContent = "";
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Size of a picture that the browser shows. */
async function sizeOf(blob: Blob): Promise<{ width: number; height: number }> {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
    return { width: image.naturalWidth, height: image.naturalHeight };
  } catch (error) {
    throw new Error("not a picture that this browser shows", { cause: error });
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

/** Keep the viewer for times without a network. */
function registerServiceWorker(): void {
  navigator.serviceWorker?.register("sw.js").catch(() => undefined); // none on pages without TLS
}

void new Viewer().start();
