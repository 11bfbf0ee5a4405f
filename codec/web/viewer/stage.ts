/** The picture, and the original beside it, under one zoom. */

const MOST = 64;
/** Screen pixels for a picture's pixel from which on its pixels are drawn as squares. */
const SQUARES = 3;
const STEP = 1.25;
/** Share of the window that arrows move a picture by. */
const PAN = 0.15;
/** Pixels that fingers may move and still only tap. */
const SLACK = 8;
/** Pixels of a swipe to the next picture. */
const SWIPE = 60;
const LINE = 16;

interface Point {
  x: number;
  y: number;
}

/** An address of a picture and its size. */
export interface Drawing {
  url: string;
  width: number;
  height: number;
  alt: string;
}

/** A window onto a picture. */
export class Stage {
  private readonly panes: HTMLElement[];
  private drawing: Drawing | null = null;
  private scale = 1;
  private x = 0;
  private y = 0;
  /** Whether the whole picture is shown, whatever the size of the window. */
  private fitting = true;
  private line = 50;
  private readonly pointers = new Map<number, Point>();
  private began: Point = { x: 0, y: 0 };
  private tapped = 0;
  private dragging = false;

  /**
   * @param root is focused and gets keys; its panes hold an <img> each.
   * @param divider moves the line between the panes.
   * @param onchange called with the number of screen pixels for a pixel.
   * @param onstep called with -1 or 1 for the picture before or after.
   */
  constructor(
    private readonly root: HTMLElement,
    private readonly divider: HTMLElement,
    private readonly onchange: (scale: number) => void,
    private readonly onstep: (by: number) => void,
  ) {
    this.panes = [...root.querySelectorAll<HTMLElement>(".pane")];
    root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    root.addEventListener("pointerdown", (event) => this.down(event));
    root.addEventListener("pointermove", (event) => this.move(event));
    for (const type of ["pointerup", "pointercancel"] as const) {
      root.addEventListener(type, (event) => this.up(event));
    }
    root.addEventListener("dblclick", (event) => this.toggle(this.at(event)));
    divider.addEventListener("pointerdown", (event) => this.downOnLine(event));
    divider.addEventListener("keydown", (event) => this.keyOnLine(event));
    new ResizeObserver(() => (this.fitting ? this.fit() : this.draw())).observe(root);
  }

  /** Show a picture, whole; null for none. */
  show(drawing: Drawing | null, transparent = false): void {
    this.drawing = drawing;
    this.put(0, drawing);
    this.compare(null);
    this.panes[0]!.classList.toggle("transparent", transparent);
    this.fit();
  }

  /** Show the original on the right of the line; null for none. */
  compare(original: { url: string; alt: string } | null): void {
    const size = this.drawing;
    this.put(1, original && size && { ...size, ...original });
    this.panes[1]!.hidden = !original;
    this.divider.hidden = !original;
    this.moveLine(50);
  }

  get comparing(): boolean {
    return !this.divider.hidden;
  }

  /** Show the whole picture, no larger than it is. */
  fit(): void {
    const { drawing, root } = this;
    this.fitting = true;
    if (!drawing || !root.clientWidth) return;
    const { width, height } = drawing;
    const scale = Math.min(1, root.clientWidth / width, root.clientHeight / height);
    this.place(scale, 0, 0);
  }

  /** Show each pixel of the picture as one of the screen. */
  actual(at: Point = this.centre()): void {
    this.zoom(1 / devicePixelRatio, at);
  }

  zoomBy(factor: number, at: Point = this.centre()): void {
    this.zoom(this.scale * factor, at);
  }

  zoomIn(): void {
    this.zoomBy(STEP);
  }

  zoomOut(): void {
    this.zoomBy(1 / STEP);
  }

  /** Whether a key was for the picture. */
  key(name: string): boolean {
    const { clientWidth, clientHeight } = this.root;
    const wide = (this.drawing?.width ?? 0) * this.scale > clientWidth + 1;
    const keys: Record<string, () => void> = {
      "+": () => this.zoomIn(),
      "=": () => this.zoomIn(),
      "-": () => this.zoomOut(),
      "0": () => this.fit(),
      "1": () => this.actual(),
      ArrowLeft: () => (wide ? this.pan(PAN * clientWidth, 0) : this.onstep(-1)),
      ArrowRight: () => (wide ? this.pan(-PAN * clientWidth, 0) : this.onstep(1)),
      ArrowUp: () => this.pan(0, PAN * clientHeight),
      ArrowDown: () => this.pan(0, -PAN * clientHeight),
      PageUp: () => this.onstep(-1),
      PageDown: () => this.onstep(1),
    };
    keys[name]?.();
    return name in keys;
  }

  private put(number: number, drawing: Drawing | null): void {
    const image = this.panes[number]!.querySelector("img")!;
    if (!drawing) {
      image.removeAttribute("src");
      image.alt = "";
      return;
    }
    image.width = drawing.width;
    image.height = drawing.height;
    image.alt = drawing.alt;
    image.src = drawing.url;
  }

