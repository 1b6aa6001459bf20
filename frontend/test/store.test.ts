import { describe, expect, test } from "vitest";
import { decode } from "../src/live/decode";
import type { Cells, Delta, NewGroup, Snapshot, ViewDelta } from "../src/live/protocol";
import { applyDelta, fromSnapshot, lastShown, since } from "../src/live/store";
import { golden } from "./golden";
import { cellsOf, delta, part, snapshot, state, T, view } from "./messages";

describe("golden frames", () => {
  const message = decode(golden("snapshot")) as Snapshot;

  test("a snapshot becomes columns, and a null no value", () => {
    const held = fromSnapshot(message, null);
    expect(Object.fromEntries(cellsOf(held))).toEqual({
      "0/0/1795385020000": 0.25,
      "0/1/1795385020000": 0.5,
      "0/0/1795385021000": 0.125,
      "1/0/1795385020000": 1234.5,
    });
    expect(held.title).toBe("This machine");
  });

  test("the delta brings a group, overwrites a null and moves the version", () => {
    const held = fromSnapshot(message, null);
    expect(applyDelta(held, decode(golden("delta")) as Delta)).toEqual({ kind: "applied", cells: 2, missed: -1 });
    const cells = cellsOf(held);
    expect(cells.get("0/1/1795385021000")).toBe(0.75);
    expect(cells.get("0/2/1795385021000")).toBe(0.0625);
    expect(held.views[0]?.columns.groups.get(2)?.labels).toEqual({ cpu: "2" });
    expect(since(held)).toEqual({ epoch: "9f2c", versions: { "55a58812079ba2b3": 1795385021436000, "09de97d8c545e3bb": 1795385021286000 } });
  });

  test("what is held is what the golden subscribe says", () => {
    const asked = JSON.parse(golden("client_subscribe_since")) as { since: unknown };
    expect(since(fromSnapshot(message, null))).toEqual(asked.since);
  });
});

describe("a snapshot of the same epoch, as when the server has lost what is held", () => {
  const lost = state({ views: [view({ groups: [[0, { cpu: "0" }], [1, { cpu: "lost" }]], cells: [[T, [0, 1], [5, 6]]] })] });
  const held = fromSnapshot(snapshot({ views: [view({ groups: [[0, { cpu: "0" }], [1, { cpu: "1" }]], cells: [[T, [1], [7]]] })] }), lost);

  test("takes the place of every cell and every group", () => {
    expect(held.epoch).toBe(lost.epoch);
    expect(Object.fromEntries(cellsOf(held))).toEqual({ [`0/1/${T}`]: 7 });
    expect(held.views[0]?.columns.groups.get(1)?.labels).toEqual({ cpu: "1" });
  });

  test("is another revision, for those who draw only what changed", () => {
    expect(held.views[0]?.revision).toBe(1 + (lost.views[0]?.revision ?? 0));
  });
});

describe("versions", () => {
  test("a part that begins at or before what is held is applied", () => {
    const held = state();
    expect(applyDelta(held, delta([part(100, 110, [[T, [0], [1]]])]))).toMatchObject({ cells: 1, missed: -1 });
    expect(applyDelta(held, delta([part(50, 120, [[T, [0], [2]]])]))).toMatchObject({ cells: 1, missed: -1 });
    expect(held.views[0]?.version).toBe(120);
    expect(cellsOf(held).get(`0/0/${T}`)).toBe(2);
  });

  test("a part that ends before what is held changes nothing but what is closed", () => {
    const held = state({ views: [view({ closed: T - 1000, cells: [[T, [0], [5]]] })] });
    expect(applyDelta(held, delta([part(80, 90, [[T, [0], [1]]])]))).toMatchObject({ cells: 0, missed: -1 });
    expect(held.views[0]).toMatchObject({ version: 100, closed: T });
    expect(cellsOf(held).get(`0/0/${T}`)).toBe(5);
  });

  test("a part that begins later is refused and named", () => {
    const held = state();
    expect(applyDelta(held, delta([part(101, 110, [[T, [0], [1]]])]))).toMatchObject({ cells: 0, missed: 0 });
    expect(held.views[0]?.version).toBe(100);
    expect(cellsOf(held).size).toBe(0);
  });

  test("a delta of another epoch changes nothing", () => {
    const held = state();
    expect(applyDelta(held, delta([part(0, 110, [[T, [0], [1]]])], { epoch: "e2" }))).toEqual({ kind: "ignored" });
    expect(cellsOf(held).size).toBe(0);
  });

  test("views are not atomic with each other: one may miss while another applies", () => {
    const held = state({ views: [view(), view({ id: "v1" })] });
    const applied = applyDelta(held, delta([part(101, 110, [[T, [0], [1]]]), part(100, 110, [[T, [0], [7]]], [], 1)]));
    expect(applied).toMatchObject({ cells: 1, missed: 0 });
    expect(cellsOf(held).get(`1/0/${T}`)).toBe(7);
  });
});

