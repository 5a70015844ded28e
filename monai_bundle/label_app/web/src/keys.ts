// Every action has a key; the help panel lists them.

import { get, make } from "./dom";

export interface Key {
  keys: string[]; // as KeyboardEvent.key says, in lower case; with "ctrl+" and "shift+"
  shown: string;
  what: string;
  work: () => unknown;
}

export function bind(all: Key[]): void {
  const list = get("keys");
  for (const one of all) list.append(make("dt", one.shown), make("dd", one.what));
  const work = new Map(all.flatMap((one) => one.keys.map((key) => [key, one.work] as const)));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || document.querySelector("dialog[open]")) return;
    const target = event.target as HTMLElement;
    // What lies in a panel that has just been closed keeps the focus until the page is drawn again.
    const typing = target.matches("input[type=number], input[type=text], select, textarea") && target.checkVisibility();
    if (typing) return;
    // Sliders and buttons keep the keys that move or press them.
    const own = target.matches("input[type=range]") && /^(arrow|page|home|end)/i.test(event.key);
    const presses = target.matches("button, summary, a, input[type=checkbox], input[type=file]") && /^( |enter)$/i.test(event.key);
    if (own || presses) return;
    const name = event.key.toLowerCase();
    const letter = name.length > 1 || /[a-z]/.test(name); // of other signs, shift is part of them
    const key = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.shiftKey && letter ? "shift+" : ""}${name}`;
    const found = work.get(key);
    if (!found) return;
    event.preventDefault();
    void found();
  });
}
