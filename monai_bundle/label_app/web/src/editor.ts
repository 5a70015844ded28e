// Changes of the mask of the shown frame: strokes, magic clicks, settings, undo.

import { magic, paint, type Box, type Point } from "./grid";
import { ADDED, ERASED, NONE, type Layer, type Settings } from "./layer";
import type { Opened } from "./opened";

export class Editor {
  private before: Uint8Array | null = null; // corrections before the stroke
  private box: Box | null = null;
  private value = ADDED;
  private settingsBefore: Settings | null = null;
  private timer = 0;

  constructor(
    private readonly shown: () => { opened: Opened; frame: number; layer: Layer } | null,
    private readonly painted: (box: Box) => void, // for the eye
    private readonly moving: () => void, // will be saved when the slider rests
    private readonly changed: () => void, // done: to be saved
    private readonly failed: (error: unknown) => void,
  ) {}

  get stroking(): boolean {
    return this.before !== null;
  }

  begin(erase: boolean): void {
    const now = this.shown();
    if (!now) return;
    this.before = now.layer.edits.slice();
    this.box = null;
    this.value = erase ? ERASED : ADDED;
  }

  stroke(from: Point, to: Point, radius: number): void {
    const now = this.shown();
    if (!now || !this.before) return;
    const { layer } = now;
    const part = paint(layer.edits, this.value, from, to, radius, layer.columns, layer.rows);
    if (part.right <= part.left || part.bottom <= part.top) return;
    layer.compose(part);
    this.box = this.box ? around(this.box, part) : part;
    this.painted(part);
  }

  finish(): void {
    const now = this.shown();
    const before = this.before;
    const box = this.box;
    this.before = this.box = null;
    if (!now || !before || !box) return;
    now.layer.record(box, cut(before, box, now.layer.columns));
    this.changed();
  }

  cancel(): void {
    const now = this.shown();
    const before = this.before;
    this.before = this.box = null;
    if (!now || !before) return;
    now.layer.edits.set(before);
    now.layer.compose();
    this.painted(now.layer.all());
  }

  // What a magic click would do.
  preview(at: Point, level: number): number[] {
    const now = this.shown();
    if (!now?.layer.levels) return [];
    return magic(now.layer.mask, now.layer.levels, 256 * level, at, now.layer.columns, now.layer.rows).pixels;
  }

  // Gives back how many pixels were added (above 0) or dropped.
  magic(at: Point, level: number): number {
    const now = this.shown();
    if (!now?.layer.levels) return 0;
    const { layer } = now;
    const { add, pixels } = magic(layer.mask, layer.levels!, 256 * level, at, layer.columns, layer.rows);
    if (!pixels.length) return 0;
    this.all(layer, (edits) => {
      for (const index of pixels) edits[index] = add ? ADDED : ERASED;
    });
    return add ? pixels.length : -pixels.length;
  }

  discard(): void {
    const now = this.shown();
    if (now) this.all(now.layer, (edits) => edits.fill(NONE));
  }

  // Make the mask of the shown frame that of another one.
  copyTo(target: Layer): void {
    const now = this.shown();
    if (!now) return;
    const box = target.all();
    const before = target.cut(box);
    target.load(now.layer.mask.slice());
    target.record(box, before);
  }

  // While a slider moves; the step that can be undone is the whole movement.
  set(settings: Partial<Settings>): void {
    const now = this.shown();
    if (!now) return;
    const { layer } = now;
    this.settingsBefore ??= { ...layer.settings };
    Object.assign(layer.settings, settings);
    layer.baseFromLevels();
    layer.version++; // what is being saved at this moment is of a mask on its way
    this.painted(layer.all());
    this.moving();
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.settle(), 200);
  }

  // The movement has come to its end. Before another frame is shown, this has to be called.
  settle(): void {
    clearTimeout(this.timer);
    const before = this.settingsBefore;
    this.settingsBefore = null;
    const now = this.shown();
    if (!now || !before) return;
    now.layer.recordSettings(before);
    this.rebuild(now.opened, now.frame, now.layer);
  }

  undo(back: boolean): void {
    this.settle();
    const now = this.shown();
    if (!now || this.stroking) return;
    const what = back ? now.layer.undo() : now.layer.redo();
    if (what === "settings") {
      now.layer.baseFromLevels();
      this.rebuild(now.opened, now.frame, now.layer);
    }
    if (what === "edits") {
      this.painted(now.layer.all());
      this.changed();
    }
  }

  private rebuild(opened: Opened, frame: number, layer: Layer): void {
    opened
      .refine(frame, layer)
      .catch((error) => this.failed(error))
      .finally(() => {
        layer.version++;
        opened.saver.changed(frame);
        if (this.shown()?.layer === layer) this.painted(layer.all());
      });
  }

  private all(layer: Layer, work: (edits: Uint8Array) => void): void {
    const box = layer.all();
    const before = layer.cut(box);
    work(layer.edits);
    layer.compose();
    layer.record(box, before);
    this.painted(box);
    this.changed();
  }
}

const around = (a: Box, b: Box): Box => ({
  left: Math.min(a.left, b.left), top: Math.min(a.top, b.top), right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom),
});

function cut(edits: Uint8Array, box: Box, columns: number): Uint8Array {
  const width = box.right - box.left;
  const part = new Uint8Array(width * (box.bottom - box.top));
  for (let y = box.top; y < box.bottom; y++) {
    part.set(edits.subarray(y * columns + box.left, y * columns + box.right), (y - box.top) * width);
  }
  return part;
}
