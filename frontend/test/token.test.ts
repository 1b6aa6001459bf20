import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LiveClient, type TokenSource } from "../src/live";
import type { ClientMessage, ServerMessage } from "../src/live/protocol";
import { protocolsWith, renewAfter } from "../src/live/token";

class FakeSocket extends EventTarget {
  readonly sent: ClientMessage[] = [];

  constructor(readonly protocols: readonly string[]) {
    super();
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientMessage);
  }
  close(): void {}
  accept(): void {
    this.dispatchEvent(new Event("open"));
  }
  say(message: ServerMessage): void {
    this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
  }
  hangUp(code: number): void {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason: "" }));
  }
}

const T = 1795385021500;
let sockets: FakeSocket[];
let clients: LiveClient[];

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
  sockets = [];
  clients = [];
});

afterEach(() => {
  for (const client of clients) client.close();
  vi.useRealTimers();
});

function clientWith(token: TokenSource | null): LiveClient {
  const open = (_: string, protocols: readonly string[]) => {
    const made = new FakeSocket(protocols);
    sockets.push(made);
    return made as unknown as WebSocket;
  };
  const client = new LiveClient("ws://here/api/v1/live", 10, { now: () => Date.now(), random: () => 0.5, open }, token);
  clients.push(client);
  client.subscribe("host", () => {});
  return client;
}

async function opened(index = 0): Promise<FakeSocket> {
  await vi.advanceTimersByTimeAsync(0);
  const found = sockets[index];
  if (found === undefined) throw new Error(`only ${sockets.length} sockets were opened`);
  found.accept();
  return found;
}

/** Signs of life for so many seconds. */
async function pass(socket: FakeSocket, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    await vi.advanceTimersByTimeAsync(1000);
    socket.say({ type: "pong", now: T });
  }
}

const tokens = (socket: FakeSocket) => socket.sent.filter((message) => message.type === "token").map((message) => message.token);

describe("what a socket is opened with", () => {
  test("the protocol alone where nobody has a token", () => {
    clientWith(null);
    expect(sockets[0]?.protocols).toEqual(["tideboard.v1.json"]);
  });
  test.each([() => "a.b.c", () => Promise.resolve("a.b.c")])("a token beside it, whenever it comes", async (token) => {
    clientWith(token);
    expect((await opened()).protocols).toEqual(["tideboard.v1.json", "tideboard.token.a.b.c"]);
  });
  test("another one for another socket", async () => {
    let n = 0;
    clientWith(() => `a.b.${n++}`);
    (await opened()).hangUp(4004);
    await vi.advanceTimersByTimeAsync(1000);
    expect((await opened(1)).protocols).toEqual(protocolsWith("a.b.1"));
  });
  test("none is opened for a token that comes when nobody waits for it any more", async () => {
    let give: (token: string) => void = () => {};
    const client = clientWith(
      () =>
        new Promise((resolve) => {
          give = resolve;
        }),
    );
    client.close();
    give("a.b.c");
    await vi.advanceTimersByTimeAsync(0);
    expect(sockets).toEqual([]);
  });
});

describe("a page that has no token to give", () => {
  test.each([
    () => {
      throw new Error("signed out");
    },
    () => Promise.reject(new Error("signed out")),
  ])("is asked again after a while", async (failing) => {
    let failures = 2;
    const client = clientWith(() => (failures-- > 0 ? failing() : "a.b.c"));
    await vi.advanceTimersByTimeAsync(0);
    expect(client.connection.phase).toBe("waiting");
    expect(client.connection.reason).toContain("signed out");
    await vi.advanceTimersByTimeAsync(5000);
    expect(sockets.map(({ protocols }) => protocols)).toEqual([protocolsWith("a.b.c")]);
  });
});

describe("a token that ends", () => {
  test("is followed by another before that, on the same socket", async () => {
    let n = 0;
    clientWith(() => `a.b.${n++}`);
    const server = await opened();
    server.say({ type: "token", now: T, ends: T + 10_000 });
    await pass(server, 7);
    expect(tokens(server)).toEqual([]);
    await pass(server, 2);
    expect(tokens(server)).toEqual(["a.b.1"]);
    server.say({ type: "token", now: T + 9000, ends: T + 19_000 });
    await pass(server, 9);
    expect(tokens(server)).toEqual(["a.b.1", "a.b.2"]);
    expect(sockets.length).toBe(1);
  });
  test("is left to end where the page has no other", async () => {
    let first = true;
    const client = clientWith(() => {
      if (!first) throw new Error("signed out");
      first = false;
      return "a.b.c";
    });
    const server = await opened();
    server.say({ type: "token", now: T, ends: T + 2000 });
    await pass(server, 2);
    expect(tokens(server)).toEqual([]);
    expect(client.problem).toContain("signed out");
  });
  test("asks again for what the one before did not name", async () => {
    clientWith(() => "a.b.c");
    const server = await opened();
    server.say({ type: "token", now: T, ends: T + 60_000 });
    server.say({ type: "error", dashboard: "host", code: "forbidden", reason: "no", path: "", line: 0, source: "" });
    server.sent.length = 0;
    server.say({ type: "token", now: T, ends: T + 60_000 });
    expect(server.sent).toEqual([{ type: "subscribe", dashboard: "host", hz: 10, since: null }]);
  });
});

test("tokens are renewed between 70 and 90 % of their time, and never so late that a timer cannot hold it", () => {
  expect(renewAfter(T, T + 10_000, 0)).toBeCloseTo(7000);
  expect(renewAfter(T, T + 10_000, 0.999)).toBeCloseTo(9000, -1);
  // A page that has the same token until it ends would bring it again and again, faster and faster.
  for (const left of [1000, 0, -5]) expect(renewAfter(T, T + left, 0.5)).toBe(1000);
  expect(renewAfter(T, T + 1e12, 0.5)).toBe(2 ** 31 - 1);
});
