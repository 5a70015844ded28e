// Autosave: every change goes into this browser at once, and to the server a moment later.

import { form, maskBlob, offline, query, ServerError, words, type Source } from "./api";
import { drop, keep, tab, writer } from "./keep";
import type { Layer } from "./layer";

const REST = 500; // milliseconds without a change
const AGAIN = [1000, 2000, 4000, 8000]; // after a failure

export type Saving = "saved" | "saving" | "kept" | "conflict" | "refused";

export class Saver {
  private readonly timers = new Map<number, number>();
  private readonly running = new Map<number, Promise<void>>();
  private readonly stopped = new Set<number>(); // frames with a conflict that the user has to decide
  private failures = 0;
  private closed = false;

  constructor(
    private readonly source: Source,
    private readonly place: string,
    private readonly layers: Map<number, Layer>,
    private readonly say: (state: Saving, text: string) => void,
    private readonly conflict: (frame: number, text: string) => void,
  ) {}

  key(frame: number): string {
    return `${this.place}|${frame}|${tab}`;
  }

  get busy(): boolean {
    return this.timers.size > 0 || this.running.size > 0;
  }

  changed(frame: number): void {
    if (this.source.trial) return;
    void this.keepHere(frame);
    if (!this.stopped.has(frame)) this.later(frame, REST);
  }

  // The user has decided which one counts.
  resolved(frame: number): void {
    this.stopped.delete(frame);
  }

  // Write what is waiting now; true if the server has everything.
  async flush(): Promise<boolean> {
    for (let pass = 0; pass < 2 && this.busy; pass++) { // a second one for what was drawn during the first
      for (const [frame, timer] of [...this.timers]) {
        clearTimeout(timer);
        this.timers.delete(frame);
        void this.save(frame);
      }
      await Promise.all(this.running.values());
    }
    return [...this.layers.values()].every((layer) => !layer.dirty);
  }

  close(): void {
    void this.flush();
    this.closed = true;
  }

  private later(frame: number, milliseconds: number): void {
    clearTimeout(this.timers.get(frame));
    this.timers.set(
      frame,
      window.setTimeout(() => {
        this.timers.delete(frame);
        void this.save(frame);
      }, milliseconds),
    );
    this.say("saving", "Saving …");
  }

  private async keepHere(frame: number): Promise<void> {
    const layer = this.layers.get(frame)!;
    try {
      await keep({
        key: this.key(frame), place: this.place, frame, tab, seen: layer.revision, mask: layer.mask.slice(),
        columns: layer.columns, rows: layer.rows, ...layer.settings, time: Date.now(),
      });
    } catch (error) {
      this.say("refused", `This browser cannot keep unsaved drawings (${words(error)}).`);
    }
  }

  // One after the other; the work is known to flush() at once.
  private save(frame: number): Promise<void> {
    const before = this.running.get(frame) ?? Promise.resolve();
    const work: Promise<void> = before
      .then(() => this.send(frame))
      .finally(() => {
        if (this.running.get(frame) === work) this.running.delete(frame);
      });
    this.running.set(frame, work);
    return work;
  }

  private async send(frame: number): Promise<void> {
    const layer = this.layers.get(frame);
    if (!layer?.dirty || this.stopped.has(frame)) return;
    const version = layer.version;
    this.say("saving", "Saving …");
    try {
      const mask = await maskBlob(layer.mask, layer.columns, layer.rows);
      const answer = await form<{ revision: number }>("PUT", `/page/draft?${query(this.source, { frame, seen: layer.revision })}`, {
        mask: [mask, "mask.png"], threshold: String(layer.settings.threshold), refine: String(layer.settings.refine),
        writer, turn: String(version),
      });
      layer.revision = answer.revision;
      layer.saved = version;
      layer.accepted = false;
      this.failures = 0;
      if (layer.version === version) {
        await drop(this.key(frame)).catch(() => undefined);
        this.say("saved", "Draft saved.");
      } else if (!this.timers.has(frame)) {
        this.later(frame, REST);
      }
    } catch (error) {
      if (error instanceof ServerError && error.status === 409) {
        this.stopped.add(frame);
        this.say("conflict", error.message);
        this.conflict(frame, error.message);
      } else {
        const wait = AGAIN[Math.min(this.failures++, AGAIN.length - 1)]!;
        const why = offline(error) ? "The server cannot be reached." : words(error);
        this.say("kept", `Not saved: ${why} The drawing is kept in this browser; the next try comes by itself.`);
        if (!this.closed && !this.timers.has(frame)) {
          this.timers.set(frame, window.setTimeout(() => {
            this.timers.delete(frame);
            void this.save(frame);
          }, wait));
        }
      }
    }
  }
}