  private centre(): Point {
    return { x: this.root.clientWidth / 2, y: this.root.clientHeight / 2 };
  }

  private at(event: MouseEvent): Point {
    const { left, top } = this.root.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  /** Change the size and keep a point where it is. */
  private zoom(wanted: number, at: Point): void {
    const { drawing, root } = this;
    if (!drawing) return;
    const whole = Math.min(1, root.clientWidth / drawing.width, root.clientHeight / drawing.height);
    const scale = Math.min(MOST, Math.max(Math.min(whole, 1 / devicePixelRatio), wanted));
    const factor = scale / this.scale;
    this.fitting = false;
    this.place(scale, at.x - (at.x - this.x) * factor, at.y - (at.y - this.y) * factor);
  }

  private pan(dx: number, dy: number): void {
    this.place(this.scale, this.x + dx, this.y + dy);
  }

  private place(scale: number, x: number, y: number): void {
    this.scale = scale;
    this.x = x;
    this.y = y;
    this.draw();
  }

  /** A picture smaller than the window lies in the middle, a larger one leaves no gap. */
  private draw(): void {
    const { drawing, root } = this;
    if (!drawing) return;
    const inside = (at: number, length: number, room: number) =>
      length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, at));
    this.x = inside(this.x, drawing.width * this.scale, root.clientWidth);
    this.y = inside(this.y, drawing.height * this.scale, root.clientHeight);
    const screen = this.scale * devicePixelRatio;
    for (const pane of this.panes) {
      const image = pane.querySelector("img")!;
      image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
      pane.classList.toggle("enlarged", screen >= SQUARES);
    }
    this.drawLine();
    this.onchange(screen);
  }

  private toggle(at: Point): void {
    if (this.fitting) this.actual(at);
    else this.fit();
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1;
    const speed = event.ctrlKey ? 0.01 : 0.002; // with ctrlKey, two fingers on a touchpad
    this.zoomBy(Math.exp(-event.deltaY * lines * speed), this.at(event));
  }

  private down(event: PointerEvent): void {
    if (event.button) return;
    this.root.setPointerCapture(event.pointerId);
    const at = this.at(event);
    if (!this.pointers.size) this.began = at;
    this.pointers.set(event.pointerId, at);
    this.root.classList.add("moving");
  }

  private move(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const at = this.at(event);
    if (this.dragging) this.moveLine((100 * at.x) / this.root.clientWidth);
    else if (this.pointers.size === 1) this.pan(at.x - before.x, at.y - before.y);
    else {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)![1];
      const distance = (a: Point, b: Point) => Math.hypot(a.x - b.x, a.y - b.y);
      const middle = (a: Point, b: Point) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
      const [from, to] = [middle(before, other), middle(at, other)];
      this.zoomBy(distance(at, other) / Math.max(1, distance(before, other)), from);
      this.pan(to.x - from.x, to.y - from.y);
      this.began = { x: Number.NaN, y: 0 }; // neither a tap nor a swipe
    }
    this.pointers.set(event.pointerId, at);
  }

  private up(event: PointerEvent): void {
    if (!this.pointers.delete(event.pointerId) || this.pointers.size) return;
    this.root.classList.remove("moving");
    const dragged = this.dragging;
    this.dragging = false;
    if (dragged || event.pointerType !== "touch" || event.type !== "pointerup") return;
    const at = this.at(event);
    const [dx, dy] = [at.x - this.began.x, at.y - this.began.y];
    if (Math.hypot(dx, dy) < SLACK) {
      // Fingers get no dblclick where touches are handled.
      const double = event.timeStamp - this.tapped < 300;
      this.tapped = double ? 0 : event.timeStamp;
      if (double) this.toggle(at);
    } else if (this.fitting && Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy)) {
      this.onstep(dx > 0 ? -1 : 1);
    }
  }

  private downOnLine(event: PointerEvent): void {
    if (!event.button) this.dragging = true; // and on to the root, which follows the pointer
  }

  private keyOnLine(event: KeyboardEvent): void {
    const steps: Record<string, number> = {
      ArrowLeft: this.line - 1,
      ArrowDown: this.line - 1,
      ArrowRight: this.line + 1,
      ArrowUp: this.line + 1,
      PageDown: this.line - 10,
      PageUp: this.line + 10,
      Home: 0,
      End: 100,
    };
    const to = steps[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.moveLine(to);
  }

  private moveLine(to: number): void {
    this.line = Math.min(100, Math.max(0, to));
    this.drawLine();
  }

  private drawLine(): void {
    const share = Math.round(this.line);
    this.panes[1]!.style.clipPath = `inset(0 0 0 ${this.line}%)`;
    this.divider.style.left = `${this.line}%`;
    this.divider.setAttribute("aria-valuenow", String(share));
    this.divider.setAttribute("aria-valuetext", `${share} % decoded, ${100 - share} % original`);
  }
}
