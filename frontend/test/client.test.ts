import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LiveClient, liveUrl } from "../src/live";
import type { ClientMessage, ServerMessage } from "../src/live/protocol";
import { delta, part, snapshot, T, view } from "./messages";

/** A socket and the server at its other end. */
class FakeSocket extends EventTarget {
  readonly sent: ClientMessage[] = [];
  closed: number | null = null;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientMessage);
  }
  close(code: number): void {
    this.closed = code;
  }
  accept(): void {
    this.dispatchEvent(new Event("open"));
  }
  say(message: ServerMessage): void {
    this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
  }
  hangUp(code: number, reason = ""): void {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }
}

let sockets: FakeSocket[];
let client: LiveClient;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
  sockets = [];
  const open = () => {
    const made = new FakeSocket();
    sockets.push(made);
    return made as unknown as WebSocket;
  };
  client = new LiveClient("ws://here/api/v1/live", 10, { now: () => Date.now(), random: () => 0.5, open });
});

afterEach(() => {
  client.close();
  vi.useRealTimers();
});

function socket(index: number): FakeSocket {
  const found = sockets[index];
  if (found === undefined) throw new Error(`only ${sockets.length} sockets were opened`);
  return found;
}

function connect(): FakeSocket {
  const newest = socket(sockets.length - 1);
  newest.accept();
  return newest;
}

const SUBSCRIBE = { type: "subscribe", dashboard: "host", hz: 10, since: null };

describe("subscriptions", () => {
  test("all share one socket, and a dashboard is asked for once however many look at it", () => {
    client.subscribe("host", () => {});
    client.subscribe("host", () => {});
    client.subscribe("other", () => {});
    const server = connect();
    expect(sockets.length).toBe(1);
    expect(server.sent).toEqual([SUBSCRIBE, { ...SUBSCRIBE, dashboard: "other" }]);
  });
  test("a later one is asked for at once", () => {
    client.subscribe("host", () => {});
    const server = connect();
    client.subscribe("other", () => {});
    expect(server.sent.at(-1)).toEqual({ ...SUBSCRIBE, dashboard: "other" });
  });
  test("the last to leave ends it after a while, and coming back in time keeps it", () => {
    const leave = client.subscribe("host", () => {});
    const stay = client.subscribe("other", () => {});
    const server = connect();
    leave();
    leave();
    vi.advanceTimersByTime(1000);
    const leaveAgain = client.subscribe("host", () => {});
    server.say(snapshot());
    vi.advanceTimersByTime(1400);
    expect(client.feed("host")?.state?.title).toBe("Host");
    leaveAgain();
    for (let i = 0; i < 6; i++) {
      vi.advanceTimersByTime(1000);
      server.say({ type: "pong", now: T });
    }
    expect(server.sent.at(-1)).toEqual({ type: "unsubscribe", dashboard: "host" });
    expect(client.feed("host")).toBeUndefined();
    stay();
  });
  test("watchers hear of every message of their dashboard only", () => {
    const host = vi.fn<() => void>();
    const other = vi.fn<() => void>();
    client.subscribe("host", host);
    client.subscribe("other", other);
    const server = connect();
    host.mockClear();
    other.mockClear();
    server.say(snapshot());
    server.say(delta([part(100, 110, [[T, [0], [1]]])]));
    expect([host.mock.calls.length, other.mock.calls.length]).toEqual([2, 0]);
  });
});

