import { expect, test } from "vitest";
import { hear, NOWHERE, type Source } from "../src/live/source";
import { delta, snapshot, T } from "./messages";

const status = { type: "status", dashboard: "host", now: T, stale: true, age_ms: 1, parts: [] } as const;
const alive = delta([], { epoch: "" });
const error = { type: "error", dashboard: "host", code: "unknown_dashboard", reason: "none", path: "", line: 0, source: "" } as const;
const at = (socket: number): Source => ({ socket, next: null });

test.each([
  ["a first socket is read from its first message on", NOWHERE, alive, 1, 1, { counts: true, moved: false, socket: 0 }],
  ["and is the source when it has answered", NOWHERE, snapshot(), 1, 1, { counts: true, moved: false, socket: 1 }],
  ["one after a loss, too", at(1), status, 2, 2, { counts: true, moved: false, socket: 1 }],
  ["and its answer moves nothing", at(1), delta([]), 2, 2, { counts: true, moved: false, socket: 2 }],
  ["a successor is not read before it has answered", at(1), alive, 2, 1, { counts: false, moved: false, socket: 1 }],
  ["but from its answer on", at(1), delta([]), 2, 1, { counts: true, moved: true, socket: 2 }],
  ["which a snapshot is", at(1), snapshot(), 2, 1, { counts: true, moved: true, socket: 2 }],
  ["and an error", at(1), error, 2, 1, { counts: true, moved: true, socket: 2 }],
  ["and what it says then", at(2), status, 2, 1, { counts: true, moved: false, socket: 2 }],
  ["the old one meanwhile", at(1), delta([]), 1, 1, { counts: true, moved: false, socket: 1 }],
  ["and no more", at(2), delta([]), 1, 1, { counts: false, moved: false, socket: 2 }],
])("%s", (_, source, message, from, current, { socket, ...wanted }) => {
  const heard = hear(source, message, from, current);
  expect(heard).toMatchObject(wanted);
  expect(heard.source.socket).toBe(socket);
});

test("what a successor says is away is kept until it answers", () => {
  const kept = hear(at(1), status, 2, 1).source;
  expect(kept.next).toBe(status);
  expect(hear(kept, delta([]), 2, 1)).toMatchObject({ moved: true, source: { next: status } });
});
