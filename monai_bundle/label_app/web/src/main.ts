// The page: everything comes together here.

import { form, json, offline, query, ServerError, words, type Described, type Source } from "./api";
import { markCurve, showCurve } from "./curve";
import { click, get, make } from "./dom";
import { Editor } from "./editor";
import { bindExports, showExports } from "./exports";
import { bind } from "./keys";
import { drop, type Kept } from "./keep";
import type { Layer, Settings } from "./layer";
import { ImageList, scoring } from "./list";
import { linkViewer, lookForViewer } from "./ohif";
import { Opened } from "./opened";
import { Player } from "./player";
import { listen, type Tool } from "./pointer";
import type { Saving } from "./saver";
import { Training } from "./training";
import { Viewer } from "./viewer";

const viewer = new Viewer(get<HTMLCanvasElement>("canvas"));
const input = (id: string): HTMLInputElement => get<HTMLInputElement>(id);

let opened: Opened | null = null;
let frame = 0; // from 0; the page says from 1
let layer: Layer | null = null;
let tool: Tool = "brush";
let turn = 0; // grows with every change of image or frame, so that late answers are not shown

// Words

function fault(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  get("fault").textContent = words(error);
  console.warn(error);
}

const clear = (): void => {
  get("fault").textContent = "";
};

function tell(text: string, state: Saving | "" = ""): void {
  get("saving").textContent = text;
  get("saving").dataset.state = state;
}

async function tried(work: () => Promise<unknown>): Promise<void> {
  clear();
  try {
    await work();
  } catch (error) {
    fault(error);
  }
}

function describe(): void {
  const said = opened?.said;
  const name = opened ? opened.source.name : "";
  const place = said && said.frames > 1 ? `, frame ${frame + 1} of ${said.frames}` : "";
  const kind = opened?.source.trial ? " (tried only, not stored)" : "";
  const state = !layer ? "" : layer.revision ? ", draft" : layer.accepted ? ", final" : layer.levels ? ", proposal" : ", no mask yet";
  get("title").textContent = opened ? `${name}${kind}${place}${state}` : "No image is open.";
  viewer.canvas.setAttribute("aria-label", opened ? `${name}${place}${state}${layer ? `, ${layer.pixels} pixels of vessel` : ""}` : "No image is open.");
  get("empty").hidden = !!opened;
  const uncertainty = layer?.uncertainty ?? null;
  get("about").textContent = !layer ? "" : layer.levels ? `${layer.pixels} pixels${uncertainty === null ? "" : `, uncertainty ${uncertainty.toFixed(2)}`}` : "Not segmented by the weights in use.";
  const buttons: [string, boolean][] = [
    ["segment", !!opened], ["accept", !!opened && !opened.source.trial], ["undo", !!layer?.canUndo], ["redo", !!layer?.canRedo],
    ["discard", !!layer], ["copy", !!layer && !!said && frame + 1 < said.frames],
  ];
  for (const [id, enabled] of buttons) get<HTMLButtonElement>(id).disabled = !enabled;
  if (opened) showExports(opened.source, opened.said);
  input("threshold").disabled = input("refine").disabled = !layer?.levels;
  if (layer) {
    input("threshold").value = String(layer.settings.threshold);
    input("refine").checked = layer.settings.refine;
  }
  outputs();
}

function outputs(): void {
  get("threshold-out").textContent = Number(input("threshold").value).toFixed(2);
  get("size-out").textContent = `${2 * Number(input("size").value)} px`;
  get("magic-out").textContent = Number(input("magic").value).toFixed(2);
  get("opacity-out").textContent = `${Math.round(100 * Number(input("opacity").value))} %`;
}

// Images and frames

const preset = (): Settings => ({ threshold: 0.5, refine: true });

const list = new ImageList((id) => void tried(() => open({ image: id, name: id })));

