import { describe, expect, test } from "vitest";
import { applyDelta } from "../src/live/store";
import { align } from "../src/wall/align";
import { nextPhase } from "../src/wall/dashes";
import { freshness, newestOf } from "../src/wall/freshness";
import { choice } from "../src/wall/panels/legend";
import { expectedInterval, seriesOf, shownOf } from "../src/wall/series";
import { stateOf, stretches, worst } from "../src/wall/thresholds";
import { metricsOf } from "../src/wall/waiting";
import { delta, panel, part, state, T, view } from "./messages";

const cpus = (n: number) => Array.from({ length: n }, (_, i) => [i, { cpu: String(i) }] as const);
const namesOf = (partial: Parameters<typeof panel>[0], groups: Parameters<typeof view>[0]) => {
  const shown = panel(partial);
  return seriesOf(state({ panels: [shown], views: [view(groups), view({ ...groups, id: "v1" })] }), shown).map(({ name }) => name);
};

describe("names", () => {
  const twelve = { groups: cpus(12), cells: [[T, Array.from({ length: 12 }, (_, i) => i), Array.from({ length: 12 }, () => 1)]] as const };
  const one = { groups: [[0, { host: "a", cpu: "0" }]] as const, cells: [[T, [0], [1]]] as const };
  const bare = { cells: [[T, [0], [1]]] as const };
  test("come from the template, in natural order", () => {
    expect(namesOf({ legend: "core {cpu}" }, twelve).slice(-3)).toEqual(["core 9", "core 10", "core 11"]);
  });
  test("are the labels without one", () => expect(namesOf({}, one)).toEqual(["a · 0"]));
  test("are the panel's title when there is nothing else", () => expect(namesOf({ title: "Load" }, bare)).toEqual(["Load"]));
  test("tell several functions apart", () => {
    const lines = [{ query: "a", fn: "p50", view: 0 }, { query: "a", fn: "p99", view: 1 }];
    expect(namesOf({ lines }, bare)).toEqual(["p50", "p99"]);
  });
  test("tell several queries apart, unless the template does", () => {
    const lines = [{ query: "rx", fn: "rate", view: 0 }, { query: "tx", fn: "rate", view: 1 }];
    expect(namesOf({ lines, legend: "{cpu}" }, one)).toEqual(["0 · rx", "0 · tx"]);
    expect(namesOf({ lines, legend: "{query} of {cpu}" }, one)).toEqual(["rx of 0", "tx of 0"]);
  });
});

describe("the current value", () => {
  const current = (partial: Parameters<typeof view>[0]) => {
    const held = state({ views: [view(partial)] });
    return shownOf(held, panel()).map((each) => each.current);
  };
  test("is the newest", () => {
    expect(current({ cells: [[T - 1000, [0], [1]], [T, [0], [2]]] })).toEqual([{ value: 2, time: T, fresh: true }]);
  });
  test("of an additive view is the last closed one", () => {
    expect(current({ additive: true, closed: T, cells: [[T - 1000, [0], [5]], [T, [0], [1]]] })).toEqual([{ value: 5, time: T - 1000, fresh: true }]);
  });
  test("passes over buckets without a value", () => {
    expect(current({ cells: [[T - 1000, [0], [1]], [T, [0], [null]]] })).toEqual([{ value: 1, time: T - 1000, fresh: true }]);
  });
  test("of a group that is reported no more is not fresh", () => {
    const groups = [[0, { p: "old" }], [1, { p: "new" }]] as const;
    const cells = [[T - 9000, [0, 1], [1, 1]], [T - 1000, [1], [1]], [T, [1], [2]]] as const;
    expect(current({ groups, cells }).map((each) => each?.fresh)).toEqual([true, false]); // "new" before "old"
  });
  test("of an additive view with only its open bucket is none", () => {
    expect(current({ additive: true, closed: T, cells: [[T, [0], [1]]] })).toEqual([null]);
  });
});

describe("age", () => {
  const cells = (every: number) => Array.from({ length: 8 }, (_, i) => [T - (7 - i) * every, [0], [1]] as const);
  const ageAt = (every: number, now: number) => {
    const newest = newestOf(state({ views: [view({ cells: cells(every) })] }), panel());
    return newest === null ? null : freshness(newest, now);
  };
  test("counts from the end of the newest bucket", () => expect(ageAt(1000, T + 1500)).toEqual({ age: 500, stale: false }));
  test("of a source that comes every second is stale after 2 s", () => {
    expect(ageAt(1000, T + 3000)?.stale).toBe(false);
    expect(ageAt(1000, T + 3001)).toEqual({ age: 2001, stale: true });
  });
  test("of a source that comes every 5 s in buckets of 1 s is stale after 10 s", () => {
    expect(state({ views: [view({ cells: cells(5000) })] }).views.map(expectedInterval)).toEqual([5000]);
    expect(ageAt(5000, T + 11_000)?.stale).toBe(false);
    expect(ageAt(5000, T + 11_001)?.stale).toBe(true);
  });
  test("of nothing is nothing", () => expect(newestOf(state(), panel())).toBeNull());
});

