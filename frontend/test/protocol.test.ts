import { describe, expect, test } from "vitest";
import { decode, ProtocolError } from "../src/live/decode";
import { encode, type ClientMessage } from "../src/live/protocol";
import { golden, GOLDEN } from "./golden";
import { snapshot, view } from "./messages";

const SERVER_FRAMES = Object.keys(GOLDEN).filter((name) => !name.startsWith("client_"));

test("the golden frames are there", () => {
  expect(SERVER_FRAMES).toEqual(
    expect.arrayContaining(["snapshot", "delta", "delta_empty", "status_fresh", "status_stale", "status_reduced", "moved", "pong", "error_broken", "error_unknown", "error_forbidden", "error_token", "token"]),
  );
});

test.each(SERVER_FRAMES)("the golden %s decodes to exactly what it says", (name) => {
  expect(decode(golden(name))).toEqual(JSON.parse(golden(name)));
});

const CLIENT_FRAMES: readonly (readonly [string, ClientMessage])[] = [
  ["client_ping", { type: "ping" }],
  ["client_rate", { type: "rate", hz: 1 }],
  ["client_token", { type: "token", token: "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl" }],
  ["client_unsubscribe", { type: "unsubscribe", dashboard: "host" }],
  ["client_subscribe", { type: "subscribe", dashboard: "host", hz: 10, since: null }],
  [
    "client_subscribe_since",
    {
      type: "subscribe",
      dashboard: "host",
      hz: 10,
      since: { epoch: "9f2c", versions: { "55a58812079ba2b3": 1795385021336000, "09de97d8c545e3bb": 1795385021286000 } },
    },
  ],
];

test.each(CLIENT_FRAMES)("%s is what the client sends", (name, message) => {
  expect(JSON.parse(encode(message))).toEqual(JSON.parse(golden(name)));
});

test("every golden client frame is covered", () => {
  expect(CLIENT_FRAMES.map(([name]) => name).toSorted()).toEqual(Object.keys(GOLDEN).filter((name) => name.startsWith("client_")).toSorted());
});

describe("what is wrong is named with its place", () => {
  const broken: readonly (readonly [string, string, RegExp])[] = [
    ["no JSON", "{oops", /not JSON: \{oops/],
    ["no object", "[1]", /message: expected an object, got a list/],
    ["no type", "{}", /type: expected a text, got nothing/],
    ["another version", JSON.stringify(snapshot({ v: 2 })), /v: is 2, this page reads 1/],
    ["a view without cells", JSON.stringify(snapshot({ views: [{ ...view(), cells: null as never }] })), /views\[0\]\.cells: expected a list, got null/],
    ["a view without length", JSON.stringify(snapshot({ views: [view({ every: 0 })] })), /views\[0\]\.every: must be more than 0/],
    ["uneven cells", JSON.stringify(snapshot({ views: [view({ cells: [[0, [1, 2], [3]]] })] })), /cells\[0\]: 2 groups and 1 values/],
    ["a line of no view", JSON.stringify(snapshot({ views: [] })), /panels\[0\]\.lines\[0\]\.view: there is no view 0/],
    ["a short delta", '{"type":"delta","dashboard":"d","epoch":"e","now":1,"views":[[0,1]]}', /views\[0\]: has 2 items, expected 6/],
    ["a text for a number", '{"type":"pong","now":"1"}', /now: expected a number, got a string/],
  ];
  test.each(broken)("%s", (_, text, message) => {
    expect(() => decode(text)).toThrow(ProtocolError);
    expect(() => decode(text)).toThrow(message);
  });
});

test("a type of a newer server is passed over", () => {
  expect(decode('{"type":"confetti"}')).toBeNull();
});