async function open(wanted: Source, at?: number): Promise<void> {
  const mine = ++turn;
  editor.settle();
  player.stop();
  await opened?.saver.flush();
  let said: Described;
  try {
    said = await json<Described>("GET", `/page/image?${query(wanted)}`);
  } catch (error) {
    if (mine === turn && opened) await show(frame).catch(fault); // what was open stays, also if it was still on its way
    throw error;
  }
  if (mine !== turn) return;
  const source = { ...wanted, name: said.title ?? wanted.name };
  opened?.close();
  layer = null;
  opened = new Opened(source, said, list.studies, preset(), {
    changed: (number) => {
      if (number === frame) repaint();
    },
    saving: (state, text) => {
      tell(text, state);
      if (state === "saved") {
        describe();
        void list.refresh().catch(() => undefined);
      }
    },
    conflict: (number, text) => ask(number, `${text} Which one shall count?`, null),
    found: (number, kept) => ask(number, `This browser holds a drawing of frame ${number + 1} that never reached the server, from ${new Date(kept.time).toLocaleString()}. Which one shall count?`, kept),
    failed: fault,
  });
  viewer.open(said.columns, said.rows);
  resetWindow();
  list.mark(source.image ?? "");
  linkViewer(said);
  describe(); // its name, also if it cannot be shown
  get("cine").hidden = said.frames < 2;
  const slider = input("frame");
  slider.max = String(said.frames);
  if (said.frames > 1) void showCurve(source, said);
  if (said.warnings.length) tell(said.warnings.join(" "));
  await show(Math.min(said.frames - 1, Math.max(0, at ?? (said.frames > 1 ? middle(said) : 0))));
  if (!layer && said.frames === 1) return;
  if (said.frames === 1 && input("auto").checked && layer && !(layer as Layer).levels && !(layer as Layer).stored) await segment();
}

// Where there is something to see: what was worked on last, else the middle.
const middle = (said: Described): number => {
  const worked = [...Object.keys(said.drafts).map(Number), ...(said.final?.frames ?? []), ...said.proposed];
  return worked[0] ?? Math.floor((said.frames - 1) / 2);
};

async function show(number: number): Promise<void> {
  if (!opened) return;
  const mine = ++turn;
  const now = opened;
  editor.settle();
  frame = now.shown = number;
  layer = now.layers.get(number) ?? null;
  input("frame").value = String(number + 1);
  input("frame").setAttribute("aria-valuetext", `Frame ${number + 1} of ${now.said.frames}`);
  get("place").textContent = `${number + 1} / ${now.said.frames}`;
  markCurve(number);
  const there = now.frames.has(number);
  viewer.showMask(layer?.mask ?? null);
  if (there) viewer.show(there, customWindow() ? now.frames.hasValues(number) : undefined);
  now.frames.ahead(number);
  if (player.playing) return;
  const pixels = there ?? (await now.frames.get(number));
  if (mine !== turn) return;
  if (!there) viewer.show(pixels);
  if (customWindow() && now.said.deep) await rewindow();
  if (!layer) {
    await new Promise((resolve) => setTimeout(resolve, there ? 60 : 0)); // while the slider moves, masks are not asked for
    if (mine !== turn) return;
    const found = await now.layer(number);
    if (mine !== turn) return;
    layer = found;
  }
  viewer.showMask(layer.mask);
  const where = new URLSearchParams(now.source.image ? { image: now.source.image, frame: String(number + 1) } : {});
  history.replaceState(null, "", `#${where}`);
  describe();
}

function repaint(): void {
  layer = opened?.layers.get(frame) ?? layer;
  viewer.showMask(layer?.mask ?? null);
  describe();
}

function go(step: number): void {
  if (!opened) return;
  player.stop();
  const target = Math.min(opened.said.frames - 1, Math.max(0, frame + step));
  if (target !== frame) void tried(() => show(target));
}

async function segment(): Promise<void> {
  if (!opened) return;
  const [now, number] = [opened, frame];
  const begun = performance.now();
  tell(`Segmenting frame ${number + 1} …`);
  await now.infer(number);
  tell(`Frame ${number + 1} is segmented (${((performance.now() - begun) / 1000).toFixed(1)} s).`);
  repaint();
  void list.refresh().catch(() => undefined);
}

