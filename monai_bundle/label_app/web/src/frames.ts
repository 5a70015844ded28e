// Frames of the open image: those around the current one are fetched ahead, and as many kept as the memory may hold.

import { bytes, grey, query, type Described, type Source } from "./api";

const KEPT = 192 * 2 ** 20; // bytes
const AT_ONCE = 4;
const AHEAD = 400; // frames

export class Frames {
  private readonly pictures = new Map<number, Uint8Array>();
  private readonly deep = new Map<number, Uint16Array>();
  private readonly coming = new Map<number, Promise<Uint8Array>>();
  private readonly failed = new Set<number>();
  private readonly stop = new AbortController();
  private wanted = 0;
  loaded = 0; // bytes kept

  constructor(
    private readonly source: Source,
    private readonly said: Described,
  ) {}

  close(): void {
    this.stop.abort();
    this.pictures.clear();
    this.deep.clear();
  }

  has(frame: number): Uint8Array | undefined {
    return this.pictures.get(frame);
  }

  get(frame: number): Promise<Uint8Array> {
    const there = this.pictures.get(frame);
    if (there) return Promise.resolve(there);
    let coming = this.coming.get(frame);
    if (!coming) {
      coming = grey(`/page/frame?${query(this.source, { frame })}`, this.stop.signal)
        .then(({ pixels }) => {
          this.keep(frame, pixels);
          return pixels;
        })
        .finally(() => this.coming.delete(frame));
      this.coming.set(frame, coming);
    }
    return coming;
  }

  // Values for a window of the user's own.
  async values(frame: number): Promise<Uint16Array> {
    const there = this.deep.get(frame);
    if (there) return there;
    const raw = new Uint16Array(await bytes(`/page/values?${query(this.source, { frame })}`, this.stop.signal));
    this.deep.set(frame, raw);
    if (this.deep.size * raw.byteLength > KEPT / 2) this.deep.delete(this.deep.keys().next().value!);
    return raw;
  }

  hasValues(frame: number): Uint16Array | undefined {
    return this.deep.get(frame);
  }

  // Fetch what will be looked at next, nearest first.
  ahead(frame: number): void {
    this.wanted = frame;
    const room = Math.max(1, Math.min(AHEAD, Math.floor(KEPT / (this.said.columns * this.said.rows)) - 1));
    for (let step = 1; step <= room && this.coming.size < AT_ONCE; step++) {
      const near = step % 3 ? frame + step - Math.floor(step / 3) : frame - step / 3; // mostly forward
      if (near < 0 || near >= this.said.frames) continue;
      if (this.pictures.has(near) || this.coming.has(near) || this.failed.has(near)) continue;
      this.get(near)
        .catch(() => this.failed.add(near))
        .finally(() => {
          if (!this.stop.signal.aborted) this.ahead(this.wanted);
        });
    }
  }

  private keep(frame: number, pixels: Uint8Array): void {
    this.pictures.set(frame, pixels);
    this.loaded += pixels.length;
    while (this.loaded > KEPT && this.pictures.size > 1) {
      let far = -1;
      for (const other of this.pictures.keys()) {
        if (far < 0 || Math.abs(other - this.wanted) > Math.abs(far - this.wanted)) far = other;
      }
      this.loaded -= this.pictures.get(far)!.length;
      this.pictures.delete(far);
    }
  }
}
