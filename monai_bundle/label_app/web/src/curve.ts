// The contrast curve of a cine under its slider, where the server gives one.

import { json, query, type Described, type Source } from "./api";
import { get } from "./dom";

interface Curve {
  count: number;
  frames: number[];
  opacity: number[];
}

const SPACE = "http://www.w3.org/2000/svg";

export async function showCurve(source: Source, said: Described): Promise<void> {
  const svg = get<SVGSVGElement>("curve");
  svg.setAttribute("hidden", "");
  svg.replaceChildren();
  if (!said.curve) return;
  const curve = await json<Curve>("GET", `/page/curve?${query(source)}`).catch(() => null);
  if (!curve || curve.frames.length < 2) return;
  svg.setAttribute("viewBox", `0 -0.05 ${curve.count - 1} 1.1`);
  const path = document.createElementNS(SPACE, "path");
  path.setAttribute("d", curve.frames.map((frame, i) => `${i ? "L" : "M"}${frame} ${1 - curve.opacity[i]!}`).join(""));
  const line = document.createElementNS(SPACE, "line");
  line.setAttribute("y1", "0");
  line.setAttribute("y2", "1");
  svg.append(path, line);
  svg.removeAttribute("hidden");
}

export function markCurve(frame: number): void {
  const line = get<SVGSVGElement>("curve").querySelector("line");
  line?.setAttribute("x1", String(frame));
  line?.setAttribute("x2", String(frame));
}