let whole: Opened | null = null; // whose frames are being segmented one after the other

async function segmentAll(): Promise<void> {
  if (whole) {
    whole = null; // the same button ends it
    return;
  }
  const now = opened;
  if (!now) return;
  whole = now;
  get("segment-all").textContent = "Stop";
  try {
    for (let number = 0; number < now.said.frames; number++) {
      if (whole !== now || now !== opened) return;
      if (now.said.proposed.includes(number)) continue;
      tell(`Segmenting frame ${number + 1} of ${now.said.frames} …`);
      await now.infer(number);
    }
    tell("All frames are segmented.");
    await now.refresh();
    if (now === opened) {
      await showCurve(now.source, now.said);
      markCurve(frame);
    }
  } finally {
    if (whole === now) whole = null;
    get("segment-all").textContent = "Segment all frames";
    void list.refresh().catch(() => undefined);
  }
}

async function accept(): Promise<void> {
  if (!opened || opened.source.trial) return;
  editor.settle();
  try {
    const frames = await opened.accept(frame);
    tell(opened.said.frames > 1 ? `Final label stored; labelled frames: ${frames.map((f) => f + 1).join(", ")}.` : "Final label stored.", "saved");
  } catch (error) {
    if (error instanceof ServerError && error.status === 409) {
      await opened.refresh(); // what others have done is known from now on
      opened.forget();
      await show(frame);
      fault(new Error(`${error.message} Look at it; Accept again puts yours in its place.`));
      return;
    }
    throw error;
  } finally {
    describe();
    void list.refresh().catch(() => undefined);
  }
}

async function next(): Promise<void> {
  if (opened) await opened.saver.flush();
  const found = await list.next(get<HTMLSelectElement>("strategy").value);
  if (found === null) {
    tell("Every image that can be read has a final label.");
    return;
  }
  const same = opened?.source.image === found.id;
  if (!same) await open({ image: found.id, name: found.id });
  if (found.note) tell(`Chosen by chance: ${found.note}. "Score images" makes the scores.`);
  else if (same) tell("This is the next image already; Accept it, or choose another in the list.");
}

// Waits for the scoring that was begun, and says how it ended.
async function scored(): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const task = await json<{ status: string }>("GET", "/scoring/");
    await list.refresh();
    if (task.status === "SUBMITTED" || task.status === "RUNNING") continue;
    tell(task.status === "DONE" ? "Scored; images that cannot be read have no score." : "The scoring did not end well; the server's log tells why.");
    return;
  }
}

async function tryFile(file: File): Promise<void> {
  tell(`Sending ${file.name} …`);
  const { trial } = await form<{ trial: string }>("PUT", "/page/trial", { file: [file, file.name] });
  tell("");
  await open({ trial, name: file.name });
}

// Corrections

const editor: Editor = new Editor(
  () => (opened && layer ? { opened, frame, layer } : null),
  (box) => {
    viewer.showMask(layer!.mask, box);
    if (!editor.stroking) describe();
  },
  () => {
    if (!opened!.source.trial) tell("Saving …", "saving");
  },
  () => {
    opened!.saver.changed(frame);
    describe();
  },
  fault,
);

async function copy(): Promise<void> {
  if (!opened || !layer || frame + 1 >= opened.said.frames) return;
  const [now, number] = [opened, frame + 1];
  editor.copyTo(await now.layer(number));
  now.saver.changed(number);
  await show(number);
}

function pick(name: Tool): void {
  tool = name;
  for (const button of get("tools").children) button.setAttribute("aria-pressed", String((button as HTMLElement).dataset.tool === name));
  viewer.cursor = null;
  viewer.showHint([]);
  viewer.redraw();
}

// Two versions of one frame

const questions: (() => void)[] = []; // one dialog at a time

