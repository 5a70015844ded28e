// Mouse, pen and fingers on the canvas.

import type { Point } from "./grid";
import type { Viewer } from "./viewer";

export type Tool = "brush" | "eraser" | "magic" | "pan" | "window";

export interface Hand {
  tool(): Tool;
  radius(): number;
  begin(tool: "brush" | "eraser", at: Point): void;
  stroke(from: Point, to: Point): void;
  finish(): void;
  cancel(): void;
  magic(at: Point): void;
  hover(at: Point | null): void;
  window(dx: number, dy: number): void;
  resize(step: number): void;
  scroll(step: number): void;
}

export function listen(viewer: Viewer, hand: Hand): void {
  const canvas = viewer.canvas;
  const fingers = new Map<number, Point>();
  let doing: "stroke" | "pan" | "window" | "pinch" | null = null;
  let last: Point = { x: 0, y: 0 };

  const place = (event: PointerEvent | WheelEvent): Point => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  const cursor = (at: Point | null): void => {
    const tool = hand.tool();
    const brush = tool === "brush" || tool === "eraser";
    viewer.cursor = at && brush ? { at: viewer.toImage(at), radius: hand.radius() } : null;
    hand.hover(at && tool === "magic" ? viewer.toImage(at) : null);
    viewer.redraw();
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    const at = place(event);
    fingers.set(event.pointerId, at);
    canvas.setPointerCapture(event.pointerId);
    if (fingers.size === 2) {
      if (doing === "stroke") hand.cancel(); // a first finger is no stroke if a second one follows
      doing = "pinch";
      return;
    }
    if (fingers.size > 2) return;
    last = at;
    const eraser = event.pointerType === "pen" && (event.buttons & 32) !== 0;
    const tool = eraser ? "eraser" : event.button === 1 ? "pan" : event.button === 2 ? "window" : hand.tool();
    if (tool === "pan" || tool === "window") doing = tool;
    else if (tool === "magic") hand.magic(viewer.toImage(at));
    else {
      doing = "stroke";
      const point = viewer.toImage(at);
      hand.begin(tool, point);
      hand.stroke(point, point);
    }
    event.preventDefault();
  });

  canvas.addEventListener("pointermove", (event) => {
    const at = place(event);
    const before = fingers.get(event.pointerId);
    if (before && doing === "pinch") {
      const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, at);
      if (!other) return;
      const spread = (a: Point): number => Math.hypot(a.x - other.x, a.y - other.y) || 1;
      viewer.zoom(spread(at) / spread(before), { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
      viewer.pan((at.x - before.x) / 2, (at.y - before.y) / 2);
      return;
    }
    if (before) fingers.set(event.pointerId, at);
    if (doing === "stroke") {
      for (const one of event.getCoalescedEvents?.() ?? [event]) {
        const next = place(one);
        hand.stroke(viewer.toImage(last), viewer.toImage(next));
        last = next;
      }
      if (last.x !== at.x || last.y !== at.y) hand.stroke(viewer.toImage(last), viewer.toImage(at));
    } else if (doing === "pan") viewer.pan(at.x - last.x, at.y - last.y);
    else if (doing === "window") hand.window(at.x - last.x, at.y - last.y);
    last = at;
    cursor(at);
  });

  const end = (event: PointerEvent): void => {
    fingers.delete(event.pointerId);
    if (doing === "stroke") {
      if (event.type === "pointercancel") hand.cancel();
      else hand.finish();
    }
    if (doing !== "pinch" || !fingers.size) doing = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => cursor(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const step = -Math.sign(event.deltaY || event.deltaX);
    const tool = hand.tool();
    if (event.shiftKey) hand.scroll(-step);
    else if (!event.ctrlKey && (tool === "brush" || tool === "eraser")) hand.resize(step);
    else viewer.zoom(1.15 ** step, place(event));
    cursor(place(event));
  }, { passive: false });
}
