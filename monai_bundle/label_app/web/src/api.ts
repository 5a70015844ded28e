// Requests to the server. Every failure becomes a ServerError with a sentence for people.

export class ServerError extends Error {
  constructor(
    readonly status: number, // of HTTP; 0: the server was not reached
    message: string,
  ) {
    super(message);
  }
}

export const offline = (error: unknown): boolean => error instanceof ServerError && (error.status === 0 || error.status === 503 || error.status === 504);

export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function ask(method: string, path: string, body?: BodyInit, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = typeof body === "string" ? { "Content-Type": "application/json" } : {};
  let answer: Response;
  try {
    answer = await fetch(path, { method, body, headers, signal, credentials: "same-origin" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ServerError(0, "The server cannot be reached.");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(`/${location.hash}`)}`);
    throw new ServerError(401, "Please log in.");
  }
  throw new ServerError(answer.status, await reason(answer));
}

async function reason(answer: Response): Promise<string> {
  try {
    const { detail } = (await answer.json()) as { detail?: unknown };
    if (typeof detail === "string" && detail) return detail;
  } catch {
    // no JSON: a proxy in between, or a server that is going down
  }
  return `The server answers with an error (${answer.status}).`;
}

export async function json<T>(method: string, path: string, values?: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await ask(method, path, values === undefined ? undefined : JSON.stringify(values), signal);
  return (await answer.json()) as T;
}

export async function form<T>(method: string, path: string, fields: Record<string, string | [Blob, string]>): Promise<T> {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === "string") data.append(name, value);
    else data.append(name, value[0], value[1]);
  }
  return (await (await ask(method, path, data)).json()) as T;
}

export async function bytes(path: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await ask("GET", path, undefined, signal)).arrayBuffer();
}

// An 8 bit grey PNG as bytes, row by row.
export async function grey(path: string, signal?: AbortSignal): Promise<{ pixels: Uint8Array; answer: Response }> {
  const answer = await ask("GET", path, undefined, signal);
  return { pixels: await decode(await answer.blob()), answer };
}

async function decode(blob: Blob): Promise<Uint8Array> {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  const pixels = new Uint8Array(rgba.length);
  for (let i = 0; i < rgba.length; i++) pixels[i] = rgba[i]! & 255;
  return pixels;
}

// A mask (0 and 1) as PNG.
export async function maskBlob(mask: Uint8Array, columns: number, rows: number): Promise<Blob> {
  const canvas = new OffscreenCanvas(columns, rows);
  const image = new ImageData(columns, rows);
  const rgba = new Uint32Array(image.data.buffer);
  for (let i = 0; i < mask.length; i++) rgba[i] = mask[i] ? 0xffffffff : 0xff000000;
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

export interface Listed {
  id: string;
  title: string; // for people; of an image of a PACS its id is a UID
  state: "new" | "proposed" | "corrected" | "final";
  scores: Record<string, number>; // by the names of the scoring methods
  final: boolean;
  frames: number | null;
}

export interface Described {
  id: string | null;
  title: string | null;
  frames: number;
  columns: number;
  rows: number;
  rate: number;
  deep: boolean;
  curve?: boolean; // whether the server has a contrast curve
  drafts: Record<string, number>;
  proposed: number[];
  final: { frames: number[]; stamp: string } | null;
  study?: string | null; // of an image of a PACS
  dicom?: boolean; // whether objects for other viewers can be derived from it
  warnings: string[];
}

// What is open: an image of the datastore, or a file that is only tried.
export interface Source {
  image?: string;
  trial?: string;
  name: string;
}

export function query(source: Source, more: Record<string, string | number | boolean> = {}): string {
  const values = new URLSearchParams(source.trial ? { trial: source.trial } : { image: source.image! });
  for (const [name, value] of Object.entries(more)) values.set(name, String(value));
  return values.toString();
}
