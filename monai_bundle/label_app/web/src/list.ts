// The images of the folder or the PACS, and which one comes next.

import { bytes, json, words, type Listed } from "./api";
import { get, make } from "./dom";

// The scoring method whose scores a strategy goes by; those that go by none show and make the usual one.
export function scoring(strategy: string): string {
  return /^uncertain_(.+)$/.exec(strategy)?.[1] ?? "tta";
}

const STATES = { new: "new", proposed: "proposed", corrected: "corrected", final: "final" } as const;

export class ImageList {
  studies = "";
  images: Listed[] = [];
  private current = "";
  private readonly rows = new Map<string, HTMLLIElement>();

  constructor(private readonly open: (id: string) => void) {}

  async refresh(): Promise<void> {
    const { studies, images } = await json<{ studies: string; images: Listed[] }>("GET", "/page/images");
    this.studies = studies;
    this.images = images;
    const list = get("list");
    const method = scoring(get<HTMLSelectElement>("strategy").value);
    const ids = new Set(images.map((image) => image.id));
    for (const [id, row] of [...this.rows]) {
      if (!ids.has(id)) {
        row.remove();
        this.rows.delete(id);
      }
    }
    for (const image of images) {
      let row = this.rows.get(image.id);
      if (!row) {
        row = this.row(image.id, image.title);
        this.rows.set(image.id, row);
        list.append(row);
      }
      const button = row.firstElementChild as HTMLButtonElement;
      button.dataset.state = image.state;
      const state = button.querySelector(".state")!;
      state.textContent = image.final && image.state === "corrected" ? "final, changed since" : STATES[image.state];
      const facts = [];
      if (image.frames !== null && image.frames !== 1) facts.push(image.frames ? `${image.frames} frames` : "cannot be read");
      const score = image.scores[method];
      if (score !== undefined) facts.push(`score ${score.toFixed(2)}`);
      button.querySelector(".facts")!.textContent = facts.join(", ");
    }
    const final = images.filter((image) => image.final).length;
    get("count").textContent = `${images.length} images, ${final} final`;
  }

  mark(id: string): void {
    this.current = id;
    for (const [other, row] of this.rows) {
      const button = row.firstElementChild!;
      if (other === id) {
        button.setAttribute("aria-current", "true");
        row.scrollIntoView({ block: "nearest" });
      } else button.removeAttribute("aria-current");
    }
  }

  // The image before (-1) or after (1) the open one in the list.
  beside(step: number): string | undefined {
    const at = this.images.findIndex((image) => image.id === this.current);
    return this.images[at < 0 ? 0 : at + step]?.id;
  }

  // The image that a strategy names, and what there is to say about the choice; null when every image is final.
  async next(strategy: string): Promise<{ id: string; note?: string } | null> {
    const path = `/activelearning/${encodeURIComponent(strategy)}`;
    const { id, note } = await json<{ id?: string; note?: string }>("POST", path, {});
    return id === undefined ? null : { id, note };
  }

  async strategies(): Promise<void> {
    const info = await json<{ strategies: Record<string, string> }>("GET", "/info/");
    const select = get<HTMLSelectElement>("strategy");
    const names: Record<string, string> = {
      uncertain: "uncertainty", uncertain_dropout: "uncertainty (dropout)", uncertain_disagreement: "disagreement",
      uncertain_quality: "promised Dice",
      diverse: "uncertainty and diversity", random: "chance", first: "order of names",
    };
    for (const key of Object.keys(info.strategies)) {
      const option = make("option", names[key] ?? key);
      option.value = key;
      select.append(option);
    }
    if ("first" in info.strategies) select.value = "first";
    select.addEventListener("change", () => void this.refresh().catch(() => undefined));
  }

  private row(id: string, title: string): HTMLLIElement {
    const row = make("li");
    const button = make("button");
    button.type = "button";
    const picture = make("img");
    picture.alt = "";
    picture.loading = "lazy";
    picture.src = `/page/thumbnail?${new URLSearchParams({ image: id })}`;
    picture.addEventListener("error", () => void this.placeholder(picture));
    const text = make("span");
    const name = make("span", title, "name");
    name.title = id;
    text.append(name, make("span", "", "state"), make("span", "", "facts quiet"));
    button.append(picture, text);
    button.addEventListener("click", () => this.open(id));
    row.append(button);
    return row;
  }

  // In place of a picture that there is none of, with the reason.
  private async placeholder(picture: HTMLImageElement): Promise<void> {
    const reason = await bytes(picture.src).then(() => "There is no picture.", words);
    const sign = make("span", "?", "none");
    sign.title = reason;
    sign.setAttribute("role", "img");
    sign.setAttribute("aria-label", reason);
    picture.replaceWith(sign);
  }
}
