import { describe, expect, test } from "vitest";
import { nextRange, roundRange, type Range } from "../src/wall/range";
import { roundStep, timeLabel, timeTicks, valueTicks } from "../src/wall/ticks";

const MiB = 1024 * 1024;

test.each<readonly [number, number, number, string, readonly number[]]>([
  [0, 1, 5, "percentunit", [0, 0.2, 0.4, 0.6, 0.8, 1]],
  [0, 1, 2, "none", [0, 0.5, 1]],
  [0, 7.3, 5, "none", [0, 2, 4, 6]],
  [-3, 3, 6, "none", [-3, -2, -1, 0, 1, 2, 3]],
  [0, 4 * MiB, 4, "bytes", [0, MiB, 2 * MiB, 3 * MiB, 4 * MiB]],
  [0, 4e6, 4, "decbytes", [0, 1e6, 2e6, 3e6, 4e6]],
  [0, 120, 4, "s", [0, 30, 60, 90, 120]],
  [0, 0.3, 3, "none", [0, 0.1, 0.2, 0.3]],
])("marks of %d to %d, at most %i intervals, in %s", (min, max, most, unit, ticks) => {
  expect(valueTicks(min, max, most, unit)).toEqual(ticks);
});

test("there are never more intervals than fit, whatever the span", () => {
  for (const unit of ["none", "bytes", "s", "percentunit"]) {
    for (let exponent = -6; exponent < 12; exponent += 0.37) {
      const span = 10 ** exponent;
      expect(valueTicks(0, span, 5, unit).length).toBeLessThanOrEqual(6);
      expect(roundStep(span, 5, unit)).toBeGreaterThanOrEqual(span / 5 - 1e-12 * span);
    }
  }
});

describe("times", () => {
  const FROM = Date.UTC(2026, 10, 22, 22, 41, 7);
  test("stand on round local times", () => {
    const { step, ticks } = timeTicks(FROM, FROM + 300_000, 5, 60);
    expect(step).toBe(60_000);
    expect(ticks.map((tick) => timeLabel(tick, step, 60))).toEqual(["23:42", "23:43", "23:44", "23:45", "23:46"]);
  });
  test("a zone of half an hour moves whole hours", () => {
    const { ticks } = timeTicks(FROM, FROM + 4 * 3_600_000, 4, 330);
    expect(ticks.map((tick) => timeLabel(tick, 3_600_000, 330))).toEqual(["05:00", "06:00", "07:00", "08:00"]);
  });
  test.each([
    [100, "22:41:07.0"],
    [5000, "22:41:07"],
    [60_000, "22:41"],
    [86_400_000, "11-22"],
  ])("a step of %i ms is written %s", (step, label) => expect(timeLabel(FROM, step, 0)).toBe(label));
});

describe("a range", () => {
  const limits = { min: null, max: null, unit: "none" };
  test.each<readonly [string, number, number, object, readonly [number, number]]>([
    ["starts at zero", 3, 9, {}, [0, 10]],
    ["leaves zero where the data is far from it", 96, 100, {}, [96, 100]],
    ["keeps to what the author says", 3, 9, { min: 0, max: 100 }, [0, 100]],
    ["of one value has room", 50, 50, {}, [44, 56]],
    ["of nothing is there", NaN, NaN, {}, [0, 1]],
    ["of zero is there", 0, 0, {}, [0, 1]],
    ["goes below zero", -4, 4, {}, [-4, 4]],
  ])("%s", (_, low, high, more, [min, max]) => {
    const range = roundRange(low, high, { ...limits, ...more });
    expect(range.min).toBeCloseTo(min);
    expect(range.max).toBeCloseTo(max);
  });

  const run = (highs: readonly (readonly [now: number, high: number])[]): Range | null =>
    highs.reduce<Range | null>((range, [now, high]) => nextRange(range, 0, high, limits, now), null);

  test("widens at once", () => expect(run([[0, 9], [10, 95]])?.max).toBe(100));
  test("does not shrink within 2 s", () => expect(run([[0, 95], [10, 9], [1900, 9]])?.max).toBe(100));
  test("shrinks after 2 s", () => expect(run([[0, 95], [10, 9], [2010, 9]])?.max).toBe(10));
  test("a peak in between begins the wait anew", () => expect(run([[0, 95], [10, 9], [1900, 95], [1910, 9], [3000, 9]])?.max).toBe(100));
});