function ask(number: number, text: string, kept: Kept | null): void {
  const now = opened!;
  const dialog = get<HTMLDialogElement>("conflict");
  const decided = (work: () => Promise<void>) => () => {
    dialog.close();
    questions.shift();
    void tried(work).finally(() => questions[0]?.());
  };
  questions.push(() => {
    get("conflict-text").textContent = text;
    get("theirs").textContent = kept ? "The server's" : "Show the other one";
    get("mine").textContent = kept ? "The kept drawing" : "Keep mine";
    get("theirs").onclick = decided(async () => {
      await drop(kept ? kept.key : now.saver.key(number));
      await now.refresh();
      now.forget(number);
      now.saver.resolved(number);
      if (now === opened && number === frame) await show(number);
      tell("The other version is shown.");
    });
    get("mine").onclick = decided(async () => {
      await now.refresh();
      const one = await now.layer(number);
      one.revision = now.said.drafts[number] ?? 0;
      now.saver.resolved(number);
      if (kept) now.take(number, kept);
      else now.saver.changed(number);
    });
    dialog.showModal();
  });
  if (questions.length === 1) questions[0]!();
}
get("conflict").addEventListener("cancel", (event) => event.preventDefault()); // it has to be decided

// Window

const customWindow = (): boolean => viewer.look.low !== 0 || viewer.look.high !== 1;

async function rewindow(): Promise<void> {
  if (!opened) return;
  const [now, number] = [opened, frame];
  const pixels = now.frames.has(number);
  if (!pixels) return;
  const values = now.said.deep && customWindow() ? await now.frames.values(number) : undefined;
  if (now === opened && number === frame) viewer.show(pixels, values);
}

function resetWindow(): void {
  viewer.look.low = 0;
  viewer.look.high = 1;
}

function dragWindow(dx: number, dy: number): void {
  const { look } = viewer;
  const width = Math.min(3, Math.max(0.02, (look.high - look.low) * Math.exp(dx / 200)));
  const centre = Math.min(2, Math.max(-1, (look.high + look.low) / 2 + dy / 400));
  look.low = centre - width / 2;
  look.high = centre + width / 2;
  rewindow().catch(fault);
}

// Playing

const player = new Player(
  () => opened?.said.rate ?? 15,
  () => {
    if (!opened) return false;
    const following = (frame + 1) % opened.said.frames;
    opened.frames.ahead(following);
    if (!opened.frames.has(following)) {
      opened.frames.get(following).catch(fault);
      return false;
    }
    show(following).catch(fault);
    return true;
  },
  (playing) => {
    get("play").textContent = playing ? "Stop" : "Play";
    if (!playing) show(frame).catch(fault);
  },
);

// Controls

const TOOLS: [Tool, string, string][] = [
  ["brush", "Brush", "b"], ["eraser", "Eraser", "e"], ["magic", "Magic", "m"], ["pan", "Move", "h"], ["window", "Window", "w"],
];
for (const [name, text] of TOOLS) {
  const button = make("button", text);
  button.type = "button";
  button.dataset.tool = name;
  button.addEventListener("click", () => pick(name));
  get("tools").append(button);
}
pick("brush");

function slide(id: string, step: number): void {
  const slider = input(id);
  slider.value = String(Number(slider.value) + step * Number(slider.step));
  slider.dispatchEvent(new Event("input"));
}

function toggle(id: string): void {
  if (!input(id).disabled) input(id).click();
}

function redrawMask(): void {
  viewer.look.opacity = Number(input("opacity").value);
  viewer.look.contour = input("contour").checked;
  viewer.look.visible = input("visible").checked;
  outputs();
  viewer.redraw();
}

