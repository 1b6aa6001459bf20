/**
 * Numbers as a person reads them: three significant digits, a prefix that fits, a unit. Pure; nothing of the page.
 */

export interface Formatted {
  readonly text: string;
  /** Prefix and unit, such as "kB/s"; may be empty. */
  readonly suffix: string;
}

interface Step {
  readonly from: number;
  readonly suffix: string;
}

/** How a unit is written. steps: ascending; a value is divided by the last `from` that it reaches. */
interface Unit {
  readonly factor: number;
  readonly steps: readonly Step[];
  /** Decimals that never change, for units whose readers compare; null: three significant digits. */
  readonly fixed: number | null;
  /** What round numbers are multiples of: 10, 2 (bytes) or 60 (time). */
  readonly base: 10 | 2 | 60;
}

const SI = ["", "k", "M", "G", "T", "P", "E"];
const IEC = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const TIME: readonly Step[] = [
  { from: 1e-9, suffix: "ns" },
  { from: 1e-6, suffix: "µs" },
  { from: 1e-3, suffix: "ms" },
  { from: 1, suffix: "s" },
  { from: 60, suffix: "min" },
  { from: 3600, suffix: "h" },
  { from: 86_400, suffix: "d" },
];

const UNITS: Readonly<Record<string, Unit>> = {
  none: single(1, "", null),
  short: prefixed(SI, 1000, ""),
  percent: single(1, "%", 1),
  percentunit: single(100, "%", 1),
  bytes: { ...prefixed(IEC, 1024, "B"), base: 2 },
  decbytes: prefixed(SI, 1000, "B"),
  Bps: prefixed(SI, 1000, "B/s"),
  bps: prefixed(SI, 1000, "bit/s"),
  ops: prefixed(SI, 1000, "op/s"),
  reqps: prefixed(SI, 1000, "req/s"),
  hertz: prefixed(SI, 1000, "Hz"),
  celsius: single(1, "°C", 1),
  s: { factor: 1, steps: TIME, fixed: null, base: 60 },
  ms: { factor: 1e-3, steps: TIME, fixed: null, base: 60 },
  us: { factor: 1e-6, steps: TIME, fixed: null, base: 60 },
  ns: { factor: 1e-9, steps: TIME, fixed: null, base: 60 },
};

const NARROW_SPACE = "\u202f";
const MINUS = "\u2212";

/** A value in its unit. decimals: as the author fixed them, or null. No value (NaN) is a dash. */
export function format(value: number, unit: string, decimals: number | null = null): Formatted {
  if (!Number.isFinite(value)) return { text: "–", suffix: "" };
  const known = unitOf(unit);
  const scaled = value * known.factor;
  let at = stepFor(known, Math.abs(scaled));
  let digits = decimals ?? digitsFor(known, scaled / divisor(known, at));
  const next = known.steps[at + 1];
  // 999.96 kB is written 1.00 MB, not 1000 kB.
  if (next !== undefined && Number((Math.abs(scaled) / divisor(known, at)).toFixed(digits)) >= next.from / divisor(known, at)) {
    at += 1;
    digits = decimals ?? digitsFor(known, scaled / divisor(known, at));
  }
  return { text: digitsOf(scaled / divisor(known, at), digits), suffix: known.steps[at]?.suffix ?? "" };
}

/** The same as one text. */
export function formatText(value: number, unit: string, decimals: number | null = null): string {
  return join(format(value, unit, decimals));
}

/** Labels of an axis: one prefix for all of them, and as many decimals as tell neighbours apart. */
export function axisLabels(ticks: readonly number[], unit: string): string[] {
  const known = unitOf(unit);
  const scaled = ticks.map((tick) => tick * known.factor);
  const largest = scaled.reduce((most, tick) => Math.max(most, Math.abs(tick)), 0);
  const at = stepFor(known, largest);
  const values = scaled.map((tick) => tick / divisor(known, at));
  const apart = values.length > 1 ? Math.abs((values[1] ?? 0) - (values[0] ?? 0)) : largest;
  let digits = 0;
  while (digits < 6 && values.some((value) => Math.abs(Number(value.toFixed(digits)) - value) > apart * 1e-3)) digits++;
  return values.map((value) => join({ text: digitsOf(value, digits), suffix: known.steps[at]?.suffix ?? "" }));
}

/** What round numbers of a unit are, and what one of it is in the unit's own base (percent: 0.01). */
export function baseOf(unit: string): { readonly base: 10 | 2 | 60; readonly factor: number } {
  const { base, factor } = unitOf(unit);
  return { base, factor };
}

/** "14 s", "3 min", "2 h": an age as it is said. */
export function formatAge(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  return formatSpan(ms);
}

/** Whole units only: "14 s", "3 min". */
export function formatSpan(ms: number): string {
  const s = Math.floor(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`;
}

function join({ text, suffix }: Formatted): string {
  return suffix === "" ? text : text + NARROW_SPACE + suffix;
}

function unitOf(name: string): Unit {
  return UNITS[name] ?? (name === "" ? single(1, "", null) : single(1, name, null));
}

function single(factor: number, suffix: string, fixed: number | null): Unit {
  return { factor, steps: [{ from: 1, suffix }], fixed, base: 10 };
}

function prefixed(prefixes: readonly string[], base: number, unit: string): Unit {
  return { factor: 1, steps: prefixes.map((prefix, i) => ({ from: base ** i, suffix: prefix + unit })), fixed: null, base: 10 };
}

function stepFor(unit: Unit, magnitude: number): number {
  if (magnitude === 0) return Math.max(0, unit.steps.findIndex((step) => step.from === 1));
  return Math.max(0, unit.steps.findLastIndex((step) => magnitude >= step.from * (1 - 1e-12)));
}

function divisor(unit: Unit, at: number): number {
  return unit.steps[at]?.from ?? 1;
}

function digitsFor(unit: Unit, value: number): number {
  if (unit.fixed !== null) return unit.fixed;
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return 0;
  const magnitude = Number(Math.abs(value).toPrecision(3)); // 9.996 is written 10.0
  if (magnitude >= 100) return 0;
  if (magnitude >= 10) return 1;
  return magnitude >= 1 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(magnitude)));
}

function digitsOf(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  const grouped = Math.abs(value) >= 10_000 ? text.replace(/\B(?=(\d{3})+(?!\d))/g, NARROW_SPACE) : text;
  return value < 0 && Number(text) !== 0 ? MINUS + grouped : grouped;
}