describe("losing the connection", () => {
  test("keeps what is held, and asks only for what came after", () => {
    client.subscribe("host", () => {});
    connect().say(snapshot({ views: [view({ cells: [[T, [0], [5]]] })] }));
    socket(0).hangUp(1006);
    expect(client.feed("host")?.state?.title).toBe("Host");
    vi.advanceTimersByTime(1000);
    const server = connect();
    expect(server.sent).toEqual([{ ...SUBSCRIBE, since: { epoch: "e1", versions: { v0: 100 } } }]);
    server.say(delta([part(100, 200, [[T + 1000, [0], [6]]])]));
    expect(client.feed("host")?.resumed).toMatchObject({ points: 1, gapMs: 0 });
  });
  test("a dashboard whose versions do not fit into a message is read whole again", () => {
    client.subscribe("host", () => {});
    const views = Array.from({ length: 400 }, (_, i) => view({ id: `${i}`.padStart(16, "0") }));
    connect().say(snapshot({ views }));
    socket(0).hangUp(1006);
    vi.advanceTimersByTime(1000);
    expect(connect().sent).toEqual([SUBSCRIBE]);
  });
  test("3 s of silence are a loss", () => {
    client.subscribe("host", () => {});
    const server = connect();
    server.say(snapshot());
    vi.advanceTimersByTime(1600);
    expect(server.sent.at(-1)).toEqual({ type: "ping" });
    vi.advanceTimersByTime(1500);
    expect(server.closed).toBe(4000);
    vi.advanceTimersByTime(1000);
    expect(sockets.length).toBe(2);
  });
  test("a token that is told first is no sign that the dashboard does not take its time", () => {
    client.subscribe("host", () => {});
    for (const patience of [3000, 6000, 12_000]) {
      const server = connect();
      server.say({ type: "token", now: T, ends: T + 600_000 });
      vi.advanceTimersByTime(patience - 100);
      expect(server.closed).toBeNull();
      vi.advanceTimersByTime(200);
      expect(server.closed).toBe(4000);
      const before = sockets.length;
      while (sockets.length === before) vi.advanceTimersByTime(10);
    }
  });
  test("what a gateway said is away is forgotten with its socket: the next one says it again where it is so", () => {
    client.subscribe("host", () => {});
    connect().say(snapshot());
    socket(0).say({ type: "status", dashboard: "host", now: T, stale: true, age_ms: 0, parts: [{ part: "feed", since: T, reason: "gone" }] });
    expect(client.feed("host")?.status?.stale).toBe(true);
    socket(0).hangUp(1006);
    vi.advanceTimersByTime(1000);
    connect();
    expect(client.feed("host")?.status).toBeNull();
  });
  test("it is slow for as long as a gateway says so of any dashboard, and the next one has to say it again", () => {
    const limited = (dashboard: string, limit: string) =>
      ({ type: "status", dashboard, now: T, stale: false, age_ms: 0, parts: [], hz: 1, limit }) as const;
    for (const dashboard of ["host", "other"]) client.subscribe(dashboard, () => {});
    const server = connect();
    for (const dashboard of ["host", "other"]) server.say(snapshot({ dashboard }));
    server.say(limited("host", "reader"));
    server.say(limited("other", ""));
    expect(client.connection.slow).toBe(true);
    server.hangUp(1006);
    vi.advanceTimersByTime(1000);
    const next = connect();
    expect(client.connection.slow).toBe(true); // until a whole dashboard has come
    next.say(snapshot());
    expect(client.connection.slow).toBe(false);
  });
  test("another rate is asked for once, and every later subscription has it", () => {
    client.subscribe("host", () => {});
    const server = connect();
    client.rate(0);
    client.rate(0);
    client.subscribe("other", () => {});
    expect(server.sent.slice(1)).toEqual([{ type: "rate", hz: 0 }, { ...SUBSCRIBE, dashboard: "other", hz: 0 }]);
  });
  test("a hole between versions asks again with what is held", () => {
    client.subscribe("host", () => {});
    const server = connect();
    server.say(snapshot());
    server.say(delta([part(150, 160, [])]));
    expect(server.sent.at(-1)).toEqual({ ...SUBSCRIBE, since: { epoch: "e1", versions: { v0: 100 } } });
  });
});

