// The canvas: a frame by the user's window, the mask over it, zoom and pan. It changes no mask.

import { outline, type Box, type Point } from "./grid";

export interface Look {
  low: number; // shown grey that becomes black; 0 as the file says
  high: number; // that becomes white; 1 as the file says
  inverted: boolean;
  contour: boolean;
  visible: boolean;
  opacity: number;
}

const SPAN = 3; // of the values, see pictures.py
const COLOUR = [255, 176, 0] as const; // of the mask; seen on black, grey and white, also by the colour-blind

export class Viewer {
  look: Look = { low: 0, high: 1, inverted: false, contour: false, visible: true, opacity: 0.45 };
  scale = 1; // screen pixels (of CSS) a pixel
  origin: Point = { x: 0, y: 0 }; // where the image's corner is
  cursor: { at: Point; radius: number } | null = null;
  drawn = 0; // pictures so far
  private readonly context: CanvasRenderingContext2D;
  private picture: OffscreenCanvas | null = null;
  private overlay: OffscreenCanvas | null = null;
  private columns = 0;
  private rows = 0;
  private mask: Uint8Array | null = null;
  private hint: number[] = [];
  private path: Path2D | null = null;
  private waiting = false;
  private fitted = true;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.context = canvas.getContext("2d")!;
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement!);
    this.resize();
  }

  open(columns: number, rows: number): void {
    this.columns = columns;
    this.rows = rows;
    this.picture = new OffscreenCanvas(columns, rows);
    this.overlay = new OffscreenCanvas(columns, rows);
    this.mask = null;
    this.path = null;
    this.fit();
  }

  close(): void {
    this.picture = null;
    this.redraw();
  }

  show(pixels: Uint8Array, values?: Uint16Array): void {
    if (!this.picture) return;
    const image = new ImageData(this.columns, this.rows);
    const rgba = new Uint32Array(image.data.buffer);
    const { low, high, inverted } = this.look;
    const from = values ?? pixels;
    const top = values ? 65535 : 255;
    const table = new Uint32Array(top + 1);
    for (let i = 0; i <= top; i++) {
      const grey = values ? (i / top) * SPAN - (SPAN - 1) / 2 : i / top;
      let shown = Math.round(255 * Math.min(1, Math.max(0, (grey - low) / (high - low))));
      if (inverted) shown = 255 - shown;
      table[i] = 0xff000000 | (shown << 16) | (shown << 8) | shown;
    }
    for (let i = 0; i < rgba.length; i++) rgba[i] = table[from[i]!]!;
    this.picture.getContext("2d")!.putImageData(image, 0, 0);
    this.redraw();
  }

  showMask(mask: Uint8Array | null, box?: Box): void {
    this.mask = mask;
    this.path = null;
    if (mask && this.overlay) this.paintOverlay(mask, box ?? { left: 0, top: 0, right: this.columns, bottom: this.rows });
    this.redraw();
  }

  // Pixels that a click would add or drop.
  showHint(pixels: number[]): void {
    if (!pixels.length && !this.hint.length) return;
    this.hint = pixels;
    this.redraw();
  }

  private paintOverlay(mask: Uint8Array, box: Box): void {
    const width = box.right - box.left;
    const height = box.bottom - box.top;
    if (width <= 0 || height <= 0) return;
    const image = new ImageData(width, height);
    const rgba = new Uint32Array(image.data.buffer);
    const colour = 0xff000000 | (COLOUR[2] << 16) | (COLOUR[1] << 8) | COLOUR[0];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (mask[(box.top + y) * this.columns + box.left + x]) rgba[y * width + x] = colour;
      }
    }
    this.overlay!.getContext("2d")!.putImageData(image, box.left, box.top);
  }

  fit(): void {
    this.fitted = true;
    if (!this.columns) return;
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = Math.min(clientWidth / this.columns, clientHeight / this.rows) || 1;
    this.origin = {
      x: (clientWidth - this.columns * this.scale) / 2,
      y: (clientHeight - this.rows * this.scale) / 2,
    };
    this.redraw();
  }

  zoom(factor: number, at?: Point): void {
    const about = at ?? { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 };
    const scale = Math.min(40, Math.max(0.05, this.scale * factor));
    const ratio = scale / this.scale;
    this.origin = { x: about.x - (about.x - this.origin.x) * ratio, y: about.y - (about.y - this.origin.y) * ratio };
    this.scale = scale;
    this.fitted = false;
    this.redraw();
  }

  pan(dx: number, dy: number): void {
    this.origin = { x: this.origin.x + dx, y: this.origin.y + dy };
    this.fitted = false;
    this.redraw();
  }

  // From the canvas (CSS pixels) to the image; a pixel's centre is at whole numbers.
  toImage(at: Point): Point {
    return { x: (at.x - this.origin.x) / this.scale - 0.5, y: (at.y - this.origin.y) / this.scale - 0.5 };
  }

  redraw(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  private resize(): void {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    if (this.fitted) this.fit();
    else this.redraw();
  }

  private draw(): void {
    const { context, scale, origin, look } = this;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.picture) return;
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * origin.x, ratio * origin.y);
    context.imageSmoothingEnabled = scale < 4;
    context.drawImage(this.picture, 0, 0);
    if (this.mask && look.visible) {
      context.imageSmoothingEnabled = false;
      if (look.contour) {
        this.path ??= outline(this.mask, this.columns, this.rows);
        context.globalAlpha = Math.min(1, look.opacity + 0.35); // a line needs more than an area
        context.lineWidth = 1.8 / scale;
        context.strokeStyle = `rgb(${COLOUR.join(" ")})`;
        context.stroke(this.path);
      } else {
        context.globalAlpha = look.opacity;
        context.drawImage(this.overlay!, 0, 0);
      }
      context.globalAlpha = 1;
    }
    if (this.hint.length) {
      context.fillStyle = "rgb(64 200 255 / 55%)";
      for (const index of this.hint) context.fillRect(index % this.columns, Math.floor(index / this.columns), 1, 1);
    }
    if (this.cursor) {
      context.lineWidth = 1.2 / scale;
      context.strokeStyle = "rgb(64 200 255)";
      context.beginPath();
      context.arc(this.cursor.at.x + 0.5, this.cursor.at.y + 0.5, Math.max(0.5, this.cursor.radius), 0, 2 * Math.PI);
      context.stroke();
    }
    this.drawn++;
  }
}
