// The way to OHIF, for images of a PACS.

import { json, type Described } from "./api";
import { get } from "./dom";

let there = false;

// Ask whether the server has the viewer; gives a sentence where it is not the known one.
export async function lookForViewer(): Promise<string> {
  const { ohif, unchanged } = await json<{ ohif: boolean; unchanged: string[] }>("GET", "/page/viewer");
  there = ohif;
  return ohif && unchanged.length
    ? `OHIF is not the version that this server knows (${unchanged.join(", ")}): it is served unchanged, and its MONAI Label panel may not work with angiograms.`
    : "";
}

export function linkViewer(said: Described): void {
  const link = get<HTMLAnchorElement>("ohif");
  link.hidden = !there || !said.study;
  if (said.study) link.href = `/ohif/monai-label?${new URLSearchParams({ StudyInstanceUIDs: said.study })}`;
}