describe("the window", () => {
  test("cells fall out as the server's time goes on", () => {
    const held = state({ views: [view({ cells: [[T - 59_000, [0], [1]], [T, [0], [2]]] })] });
    applyDelta(held, delta([], { now: T + 10_000 }));
    expect([...cellsOf(held).keys()]).toEqual([`0/0/${T}`]);
  });

  test("what is older than the window is not taken in", () => {
    const held = state();
    expect(applyDelta(held, delta([part(100, 110, [[T - 61_001, [0], [1]], [T - 60_000, [0], [2]]])]))).toMatchObject({ cells: 1 });
  });

  test("a group whose cells have all gone comes back under its old labels", () => {
    const held = state({ views: [view({ groups: [[0, { cpu: "0" }]], cells: [[T, [0], [1]]] })] });
    applyDelta(held, delta([], { now: T + 120_000 }));
    expect(held.views[0]?.columns.live()).toEqual([]);
    applyDelta(held, delta([part(100, 110, [[T + 120_000, [0], [3]]])], { now: T + 120_000 }));
    expect(held.views[0]?.columns.live().map(({ labels }) => labels)).toEqual([{ cpu: "0" }]);
  });

  test("a sender whose clock runs ahead is kept too", () => {
    const seconds = Array.from({ length: 100 }, (_, i) => T + (i - 50) * 1000);
    const held = state({ views: [view({ cells: seconds.map((start) => [start, [0], [start]]) })] });
    applyDelta(held, delta([part(100, 110, [[T + 300_000, [0], [2]]])]));
    expect(cellsOf(held)).toEqual(new Map([...seconds.map((start) => [`0/0/${start}`, start] as const), [`0/0/${T + 300_000}`, 2]]));
  });

  test("a cell that lost its value makes the one before it the newest", () => {
    const held = state({ views: [view({ cells: [[T - 2000, [0], [1]], [T, [0], [2]]] })] });
    applyDelta(held, delta([part(100, 110, [[T, [0], [null]]])]));
    expect(held.views[0]?.columns.newest()).toBe((T - 2000) / 1000);
  });
});

describe("the open bucket", () => {
  const cells: readonly Cells[] = [[T - 1000, [0], [5]], [T, [0], [1]]];
  test("of an additive view is not shown", () => {
    const held = state({ views: [view({ additive: true, closed: T, cells })] });
    expect(held.views.map(lastShown)).toEqual([(T - 1000) / 1000]);
  });
  test("of others is", () => {
    expect(state({ views: [view({ closed: T, cells })] }).views.map(lastShown)).toEqual([T / 1000]);
  });
});

describe("a new epoch", () => {
  const before = () => state({ views: [view({ cells: [[T - 10_000, [0], [1]]] })] });
  test("drops what was held and remembers the hole that nobody can fill", () => {
    const held = fromSnapshot(snapshot({ epoch: "e2", views: [view({ cells: [[T, [0], [9]]] })] }), before());
    expect(cellsOf(held)).toEqual(new Map([[`0/0/${T}`, 9]]));
    expect(held.gaps).toEqual([{ from: T - 10_000, to: T }]);
  });
  test("that reaches back far enough leaves no hole", () => {
    const held = fromSnapshot(snapshot({ epoch: "e2", views: [view({ cells: [[T - 9000, [0], [8]], [T, [0], [9]]] })] }), before());
    expect(held.gaps).toEqual([]);
  });
});

/** mulberry32: the same sequence for the same seed, so that a failure can be run again. */
function randomOf(seed: number): () => number {
  let s = seed;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** What the protocol says in the fewest words: a map that is overwritten, filtered by age. */
class Model {
  readonly cells = new Map<string, number | null>();
  readonly groups = new Set<string>();
  version = 100;
  now = T;

  apply([, from, to, , groups, cells]: ViewDelta, every: number, window: number): void {
    if (from > this.version) return;
    this.version = to;
    for (const [number] of groups) this.groups.add(String(number));
    for (const [start, numbers, values] of cells) {
      if (start < Math.floor((this.now - window) / every) * every) continue;
      numbers.forEach((number, i) => this.groups.has(String(number)) && this.cells.set(`0/${number}/${start}`, values[i] ?? null));
    }
  }

  advance(now: number): void {
    this.now = Math.max(this.now, now);
  }

  held(every: number, window: number): Map<string, number> {
    const horizon = Math.floor((this.now - window) / every) * every;
    const kept = [...this.cells].filter(([key, value]) => value !== null && Number(key.split("/")[2]) >= horizon);
    return new Map(kept as [string, number][]);
  }
}

test.each(Array.from({ length: 60 }, (_, i) => i + 1))("random sequence %i leaves exactly what a naive model holds", (seed) => {
  const random = randomOf(seed);
  const pick = (below: number) => Math.floor(random() * below);
  const every = [50, 250, 1000, 7000][pick(4)] ?? 1000;
  const window = every * (3 + pick(40));
  const held = state({ now: T, views: [view({ every, window, groups: [] })] });
  const model = new Model();
  let version = 100;
  for (let step = 0; step < 120; step++) {
    const now = model.now + pick(every * (random() < 0.05 ? 60 : 3));
    const groups: NewGroup[] = random() < 0.2 ? [[pick(12) * 3, { g: String(step) }]] : [];
    const cells: Cells[] = Array.from({ length: pick(5) }, () => {
      const start = Math.floor((now + every * (pick(window / every + 6) - window / every - 1)) / every) * every;
      const numbers = Array.from({ length: pick(4) }, () => pick(12) * 3);
      return [start, numbers, numbers.map(() => (random() < 0.2 ? null : pick(1000)))];
    });
    const from = random() < 0.1 ? version + 1 : version - pick(3);
    const change: ViewDelta = [0, from, version + 1 + pick(4), T, groups, cells];
    const message = delta([change], { now });
    applyDelta(held, message);
    model.apply(change, every, window);
    model.advance(now);
    version = model.version;
    expect(held.views[0]?.version).toBe(version);
  }
  const sorted = (map: Map<string, number>) => [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));
  expect(sorted(cellsOf(held))).toEqual(sorted(model.held(every, window)));
});
