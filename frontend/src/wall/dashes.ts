/**
 * Where in its pattern a dashed line begins. A canvas begins a pattern anew at the left end of a path; as the window
 * glides, that end moves from point to point, and dashes that begin anew each time would flicker along the whole line.
 * So the length that left the picture is remembered and skipped. Pure.
 */

import type { Data, Extent } from "./renderer";

export interface Phase {
  /** Time of the point with which the path began. */
  readonly start: number;
  /** Length of path that left the picture, px. */
  readonly skipped: number;
}

/** The phase of a line now. width, height: of the plot, px. */
export function nextPhase(before: Phase | null, data: Data, line: number, extent: Extent, width: number, height: number): Phase {
  const values = data.values[line] ?? [];
  const first = firstDrawn(data.times, values, extent.from);
  const start = data.times[first] ?? extent.from;
  if (before === null || start <= before.start) return { start, skipped: before?.skipped ?? 0 };
  const perMs = width / (extent.to - extent.from);
  const perUnit = height / (extent.max - extent.min);
  let length = 0;
  let at = -1;
  for (let i = 0; i <= first; i++) {
    const value = values[i] ?? null;
    if (value === null || (data.times[i] ?? 0) < before.start) continue;
    if (at >= 0) length += Math.hypot(((data.times[i] ?? 0) - (data.times[at] ?? 0)) * perMs, (value - (values[at] ?? 0)) * perUnit);
    at = i;
  }
  return { start, skipped: before.skipped + length };
}

/** Index of the first point that is drawn: the last one before the left edge, so that the line enters from outside. */
function firstDrawn(times: readonly number[], values: Data["values"][number], from: number): number {
  let index = times.findIndex((time) => time >= from);
  index = index < 0 ? times.length - 1 : Math.max(0, index - 1);
  while (index > 0 && (values[index] ?? null) === null) index--;
  return index;
}
