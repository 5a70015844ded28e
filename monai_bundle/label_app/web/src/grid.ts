// Masks as plain arrays: strokes, connected pieces, outlines. Row by row, 0 and 1.

export interface Box {
  left: number;
  top: number;
  right: number; // one past the last
  bottom: number;
}

export interface Point {
  x: number;
  y: number;
}

// Pixels whose centre is within the radius of a segment: a stroke has no gaps, however fast the pen was.
export function strokeBox(from: Point, to: Point, radius: number, columns: number, rows: number): Box {
  return {
    left: Math.max(0, Math.floor(Math.min(from.x, to.x) - radius)),
    top: Math.max(0, Math.floor(Math.min(from.y, to.y) - radius)),
    right: Math.min(columns, Math.ceil(Math.max(from.x, to.x) + radius) + 1),
    bottom: Math.min(rows, Math.ceil(Math.max(from.y, to.y) + radius) + 1),
  };
}

export function paint(target: Uint8Array, value: number, from: Point, to: Point, radius: number, columns: number, rows: number): Box {
  const box = strokeBox(from, to, radius, columns, rows);
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const length = dx * dx + dy * dy;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) {
      const along = length ? Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / length)) : 0;
      const ox = x - from.x - along * dx;
      const oy = y - from.y - along * dy;
      if (ox * ox + oy * oy <= radius * radius) target[y * columns + x] = value;
    }
  }
  return box;
}

// The 8-connected piece of the pixels that satisfy a condition, from a start on; empty if the start does not.
export function piece(inside: (index: number) => boolean, start: number, columns: number, rows: number): number[] {
  if (!inside(start)) return [];
  const seen = new Uint8Array(columns * rows);
  const found = [start];
  seen[start] = 1;
  for (let next = 0; next < found.length; next++) {
    const index = found[next]!;
    const x = index % columns;
    const y = (index - x) / columns;
    for (let v = Math.max(0, y - 1); v <= Math.min(rows - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(columns - 1, x + 1); u++) {
        const other = v * columns + u;
        if (!seen[other] && inside(other)) {
          seen[other] = 1;
          found.push(other);
        }
      }
    }
  }
  return found;
}

// The nearest pixel that satisfies a condition, within a distance; -1 for none.
export function nearest(inside: (index: number) => boolean, at: Point, distance: number, columns: number, rows: number): number {
  let best = -1;
  let least = distance * distance + 1;
  const x0 = Math.round(at.x);
  const y0 = Math.round(at.y);
  for (let y = Math.max(0, y0 - distance); y <= Math.min(rows - 1, y0 + distance); y++) {
    for (let x = Math.max(0, x0 - distance); x <= Math.min(columns - 1, x0 + distance); x++) {
      const away = (x - x0) ** 2 + (y - y0) ** 2;
      if (away < least && inside(y * columns + x)) {
        least = away;
        best = y * columns + x;
      }
    }
  }
  return best;
}

// What a click means: the piece of the probability from a level on that holds it. On the mask, the piece is dropped,
// with the rim below that level that would be left around it; beside it, it is added.
export function magic(
  mask: Uint8Array, levels: Uint8Array, level: number, at: Point, columns: number, rows: number,
): { add: boolean; pixels: number[] } {
  const onMask = nearest((i) => mask[i] === 1, at, 2, columns, rows);
  if (onMask >= 0) {
    const start = nearest((i) => mask[i] === 1 && levels[i]! >= level, at, 4, columns, rows);
    const core = start >= 0
      ? piece((i) => mask[i] === 1 && levels[i]! >= level, start, columns, rows)
      : piece((i) => mask[i] === 1 && levels[i]! < level, onMask, columns, rows);
    return { add: false, pixels: start >= 0 ? withRim(core, mask, levels, level, columns, rows) : core };
  }
  const start = nearest((i) => levels[i]! >= level, at, 4, columns, rows);
  return { add: true, pixels: start < 0 ? [] : piece((i) => levels[i]! >= level, start, columns, rows) };
}

const RIM = 4; // pixels

function withRim(core: number[], mask: Uint8Array, levels: Uint8Array, level: number, columns: number, rows: number): number[] {
  const taken = new Set(core);
  let edge = core;
  for (let step = 0; step < RIM && edge.length; step++) {
    const next: number[] = [];
    for (const index of edge) {
      const x = index % columns;
      const y = (index - x) / columns;
      for (let v = Math.max(0, y - 1); v <= Math.min(rows - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(columns - 1, x + 1); u++) {
          const other = v * columns + u;
          if (mask[other] && levels[other]! < level && !taken.has(other)) {
            taken.add(other);
            next.push(other);
          }
        }
      }
    }
    edge = next;
  }
  return [...taken];
}

// The border of a mask, between pixels, in coordinates in which a pixel's upper left corner is whole.
export function outline(mask: Uint8Array, columns: number, rows: number): Path2D {
  const path = new Path2D();
  const at = (x: number, y: number): number => (x >= 0 && y >= 0 && x < columns && y < rows ? mask[y * columns + x]! : 0);
  for (let y = 0; y <= rows; y++) {
    let from = -1;
    for (let x = 0; x <= columns; x++) {
      const differs = x < columns && at(x, y) !== at(x, y - 1);
      if (differs && from < 0) from = x;
      if (!differs && from >= 0) {
        path.moveTo(from, y);
        path.lineTo(x, y);
        from = -1;
      }
    }
  }
  for (let x = 0; x <= columns; x++) {
    let from = -1;
    for (let y = 0; y <= rows; y++) {
      const differs = y < rows && at(x, y) !== at(x - 1, y);
      if (differs && from < 0) from = y;
      if (!differs && from >= 0) {
        path.moveTo(x, from);
        path.lineTo(x, y);
        from = -1;
      }
    }
  }
  return path;
}