input("threshold").addEventListener("input", () => editor.set({ threshold: Number(input("threshold").value) }));
input("refine").addEventListener("change", () => editor.set({ refine: input("refine").checked }));
for (const id of ["opacity", "contour", "visible"]) input(id).addEventListener("input", redrawMask);
for (const id of ["size", "magic"]) input(id).addEventListener("input", outputs);
input("invert").addEventListener("change", () => {
  viewer.look.inverted = input("invert").checked;
  rewindow().catch(fault);
});
input("frame").addEventListener("input", () => {
  player.stop();
  void tried(() => show(Number(input("frame").value) - 1));
});
input("file").addEventListener("change", () => {
  const file = input("file").files?.[0];
  if (file) void tried(() => tryFile(file));
  input("file").value = "";
});

click("segment", () => tried(segment));
click("segment-all", () => tried(segmentAll));
click("accept", () => tried(accept));
click("next", () => tried(next));
click("undo", () => editor.undo(true));
click("redo", () => editor.undo(false));
click("copy", () => tried(copy));
click("discard", () => editor.discard());
click("play", () => player.toggle());
click("fit", () => viewer.fit());
click("zoom-in", () => viewer.zoom(1.25));
click("zoom-out", () => viewer.zoom(0.8));
click("window-reset", () => {
  resetWindow();
  rewindow().catch(fault);
});
bindExports(tried, tell);
click("help-open", () => get<HTMLDialogElement>("help").showModal());
click("score", () => tried(async () => {
  await json("POST", `/scoring/${scoring(get<HTMLSelectElement>("strategy").value)}`, {});
  tell("Images without a final label are being scored; the scores come into the list.");
  void scored().catch(fault);
}));

let hovered = 0;
listen(viewer, {
  tool: () => tool,
  radius: () => Number(input("size").value),
  begin: (name) => editor.begin(name === "eraser"),
  stroke: (from, to) => editor.stroke(from, to, Number(input("size").value)),
  finish: () => editor.finish(),
  cancel: () => editor.cancel(),
  magic: (at) => {
    viewer.showHint([]);
    if (layer && !layer.levels) {
      fault(new Error("The magic click needs the network's proposal: press Segment first."));
      return;
    }
    const count = editor.magic(at, Number(input("magic").value));
    tell(count > 0 ? `${count} pixels added.` : count < 0 ? `${-count} pixels dropped.` : "There is no piece here at this probability.");
  },
  hover: (at) => {
    cancelAnimationFrame(hovered);
    hovered = requestAnimationFrame(() => viewer.showHint(at ? editor.preview(at, Number(input("magic").value)) : []));
  },
  window: dragWindow,
  resize: (step) => slide("size", step),
  scroll: go,
});

function beside(step: number): void {
  const id = list.beside(step);
  if (id !== undefined) void tried(() => open({ image: id, name: id }));
}