describe("rows of a plot", () => {
  const rows = (cells: Parameters<typeof view>[0], shown?: string[]) => {
    const held = state({ now: T, views: [view({ window: 10_000, ...cells })] });
    const series = seriesOf(held, panel());
    return align(series, new Set(shown ?? series.map((each) => each.key)), []);
  };
  const at = (seconds: number, value: number | null = 1) => [T + seconds * 1000, [0], [value]] as const;
  const from = (aligned: ReturnType<typeof rows>, seconds: number) => aligned.data.values[0]?.slice(aligned.data.times.indexOf(T + seconds * 1000));

  test("bridge up to three intervals", () => expect(from(rows({ cells: [at(-3), at(0)] }), -3)).toEqual([1, undefined, undefined, 1]));
  test("break where more is missing", () => expect(from(rows({ cells: [at(-4), at(0)] }), -4)).toEqual([1, null, null, null, 1]));
  test("name points that nothing joins", () => {
    const { data } = rows({ cells: [at(-9), at(-5), at(-4), at(0)] });
    expect(data.lonely[0]?.map((i) => ((data.times[i] ?? 0) - T) / 1000)).toEqual([-9, 0]);
  });
  test("end where the view is closed, if it is additive", () => {
    const { data } = rows({ additive: true, closed: T, cells: [at(-1), at(0)] });
    expect(data.times.at(-1)).toBe(T - 1000);
  });
  test("span what is shown", () => {
    const cells = { groups: cpus(2), cells: [[T, [0, 1], [3, 900]]] as const };
    expect(rows(cells)).toMatchObject({ low: 3, high: 900 });
    expect(rows(cells, ["0:0"])).toMatchObject({ low: 3, high: 3 });
  });
  test("of views with different buckets share their times", () => {
    const held = state({ views: [view({ cells: [at(-1), at(0)] }), view({ id: "v1", every: 500, cells: [[T - 500, [0], [7]], [T, [0], [8]]] })] });
    const series = seriesOf(held, panel({ lines: [{ query: "a", fn: "", view: 0 }, { query: "b", fn: "", view: 1 }] }));
    const { data } = align(series, new Set(series.map((each) => each.key)), []);
    expect(data.times.slice(-3)).toEqual([T - 1000, T - 500, T]);
    expect(data.values.map((row) => row.slice(-3))).toEqual([[1, undefined, 1], [null, 7, 8]]);
  });
});

describe("thresholds", () => {
  const both = [{ above: 0.8, state: "warning" }, { above: 0.95, state: "critical" }] as const;
  test.each([
    [0.5, "ok"],
    [0.8, "ok"],
    [0.81, "warning"],
    [0.96, "critical"],
    [NaN, "none"],
  ])("%d is %s", (value, expected) => expect(stateOf(value, both)).toBe(expected));
  test("do not depend on their order", () => expect(stateOf(0.99, [...both].toReversed())).toBe("critical"));
  test("without any there is no state", () => expect(stateOf(5, [])).toBe("none"));
  test("the worst counts", () => expect(worst(["ok", "critical", "warning"])).toBe("critical"));
  test("cut a scale into stretches", () => {
    expect(stretches(0, 1, both)).toEqual([
      { from: 0, to: 0.8, state: "ok" },
      { from: 0.8, to: 0.95, state: "warning" },
      { from: 0.95, to: 1, state: "critical" },
    ]);
  });
});

describe("choosing series", () => {
  const all = ["a", "b", "c"];
  const picked = (...clicks: (readonly [string, boolean])[]) =>
    clicks.reduce<ReadonlySet<string> | null>((shown, [key, shift]) => choice(shown, key, all, shift), null);
  test("a click shows one alone, another all again", () => {
    expect([...(picked(["b", false]) ?? [])]).toEqual(["b"]);
    expect(picked(["b", false], ["b", false])).toBeNull();
  });
  test("shift-click hides and shows", () => {
    expect([...(picked(["b", true]) ?? [])]).toEqual(["a", "c"]);
    expect(picked(["b", true], ["b", true])).toBeNull();
  });
  test("hiding the last shows all: an empty plot helps nobody", () => expect(picked(["a", false], ["a", true])).toBeNull());
});

describe("dashes", () => {
  const data = { times: [0, 10, 20, 30], values: [[0, 0, 0, 0]], lonely: [[]], gaps: [] };
  const extent = (from: number) => ({ from, to: from + 100, min: 0, max: 1 });
  test("skip what left the picture, so that they stay where they were", () => {
    const first = nextPhase(null, data, 0, extent(5), 100, 50);
    expect(first).toEqual({ start: 0, skipped: 0 });
    expect(nextPhase(first, data, 0, extent(9), 100, 50)).toEqual(first);
    expect(nextPhase(first, data, 0, extent(25), 100, 50)).toEqual({ start: 20, skipped: 20 });
  });
  test("count the way up and down too", () => {
    const steep = { ...data, values: [[0, 0.5, 0, 0]] };
    const first = nextPhase(null, steep, 0, extent(5), 30_000, 80);
    expect(nextPhase(first, steep, 0, extent(15), 3000, 80).skipped).toBeCloseTo(Math.hypot(300, 40));
  });
});

test("what a panel waits for is read from the document", () => {
  const panels = [{ id: "a", query: { metric: "up" } }, { id: "b", queries: [{ metric: "rx" }, { metric: "tx" }, { metric: "rx" }] }, { id: "c" }];
  expect([...metricsOf({ spec: { panels } })]).toEqual([["a", ["up"]], ["b", ["rx", "tx"]], ["c", []]]);
  expect([...metricsOf(null)]).toEqual([]);
});

test("a series keeps its place when a delta brings others", () => {
  const held = state({ views: [view({ groups: cpus(1), cells: [[T, [0], [1]]] })] });
  const key = seriesOf(held, panel())[0]?.key;
  applyDelta(held, delta([part(100, 110, [[T, [7], [1]]], [[7, { cpu: "-" }]])]));
  expect(seriesOf(held, panel()).map((each) => each.key)).toContain(key);
});