describe("being moved", () => {
  /** Subscribed to two dashboards, and asked to move; the new socket is open. */
  function moving(): { old: FakeSocket; next: FakeSocket } {
    client.subscribe("host", () => {});
    client.subscribe("other", () => {});
    const old = connect();
    old.say(snapshot());
    old.say(snapshot({ dashboard: "other" }));
    old.say({ type: "moved", retry_in_ms: 1000 });
    vi.advanceTimersByTime(600);
    return { old, next: connect() };
  }
  const version = (dashboard: string) => client.feed(dashboard)?.state?.views[0]?.version;

  test("asks the new socket for what came after, and closes the old one when all is answered", () => {
    const { old, next } = moving();
    const since = { epoch: "e1", versions: { v0: 100 } };
    expect(next.sent).toEqual([{ ...SUBSCRIBE, since }, { ...SUBSCRIBE, dashboard: "other", since }]);
    next.say(delta([part(100, 110, [[T, [0], [1]]])]));
    expect(old.closed).toBeNull();
    next.say(snapshot({ dashboard: "other" }));
    expect(old.closed).toBe(1000);
    expect(client.feed("host")).toMatchObject({ resumed: null, resuming: false });
    expect(client.connection).toMatchObject({ lostAt: null, phase: "open" });
    next.say(delta([part(110, 120, [])]));
    expect(version("host")).toBe(120);
  });
  test("reads each dashboard from the old socket until the new one has answered, and then from that only", () => {
    const { old, next } = moving();
    next.say(delta([], { epoch: "" })); // a sign of life is no answer
    old.say(delta([part(100, 105, [])]));
    expect(version("host")).toBe(105);
    next.say(delta([part(100, 110, [])]));
    old.say(delta([part(105, 115, [])]));
    old.say(delta([part(100, 107, [])], { dashboard: "other" }));
    expect([version("host"), version("other")]).toEqual([110, 107]);
  });
  test("a new gateway that is behind takes nothing back", () => {
    const { next } = moving();
    next.say(delta([part(90, 90, [])]));
    next.say(delta([part(90, 95, [[T, [0], [1]]])]));
    expect(version("host")).toBe(100);
    expect(client.feed("host")?.state?.views[0]?.columns.newest()).toBe(-1);
    next.say(delta([part(95, 105, [[T, [0], [2]]])]));
    expect(version("host")).toBe(105);
  });
  test("a new gateway that fails gives back what it had taken over", () => {
    const { old, next } = moving();
    next.say(delta([part(100, 110, [])]));
    next.hangUp(1006);
    expect(old.sent.at(-1)).toEqual({ ...SUBSCRIBE, since: { epoch: "e1", versions: { v0: 110 } } });
    old.say(delta([part(105, 115, [])]));
    expect(version("host")).toBe(115);
    expect(client.connection.lostAt).toBeNull();
    vi.advanceTimersByTime(1000);
    expect(sockets.length).toBe(3);
  });
  test("what is looked at meanwhile is asked for on both sockets", () => {
    const { old, next } = moving();
    client.subscribe("third", () => {});
    for (const each of [old, next]) expect(each.sent.at(-1)).toEqual({ ...SUBSCRIBE, dashboard: "third" });
    next.say(snapshot());
    next.say(snapshot({ dashboard: "other" }));
    expect(old.closed).toBeNull();
    next.say({ type: "error", dashboard: "third", code: "unknown_dashboard", reason: "there is none", path: "", line: 0, source: "" });
    expect(old.closed).toBe(1000);
  });
  test("what was away there need not be away here", () => {
    const { old, next } = moving();
    old.say({ type: "status", dashboard: "host", now: T, stale: true, age_ms: 1, parts: [{ part: "feed", since: T, reason: "away" }] });
    expect(client.feed("host")?.status?.stale).toBe(true);
    next.say(delta([]));
    expect(client.feed("host")?.status).toBeNull();
  });
  test("what is away here counts from the answer on, whichever comes first", () => {
    const { next } = moving();
    next.say({ type: "status", dashboard: "host", now: T, stale: true, age_ms: 1, parts: [{ part: "log", since: T, reason: "away" }] });
    expect(client.feed("host")?.status).toBeNull();
    next.say(delta([]));
    expect(client.feed("host")?.status?.parts[0]?.part).toBe("log");
  });
  const away = (dashboard: string) =>
    ({ type: "status", dashboard, now: T, stale: true, age_ms: 1, parts: [{ part: "feed", since: T, reason: "away" }] }) as const;
  test("what was away there is forgotten where the old socket ends before the new one has answered", () => {
    const { old, next } = moving();
    for (const dashboard of ["host", "other"]) old.say(away(dashboard));
    next.say({ ...away("other"), parts: [{ part: "log", since: T, reason: "away" }] });
    old.hangUp(1006);
    expect(client.feed("host")?.status).toBeNull();
    expect(client.feed("other")?.status?.parts[0]?.part).toBe("log");
  });
  test("what was away at a new gateway that fails is forgotten with it", () => {
    const { old, next } = moving();
    next.say(delta([]));
    next.say(away("host"));
    next.hangUp(1006);
    expect(client.feed("host")?.status).toBeNull();
    old.say(away("host"));
    expect(client.feed("host")?.status?.stale).toBe(true);
  });
  test("another rate is asked for on both sockets", () => {
    const { old, next } = moving();
    client.rate(1);
    for (const each of [old, next]) expect(each.sent.at(-1)).toEqual({ type: "rate", hz: 1 });
  });
});

test("a frame that cannot be read is remembered, and the next one counts", () => {
  client.subscribe("host", () => {});
  const server = connect();
  server.say(snapshot({ v: 9 }));
  expect(client.problem).toMatch(/v: is 9/);
  server.say(snapshot());
  expect(client.feed("host")?.state?.title).toBe("Host");
});

test("the server's clock is the largest that was seen, as frames are only ever late", () => {
  client.subscribe("host", () => {});
  const server = connect();
  server.say(snapshot({ now: T }));
  vi.advanceTimersByTime(1000);
  server.say(delta([], { now: T + 700 }));
  expect(Math.round(client.serverNow() ?? 0)).toBe(T + 999);
});

test("a server whose clock was set back by more than a frame can be late is believed", () => {
  client.subscribe("host", () => {});
  const server = connect();
  server.say({ type: "pong", now: T });
  server.say({ type: "pong", now: T - 30_000 });
  expect(client.serverNow()).toBe(T);
  server.say({ type: "pong", now: T - 3_600_000 });
  expect(client.serverNow()).toBe(T - 3_600_000);
});

test("the endpoint is beside the page", () => {
  expect(liveUrl({ protocol: "https:", host: "wall.example" })).toBe("wss://wall.example/api/v1/live");
  expect(liveUrl({ protocol: "http:", host: "127.0.0.1:8080" })).toBe("ws://127.0.0.1:8080/api/v1/live");
});