bind([
  ...TOOLS.map(([name, text, key]) => ({ keys: [key], shown: key.toUpperCase(), what: text, work: () => pick(name) })),
  { keys: ["s"], shown: "S", what: "Segment the frame", work: () => tried(segment) },
  { keys: ["a"], shown: "A", what: "Accept", work: () => tried(accept) },
  { keys: ["n"], shown: "N", what: "Next image by strategy", work: () => tried(next) },
  { keys: ["pagedown"], shown: "Page Down", what: "Next image of the list", work: () => beside(1) },
  { keys: ["pageup"], shown: "Page Up", what: "Image before", work: () => beside(-1) },
  { keys: ["ctrl+z"], shown: "Ctrl Z", what: "Undo", work: () => editor.undo(true) },
  { keys: ["ctrl+y", "ctrl+shift+z"], shown: "Ctrl Y", what: "Redo", work: () => editor.undo(false) },
  { keys: ["c"], shown: "C", what: "Copy the mask to the next frame", work: () => tried(copy) },
  { keys: ["d"], shown: "D", what: "Discard corrections", work: () => editor.discard() },
  { keys: ["["], shown: "[", what: "Smaller brush", work: () => slide("size", -1) },
  { keys: ["]"], shown: "]", what: "Larger brush", work: () => slide("size", 1) },
  { keys: ["arrowup"], shown: "↑", what: "Raise the threshold", work: () => input("threshold").disabled || slide("threshold", 1) },
  { keys: ["arrowdown"], shown: "↓", what: "Lower the threshold", work: () => input("threshold").disabled || slide("threshold", -1) },
  { keys: ["shift+arrowup"], shown: "Shift ↑", what: "Raise the level of the magic click", work: () => slide("magic", 1) },
  { keys: ["shift+arrowdown"], shown: "Shift ↓", what: "Lower it", work: () => slide("magic", -1) },
  { keys: ["r"], shown: "R", what: "Refinement on or off", work: () => toggle("refine") },
  { keys: ["arrowleft"], shown: "←", what: "Frame before", work: () => go(-1) },
  { keys: ["arrowright"], shown: "→", what: "Next frame", work: () => go(1) },
  { keys: ["home"], shown: "Home", what: "First frame", work: () => go(-1e6) },
  { keys: ["end"], shown: "End", what: "Last frame", work: () => go(1e6) },
  { keys: [" "], shown: "Space", what: "Play or stop", work: () => opened && opened.said.frames > 1 && player.toggle() },
  { keys: ["f"], shown: "F", what: "Contour or fill", work: () => toggle("contour") },
  { keys: ["v"], shown: "V", what: "Show or hide the mask", work: () => toggle("visible") },
  { keys: ["."], shown: ".", what: "More opaque mask", work: () => slide("opacity", 1) },
  { keys: [","], shown: ",", what: "Less opaque mask", work: () => slide("opacity", -1) },
  { keys: ["i"], shown: "I", what: "Invert", work: () => toggle("invert") },
  { keys: ["+", "="], shown: "+", what: "Zoom in", work: () => viewer.zoom(1.25) },
  { keys: ["-"], shown: "−", what: "Zoom out", work: () => viewer.zoom(0.8) },
  { keys: ["0"], shown: "0", what: "Fit", work: () => viewer.fit() },
  { keys: ["x"], shown: "X", what: "Reset the window", work: () => get("window-reset").click() },
  { keys: ["t"], shown: "T", what: "Training", work: () => get("training-open").click() },
  { keys: ["l"], shown: "L", what: "Light or dark", work: () => get("theme").click() },
  { keys: ["?"], shown: "?", what: "This help", work: () => get<HTMLDialogElement>("help").showModal() },
]);

// Files that are dropped

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const file = event.dataTransfer?.files[0];
  if (file) void tried(() => tryFile(file));
});

// Light and dark

function theme(name: string): void {
  document.documentElement.dataset.theme = name;
  get("theme").textContent = name === "dark" ? "Light" : "Dark";
  localStorage.setItem("casr-theme", name);
}
theme(localStorage.getItem("casr-theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
click("theme", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

// Other weights, or another window: what is shown may be old.

async function reread(): Promise<void> {
  if (!opened || editor.stroking || opened.saver.busy) return;
  const before = JSON.stringify([opened.said.drafts, opened.said.final, opened.said.proposed]);
  const mine = opened.layers.get(frame)?.revision ?? 0;
  await opened.refresh();
  await list.refresh();
  const same = JSON.stringify([opened.said.drafts, opened.said.final, opened.said.proposed]) === before;
  if (same || ((opened.said.drafts[frame] ?? 0) === mine && opened.said.proposed.includes(frame) === !!layer?.levels)) return;
  opened.forget();
  await show(frame);
}

new Training(() => void reread().catch(fault)).look().catch(() => undefined);
window.addEventListener("focus", () => void reread().catch((error) => offline(error) || fault(error)));
setInterval(() => void list.refresh().catch(() => undefined), 15000);

void tried(async () => {
  const where = new URLSearchParams(location.hash.slice(1));
  const [note] = await Promise.all([lookForViewer(), list.refresh(), list.strategies()]);
  if (note) tell(note);
  describe();
  const image = where.get("image");
  if (image) await open({ image, name: image }, Number(where.get("frame") ?? 1) - 1);
});
describe();
