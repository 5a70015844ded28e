// The open image: its frames, and the mask of each frame with its way to and from the server.

import { grey, json, query, ServerError, type Described, type Source } from "./api";
import { Frames } from "./frames";
import { drop, keptOf, tab, type Kept } from "./keep";
import { Layer, type Settings } from "./layer";
import { Saver, type Saving } from "./saver";

const KEPT = 256 * 2 ** 20; // bytes of masks

export interface Listener {
  changed(frame: number): void; // a mask is another one
  saving(state: Saving, text: string): void;
  conflict(frame: number, text: string): void;
  found(frame: number, kept: Kept): void; // unsaved drawings of another window
  failed(error: unknown): void;
}

export class Opened {
  readonly frames: Frames;
  readonly layers = new Map<number, Layer>();
  readonly saver: Saver;
  shown = 0; // frame that may be drawn on
  private readonly loading = new Map<number, Promise<Layer>>();
  private readonly refined = new Map<string, Uint8Array>();
  private readonly stop = new AbortController();

  constructor(
    readonly source: Source,
    public said: Described,
    studies: string,
    private readonly preset: Settings,
    private readonly listener: Listener,
  ) {
    this.place = `${studies}|${source.image ?? ""}`;
    this.frames = new Frames(source, said);
    this.saver = new Saver(
      source, this.place, this.layers, (state, text) => listener.saving(state, text),
      (frame, text) => listener.conflict(frame, text),
    );
  }

  private readonly place: string;

  close(): void {
    this.saver.close();
    this.frames.close();
    this.stop.abort();
    if (this.source.trial) void json("DELETE", `/page/trial?trial=${this.source.trial}`).catch(() => undefined);
  }

  layer(frame: number): Promise<Layer> {
    const there = this.layers.get(frame);
    if (there) return Promise.resolve(there);
    let loading = this.loading.get(frame);
    if (!loading) {
      loading = this.load(frame).finally(() => this.loading.delete(frame));
      this.loading.set(frame, loading);
    }
    return loading;
  }

  async refresh(): Promise<void> {
    this.said = await json<Described>("GET", `/page/image?${query(this.source)}`);
  }

  // Whether anybody has made something for this frame.
  known(frame: number): boolean {
    return frame in this.said.drafts || this.said.proposed.includes(frame) || !!this.said.final?.frames.includes(frame);
  }

  // Masks are fetched anew when they are looked at next; what is not saved yet stays.
  forget(frame?: number): void {
    this.refined.clear();
    for (const [number, layer] of [...this.layers]) {
      if (frame === undefined ? !layer.dirty : number === frame) this.layers.delete(number);
    }
  }

  private async load(frame: number): Promise<Layer> {
    const { columns, rows } = this.said;
    const layer = new Layer(columns, rows, this.preset);
    let mask: Uint8Array | null = null;
    if (frame in this.said.drafts) {
      layer.revision = this.said.drafts[frame]!;
      try {
        const { pixels, answer } = await grey(`/page/draft?${query(this.source, { frame })}`, this.stop.signal);
        mask = pixels;
        layer.revision = Number(answer.headers.get("X-CASR-Revision"));
        Object.assign(layer.settings, JSON.parse(answer.headers.get("X-CASR-Settings") ?? "{}"));
      } catch (error) {
        if (!(error instanceof ServerError) || error.status !== 400) throw error;
        this.listener.failed(error); // damaged, or of another image: a new drawing takes its place
      }
    } else if (this.said.final?.frames.includes(frame)) {
      mask = (await grey(`/page/final?${query(this.source, { frame })}`, this.stop.signal)).pixels;
      layer.accepted = true;
    }
    if (this.said.proposed.includes(frame)) await this.proposed(frame, layer);
    if (mask) {
      layer.load(mask.map((value) => (value > 127 ? 1 : 0)));
      layer.stored = true;
    }
    this.layers.set(frame, layer);
    if (this.source.image) await this.restore(frame, layer);
    this.limit(frame);
    return layer;
  }

