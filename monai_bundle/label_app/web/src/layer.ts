// The mask of one frame: what the network proposes at a threshold, and the corrections on top of it, which stay when the
// threshold moves. Every change can be undone.

import type { Box } from "./grid";

export interface Settings {
  threshold: number;
  refine: boolean;
}

export const NONE = 0;
export const ADDED = 1;
export const ERASED = 2;

type Change =
  | { kind: "edits"; box: Box; before: Uint8Array; after: Uint8Array }
  | { kind: "settings"; before: Settings; after: Settings };

const STEPS = 200; // that can be undone

export class Layer {
  readonly base: Uint8Array;
  readonly edits: Uint8Array;
  readonly mask: Uint8Array;
  levels: Uint8Array | null = null; // probability, 0 to 255
  uncertainty: number | null = null;
  settings: Settings;
  revision = 0; // of the draft on the server; 0: none
  stored = false; // whether a draft or final label was loaded
  version = 0; // grows with every change of the mask
  saved = 0; // version that the server has
  accepted = false; // whether the server's final label is just this
  private done: Change[] = [];
  private undone: Change[] = [];

  constructor(
    readonly columns: number,
    readonly rows: number,
    settings: Settings,
  ) {
    const count = columns * rows;
    this.base = new Uint8Array(count);
    this.edits = new Uint8Array(count);
    this.mask = new Uint8Array(count);
    this.settings = { ...settings };
  }

  get dirty(): boolean {
    return this.version !== this.saved;
  }

  get pixels(): number {
    let count = 0;
    for (const value of this.mask) count += value;
    return count;
  }

  get corrected(): boolean {
    return this.edits.some((value) => value !== NONE);
  }

  get canUndo(): boolean {
    return this.done.length > 0;
  }

  get canRedo(): boolean {
    return this.undone.length > 0;
  }

  get bytes(): number {
    return 4 * this.mask.length;
  }

  compose(box: Box = this.all()): void {
    for (let y = box.top; y < box.bottom; y++) {
      for (let i = y * this.columns + box.left, end = y * this.columns + box.right; i < end; i++) {
        const edit = this.edits[i];
        this.mask[i] = edit === NONE ? this.base[i]! : edit === ADDED ? 1 : 0;
      }
    }
  }

  // The threshold alone, at once; refinement comes from the server.
  baseFromLevels(): void {
    if (!this.levels) return;
    const level = 256 * this.settings.threshold;
    for (let i = 0; i < this.base.length; i++) this.base[i] = this.levels[i]! >= level ? 1 : 0;
    this.compose();
  }

  setBase(mask: Uint8Array): void {
    this.base.set(mask);
    this.compose();
  }

  // A stored mask: corrections are what differs from the proposal.
  load(mask: Uint8Array): void {
    for (let i = 0; i < mask.length; i++) this.edits[i] = mask[i] === this.base[i] ? NONE : mask[i] ? ADDED : ERASED;
    this.compose();
  }

  all(): Box {
    return { left: 0, top: 0, right: this.columns, bottom: this.rows };
  }

  // Corrections within a box, to be given to record() after they were changed.
  cut(box: Box): Uint8Array {
    const width = box.right - box.left;
    const part = new Uint8Array(Math.max(0, width * (box.bottom - box.top)));
    for (let y = box.top; y < box.bottom; y++) {
      const begin = y * this.columns + box.left;
      part.set(this.edits.subarray(begin, begin + width), (y - box.top) * width);
    }
    return part;
  }

  record(box: Box, before: Uint8Array): void {
    this.push({ kind: "edits", box, before, after: this.cut(box) });
  }

  recordSettings(before: Settings): void {
    if (before.threshold === this.settings.threshold && before.refine === this.settings.refine) return;
    this.push({ kind: "settings", before, after: { ...this.settings } });
  }

  // Gives back whether the settings have changed, so that the proposal has to be made anew; null if there is nothing.
  undo(): "edits" | "settings" | null {
    const change = this.done.pop();
    if (!change) return null;
    this.undone.push(change);
    return this.apply(change, "before");
  }

  redo(): "edits" | "settings" | null {
    const change = this.undone.pop();
    if (!change) return null;
    this.done.push(change);
    return this.apply(change, "after");
  }

  private push(change: Change): void {
    this.done.push(change);
    if (this.done.length > STEPS) this.done.shift();
    this.undone = [];
    this.version++;
  }

  private apply(change: Change, side: "before" | "after"): "edits" | "settings" {
    this.version++;
    if (change.kind === "settings") {
      this.settings = { ...change[side] };
      return "settings";
    }
    const { box } = change;
    const width = box.right - box.left;
    for (let y = box.top; y < box.bottom; y++) {
      const row = change[side].subarray((y - box.top) * width, (y - box.top + 1) * width);
      this.edits.set(row, y * this.columns + box.left);
    }
    this.compose(box);
    return "edits";
  }
}
