/** Where the marks of an axis stand: round numbers, round times. Pure. */

import { baseOf } from "./units";

const DURATIONS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

/** The smallest round step that gives at most `most` intervals over a span. */
export function roundStep(span: number, most: number, unit: string): number {
  const { base, factor } = baseOf(unit);
  const least = (span * factor) / Math.max(1, most);
  if (!(least > 0) || !Number.isFinite(least)) return 1 / factor;
  return stepOf(least, base) / factor;
}

/** Round numbers in [min, max]. */
export function valueTicks(min: number, max: number, most: number, unit: string): number[] {
  const step = roundStep(max - min, most, unit);
  const first = Math.ceil(min / step - 1e-9);
  const last = Math.floor(max / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => clean((first + i) * step));
}

const TIME_STEPS_MS = [
  100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5,
];

/** Round local times in [from, to], at most `most` of them. zone: minutes to add to UTC. */
export function timeTicks(from: number, to: number, most: number, zone: number): { readonly step: number; readonly ticks: number[] } {
  const least = (to - from) / Math.max(1, most);
  const step = TIME_STEPS_MS.find((candidate) => candidate >= least) ?? Math.ceil(least / 864e5) * 864e5;
  const shift = zone * 60_000;
  const ticks = [];
  for (let t = Math.ceil((from + shift) / step) * step - shift; t <= to; t += step) ticks.push(t);
  return { step, ticks };
}

/** The label of a time mark, as exact as its step needs. zone: minutes to add to UTC. */
export function timeLabel(time: number, step: number, zone: number): string {
  const local = new Date(time + zone * 60_000).toISOString();
  if (step < 1000) return local.slice(11, 21);
  if (step < 60_000) return local.slice(11, 19);
  return step < 86_400_000 ? local.slice(11, 16) : local.slice(5, 10);
}

/** Minutes that the local clock is ahead of UTC at a time. */
export function localZone(time: number): number {
  return -new Date(time).getTimezoneOffset();
}

function stepOf(least: number, base: 10 | 2 | 60): number {
  if (base === 2) return 2 ** Math.ceil(Math.log2(least) - 1e-9);
  if (base === 60 && least > 1) return DURATIONS.find((step) => step >= least) ?? Math.ceil(least / 86_400) * 86_400;
  const power = 10 ** Math.floor(Math.log10(least));
  const mantissa = least / power;
  return power * (mantissa <= 1 + 1e-9 ? 1 : mantissa <= 2 + 1e-9 ? 2 : mantissa <= 5 + 1e-9 ? 5 : 10);
}

/** 0.30000000000000004 is 0.3. */
function clean(value: number): number {
  return Number(value.toPrecision(12)) + 0;
}
