import { describe, expect, test } from "vitest";
import { newFeed, receive, type Feed } from "../src/live/feed";
import type { Fault, ServerMessage } from "../src/live/protocol";
import { delta, part, snapshot, T, view } from "./messages";

function run(messages: readonly (readonly [at: number, message: ServerMessage])[], start: Feed = newFeed("host")): { feed: Feed; asks: number[] } {
  let feed = start;
  const asks: number[] = [];
  for (const [at, message] of messages) {
    const next = receive(feed, message, at);
    feed = next.feed;
    if (next.ask) asks.push(at);
  }
  return { feed, asks };
}

const MISSED = delta([part(150, 160, [[T, [0], [1]]])]);
const UNKNOWN: Fault = { type: "error", dashboard: "host", code: "unknown_dashboard", reason: "there is no dashboard", path: "", line: 0, source: "" };

describe("a hole between versions", () => {
  test("is answered by asking again, once every 3 s while it lasts", () => {
    const { asks } = run([[0, snapshot()], [100, MISSED], [200, MISSED], [3050, MISSED], [3100, MISSED]]);
    expect(asks).toEqual([100, 3100]);
  });
  test("is over when a part applies", () => {
    const { asks } = run([[0, snapshot()], [100, MISSED], [200, delta([part(100, 160, [])])], [300, delta([part(170, 180, [])])]]);
    expect(asks).toEqual([100, 300]);
  });
  test("is no reason to ask while there is no snapshot at all", () => {
    expect(run([[0, MISSED]]).asks).toEqual([]);
  });
});

describe("a server's clock that was set back", () => {
  const back = T - 3_600_000;
  const early = delta([part(100, 110, [[back, [0], [1]]])], { now: back });

  test("makes all that is held worthless: everything is asked for, once every 3 s, and shown when it comes", () => {
    const { feed, asks } = run([[0, snapshot()], [100, early], [200, early], [3050, early], [3100, early]]);
    expect(asks).toEqual([100, 3100]);
    expect(feed.anew).toBe(true);
    const after = run([[3200, snapshot({ now: back, views: [view({ cells: [[back, [0], [7]]] })] })]], feed).feed;
    expect(after).toMatchObject({ anew: false, state: { now: back } });
    const columns = after.state?.views[0]?.columns;
    const column = columns?.groups.get(0);
    expect(column && columns?.at(column, Math.floor(back / columns.every))).toBe(7);
    expect(run([[3300, delta([part(100, 120, [[back + 1000, [0], [8]]])], { now: back + 1000 })]], after).asks).toEqual([]);
  });
  test("by less than a minute is a frame that was late", () => {
    expect(run([[0, snapshot()], [100, delta([part(100, 110, [[T, [0], [1]]])], { now: T - 50_000 })]]).asks).toEqual([]);
  });
});

describe("after a reconnect", () => {
  const lost = (): Feed => ({ ...run([[0, snapshot({ views: [view({ cells: [[T - 20_000, [0], [1]]] })] })]]).feed, resuming: true });

  test("the answering delta says how much was recovered", () => {
    const { feed } = run([[500, delta([part(100, 110, [[T - 1000, [0], [1]], [T, [0], [2]]])])]], lost());
    expect(feed).toMatchObject({ resuming: false, resumed: { at: 500, points: 2, gapMs: 0 } });
  });
  test("a snapshot of the same epoch counts what is newer than what was held", () => {
    const cells = [[T - 20_000, [0], [1]], [T - 1000, [0], [1]], [T, [0], [2]]] as const;
    const { feed } = run([[500, snapshot({ views: [view({ cells })] })]], lost());
    expect(feed.resumed).toEqual({ at: 500, points: 2, gapMs: 0 });
  });
  test("a new epoch that begins later is a gap", () => {
    const { feed } = run([[500, snapshot({ epoch: "e2", views: [view({ cells: [[T, [0], [2]]] })] })]], lost());
    expect(feed.resumed).toEqual({ at: 500, points: 0, gapMs: 20_000 });
  });
  test("a delta of another epoch is not the answer", () => {
    expect(run([[500, delta([], { epoch: "e0" })]], lost()).feed.resuming).toBe(true);
  });
});

describe("what is wrong", () => {
  test("stays until a snapshot comes", () => {
    expect(run([[0, UNKNOWN]]).feed.fault).toEqual(UNKNOWN);
    expect(run([[0, UNKNOWN], [1, snapshot()]]).feed.fault).toBeNull();
  });
  test("with a dashboard is over when its frames go on", () => {
    expect(run([[0, snapshot()], [1, UNKNOWN], [2, delta([part(100, 110, [])])]]).feed.fault).toBeNull();
  });
});

test("a frame that changes only cells gives the same feed, so that nothing is rendered for it", () => {
  const { feed } = run([[0, snapshot()]]);
  expect(receive(feed, delta([part(100, 110, [[T, [0], [1]]])]), 1).feed).toBe(feed);
});

test("the newest status counts", () => {
  const status = { type: "status", dashboard: "host", now: T, stale: true, age_ms: 5, parts: [{ part: "log", since: T, reason: "away" }] } as const;
  expect(run([[0, status], [1, { ...status, stale: false, parts: [] }]]).feed.status?.stale).toBe(false);
});