  // What this browser holds of the frame and the server never got.
  private async restore(frame: number, layer: Layer): Promise<void> {
    const kept = (await keptOf(this.place).catch(() => [])).filter((one) => one.frame === frame && one.mask.length === layer.mask.length);
    for (const one of kept) {
      if (one.mask.every((value, index) => value === layer.mask[index])) {
        await drop(one.key);
      } else if (one.tab === tab && one.seen === layer.revision) {
        this.take(frame, one);
      } else {
        this.listener.found(frame, one);
      }
    }
  }

  // Put kept drawings in place of what is there.
  take(frame: number, one: Kept): void {
    const layer = this.layers.get(frame)!;
    const box = layer.all();
    const before = layer.cut(box);
    layer.load(one.mask);
    layer.stored = true; // as a draft: a proposal that comes by itself does not change it
    layer.record(box, before);
    if (one.key !== this.saver.key(frame)) void drop(one.key);
    this.saver.changed(frame);
    this.listener.changed(frame);
  }

  // Let the network propose a mask for a frame.
  async infer(frame: number): Promise<Layer> {
    const layer = await this.layer(frame);
    const said = await json<{ uncertainty: number }>("POST", `/page/infer?${query(this.source, { frame })}`, undefined, this.stop.signal);
    if (!this.said.proposed.includes(frame)) this.said.proposed.push(frame);
    const before = layer.mask.slice();
    await this.proposed(frame, layer);
    if (layer.stored) layer.load(before); // corrections of people count more
    layer.uncertainty = said.uncertainty;
    this.listener.changed(frame);
    this.limit(frame);
    return layer;
  }

  private async proposed(frame: number, layer: Layer): Promise<void> {
    layer.levels = (await grey(`/page/probability?${query(this.source, { frame })}`, this.stop.signal)).pixels;
    layer.baseFromLevels();
    await this.refine(frame, layer);
  }

  // The proposal by the settings of a layer: the threshold at once, the refinement as soon as the server has it.
  async refine(frame: number, layer: Layer): Promise<void> {
    const { threshold, refine } = layer.settings;
    if (!layer.levels || !refine) return;
    const key = `${frame}|${threshold}`;
    let mask = this.refined.get(key);
    if (!mask) {
      const { pixels } = await grey(`/page/proposal?${query(this.source, { frame, threshold, refine })}`, this.stop.signal);
      mask = pixels.map((value) => (value > 127 ? 1 : 0));
      this.refined.set(key, mask);
      if (this.refined.size * mask.length > KEPT / 8) this.refined.delete(this.refined.keys().next().value!);
    }
    if (layer.settings.threshold === threshold && layer.settings.refine) layer.setBase(mask);
  }

  // Accept what is drafted, and the frame that is shown, corrected or not, if there is a mask of it.
  async accept(shown: number): Promise<number[]> {
    const current = await this.layer(shown);
    if (!current.revision && !current.dirty && (current.levels || current.stored)) {
      current.version++;
      this.saver.changed(shown);
    }
    if (!(await this.saver.flush())) throw new ServerError(0, "Not everything is saved yet; accept it when it is.");
    const drafts: Record<number, number> = {};
    this.refreshDrafts();
    for (const [frame, revision] of Object.entries(this.said.drafts)) drafts[Number(frame)] = revision;
    const done = await json<{ frames: number[]; stamp: string }>("POST", `/page/accept?${query(this.source)}`, {
      drafts, final: this.said.final?.stamp ?? "",
    });
    for (const frame of Object.keys(drafts)) {
      const layer = this.layers.get(Number(frame));
      if (layer) {
        layer.revision = 0;
        layer.accepted = true;
        layer.stored = true;
      }
      delete this.said.drafts[frame];
    }
    this.said.final = { frames: done.frames, stamp: done.stamp };
    return done.frames;
  }

  // Drafts that this window has written; those of other windows are theirs to accept, unless they were seen here.
  private refreshDrafts(): void {
    for (const [frame, layer] of this.layers) {
      if (layer.revision) this.said.drafts[frame] = layer.revision;
      else delete this.said.drafts[frame];
    }
  }

  private limit(frame: number): void {
    for (const [number, layer] of this.layers) {
      if (this.layers.size * layer.bytes <= KEPT) return;
      if (number !== frame && number !== this.shown && !layer.dirty) this.layers.delete(number);
    }
  }
}
