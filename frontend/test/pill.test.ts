import { expect, test } from "vitest";
import type { Feed } from "../src/live";
import { partName, pillOf, type Facts } from "../src/wall/pill";
import { connection, feed, state, T } from "./messages";

const AT = 100_000;

function facts(partial: Partial<Facts> = {}): Facts {
  return { connection: connection(), feed: feed({ state: state() }), at: AT, now: T + 85, rate: 10, online: true, ...partial };
}

const held = (partial: Partial<Feed>): Partial<Facts> => ({ feed: feed({ state: state(), ...partial }) });
const away = (parts: readonly string[]): Partial<Facts> => {
  const status = { type: "status", dashboard: "host", now: T, stale: true, age_ms: 0 } as const;
  return held({ status: { ...status, parts: parts.map((part) => ({ part, since: T - 4000, reason: "connection refused" })) } });
};
const slowed = (hz: number, limit: string) => ({ type: "status", dashboard: "host", now: T, stale: false, age_ms: 0, parts: [], hz, limit }) as const;

test.each<readonly [string, Partial<Facts>, string]>([
  ["all is well", {}, "LIVE 10/s · age 85 ms"],
  ["frames are late", { now: T + 1450 }, "BEHIND 1.4 s"],
  ["nothing came yet", { feed: undefined, now: null }, "CONNECTING"],
  ["the first attempt is under way", { connection: connection({ phase: "connecting", lostAt: AT, attempt: 1 }), feed: feed() }, "CONNECTING"],
  ["the connection is lost", { connection: connection({ phase: "waiting", lostAt: AT - 3400, attempt: 2 }) }, "RECONNECTING 3 s (attempt 2)"],
  ["the server was never there", { connection: connection({ phase: "waiting", lostAt: AT - 9000, attempt: 4 }), feed: feed() }, "RECONNECTING 9 s (attempt 4)"],
  ["it came back", held({ resumed: { at: AT - 1999, points: 143, gapMs: 0 } }), "RESUMED, 143 points recovered"],
  ["one point came back", held({ resumed: { at: AT, points: 1, gapMs: 0 } }), "RESUMED, 1 point recovered"],
  ["it came back 2 s ago", held({ resumed: { at: AT - 2000, points: 143, gapMs: 0 } }), "LIVE 10/s · age 85 ms"],
  ["something is lost for good", held({ resumed: { at: AT - 5000, points: 0, gapMs: 12_300 } }), "GAP 12 s not recoverable"],
  ["that was a while ago", held({ resumed: { at: AT - 10_000, points: 0, gapMs: 12_300 } }), "LIVE 10/s · age 85 ms"],
  ["the server said: do not come back", { connection: connection({ phase: "ended", lostAt: AT - 10, reason: "bad" }) }, "OFFLINE"],
  ["the device has no network", { connection: connection({ phase: "waiting", lostAt: AT - 10 }), online: false }, "OFFLINE"],
  ["the browser is wrong about the network", { online: false }, "LIVE 10/s · age 85 ms"],
  ["a part is away", away(["log"]), "STALE 4 s · log (Kafka)"],
  ["it reads too slowly", held({ status: slowed(2, "reader") }), "LIVE 2/s (slowed) · age 85 ms"],
  ["the server is busy", { ...held({ status: slowed(0.5, "gateway") }), now: T + 2400 }, "LIVE 0.5/s (slowed) · age 2.4 s"],
  ["the server is busy and late", { ...held({ status: slowed(0.5, "gateway") }), now: T + 2600 }, "BEHIND 2.6 s"],
  ["nothing limits it", held({ status: slowed(10, "") }), "LIVE 10/s · age 85 ms"],
  ["two parts are away", away(["feed", "aggregator"]), "STALE 4 s · feed (Redis) +1"],
])("when %s", (_, partial, text) => {
  expect(pillOf(facts(partial)).text).toBe(text);
});

test("the reason of a part that is away is in the detail", () => {
  expect(pillOf(facts(away(["samples"]))).detail).toBe("samples (sources): connection refused");
});

test("a lost connection outranks a part that is away: what it said is old", () => {
  const lost = connection({ phase: "waiting", lostAt: AT - 3400, attempt: 2 });
  expect(pillOf(facts({ ...away(["log"]), connection: lost })).kind).toBe("reconnecting");
});

test("a part that has no other name keeps its own", () => expect(partName("aggregator")).toBe("aggregator"));
