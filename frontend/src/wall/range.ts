/**
 * The range of a y axis over time: it widens at once, and shrinks only when less has been enough for a while,
 * so that the axis does not pump with every peak. Pure: the time is an argument.
 */

import { roundStep } from "./ticks";

export interface Range {
  readonly min: number;
  readonly max: number;
  /** Since when a smaller range would do, local ms; null when it would not. */
  readonly slackSince: number | null;
}

export interface Limits {
  readonly min: number | null;
  readonly max: number | null;
  readonly unit: string;
}

const SHRINK_AFTER_MS = 2000;
const INTERVALS = 5;

/** The range to draw now. low, high: what the data spans (NaN when there is none). */
export function nextRange(before: Range | null, low: number, high: number, limits: Limits, now: number): Range {
  const wanted = roundRange(low, high, limits);
  if (before === null) return { ...wanted, slackSince: null };
  if (wanted.min < before.min || wanted.max > before.max) {
    return { min: Math.min(wanted.min, before.min), max: Math.max(wanted.max, before.max), slackSince: null };
  }
  if (wanted.min === before.min && wanted.max === before.max) return { ...wanted, slackSince: null };
  const slackSince = before.slackSince ?? now;
  return now - slackSince >= SHRINK_AFTER_MS ? { ...wanted, slackSince: null } : { ...before, slackSince };
}

/** Round ends around the data. It starts at zero unless the data lies far from it. */
export function roundRange(low: number, high: number, limits: Limits): { readonly min: number; readonly max: number } {
  let from = Number.isFinite(low) ? low : 0;
  let to = Number.isFinite(high) ? high : 1;
  if (from >= 0 && from < to * 0.75) from = 0;
  if (to <= 0 && to > from * 0.75) to = 0;
  if (from === to) {
    const room = Math.abs(from) * 0.1 || 1;
    from = from === 0 ? 0 : from - room;
    to += room;
  }
  const step = roundStep(to - from, INTERVALS, limits.unit);
  const min = limits.min ?? Math.floor(from / step + 1e-9) * step;
  const max = limits.max ?? Math.ceil(to / step - 1e-9) * step;
  return { min, max: max > min ? max : min + step };
}
