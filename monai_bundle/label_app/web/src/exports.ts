// The final label as DICOM objects, for viewers that show no segmentation of a projection.

import { json, type Described, type Source } from "./api";
import { click, get } from "./dom";

let shown: Source | null = null;

const address = (source: Source, format: string): string => `/page/export?${new URLSearchParams({ image: source.image!, format })}`;

// What the open image allows; to be called whenever it, or its label, may have changed.
export function showExports(source: Source, said: Described): void {
  shown = source;
  get("export").hidden = !(source.image && said.dicom && said.final);
  if (!source.image) return;
  for (const format of ["sc", "gsps"]) get<HTMLAnchorElement>(`export-${format}`).href = address(source, format);
  get("export-store").hidden = !said.study;
}

export function bindExports(tried: (work: () => Promise<unknown>) => Promise<void>, tell: (text: string) => void): void {
  get("export-sc").title = "Secondary Capture: the angiogram with the contour burned in";
  get("export-gsps").title = "Grayscale Softcopy Presentation State: the contour as graphic";
  click("export-store", () => tried(async () => {
    tell("Storing the picture in the PACS …");
    await json("POST", address(shown!, "sc"));
    tell("The picture is stored in the PACS.");
  }));
}
