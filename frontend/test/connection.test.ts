import { describe, expect, test } from "vitest";
import { backoff, IDLE, retryIn, step, wakeAt, type Command, type Connection, type Happening } from "../src/live/connection";

/** Runs happenings at their times and keeps what was commanded last. */
class Story {
  connection: Connection = IDLE;
  commands: readonly Command[] = [];

  at(now: number, event: Happening, random = 0.5): this {
    const next = step(this.connection, event, now, random);
    this.connection = next.connection;
    this.commands = next.commands;
    return this;
  }

  /** Connected, and heard from, at a time. */
  static open(now: number): Story {
    return new Story().at(now, { type: "start" }).at(now, { type: "opened", socket: 1 }).at(now, { type: "heard", socket: 1 });
  }
}

const lost = (socket: number, code = 1006, reason = ""): Happening => ({ type: "closed", socket, code, reason });

describe("opening", () => {
  test("starting opens one socket, and starting again none", () => {
    const story = new Story().at(0, { type: "start" });
    expect(story.commands).toEqual([{ do: "open", socket: 1 }]);
    expect(story.at(1, { type: "start" }).commands).toEqual([]);
  });
  test("an open socket subscribes; the connection counts as lost until something is heard", () => {
    const story = new Story().at(0, { type: "start" }).at(10, { type: "opened", socket: 1 });
    expect(story.commands).toEqual([{ do: "subscribe", socket: 1 }]);
    expect(story.connection.lostAt).toBe(0);
    expect(story.at(20, { type: "heard", socket: 1 }).connection).toMatchObject({ lostAt: null, attempt: 0 });
  });
  test("a socket that does not open within 5 s is given up", () => {
    const story = new Story().at(0, { type: "start" });
    expect(wakeAt(story.connection)).toBe(5000);
    expect(story.at(5000, { type: "tick" }).commands).toEqual([{ do: "close", socket: 1, code: 4000 }]);
    expect(story.connection.phase).toBe("waiting");
  });
  test("a server that accepts and closes at once is not hurried", () => {
    const story = new Story().at(0, { type: "start" });
    for (let socket = 1; socket <= 4; socket++) {
      story.at(0, { type: "opened", socket }).at(0, lost(socket)).at(story.connection.dueAt, { type: "tick" });
    }
    expect(story.connection.attempt).toBe(5);
  });
});

describe("silence", () => {
  test("after 1.5 s a sign of life is asked for, once", () => {
    const story = Story.open(0);
    expect(wakeAt(story.connection)).toBe(1500);
    expect(story.at(1500, { type: "tick" }).commands).toEqual([{ do: "ping", socket: 1 }]);
    expect(wakeAt(story.connection)).toBe(3000);
  });
  test("after 3 s the socket is closed and the connection is lost since it was last heard", () => {
    const story = Story.open(100).at(1600, { type: "tick" }).at(3100, { type: "tick" });
    expect(story.commands).toEqual([{ do: "close", socket: 1, code: 4000 }]);
    expect(story.connection).toMatchObject({ phase: "waiting", lostAt: 100, reason: "nothing was heard for 3 s" });
  });
  test("a slow line is given longer: twice as long with each attempt on which nothing came, and where the server says so", () => {
    const story = new Story().at(0, { type: "start" });
    for (const [attempt, silence] of [[1, 3000], [2, 6000], [3, 12_000], [4, 24_000], [5, 24_000]] as const) {
      const { socket, opened } = story.connection;
      story.at(opened, { type: "opened", socket });
      expect(story.connection.attempt).toBe(attempt);
      const begun = story.connection.heardAt;
      story.at(begun + silence / 2, { type: "tick" });
      expect(wakeAt(story.connection)).toBe(begun + silence);
      story.at(begun + silence, { type: "tick" });
      expect(story.connection.reason).toBe(`nothing was heard for ${silence / 1000} s`);
      story.at(story.connection.dueAt, { type: "tick" });
    }
    const slow = Story.open(0).at(0, { type: "slowed", slow: true });
    expect(wakeAt(slow.connection)).toBe(6000);
    expect(wakeAt(slow.at(0, { type: "slowed", slow: false }).connection)).toBe(1500);
  });
  test("anything heard begins the count anew", () => {
    const story = Story.open(0).at(1500, { type: "tick" }).at(2900, { type: "heard", socket: 1 });
    expect(wakeAt(story.connection)).toBe(4400);
    expect(story.at(3000, { type: "tick" }).commands).toEqual([]);
  });
});

describe("coming back", () => {
  test("a lost socket is followed by another after a wait", () => {
    const story = Story.open(0).at(1000, lost(1), 1);
    expect(story.connection).toMatchObject({ phase: "waiting", dueAt: 1500 });
    expect(story.at(1499, { type: "tick" }).commands).toEqual([]);
    expect(story.at(1500, { type: "tick" }).commands).toEqual([{ do: "open", socket: 2 }]);
  });
  test("a network that is back ends the wait", () => {
    expect(Story.open(0).at(1000, lost(1)).at(1001, { type: "retry" }).commands).toEqual([{ do: "open", socket: 2 }]);
  });
  test("the wait that the server asks for is kept, with a little jitter", () => {
    const story = Story.open(0).at(1000, lost(1, 4003, '{"retry_in_ms": 7000}'), 0.2);
    expect(story.connection.dueAt).toBe(1000 + 7000 + 50);
  });
  test("a close below 4000 asks for nothing", () => {
    expect(Story.open(0).at(1000, lost(1, 1001, '{"retry_in_ms": 7000}'), 0).connection.dueAt).toBe(1250);
  });
  test.each([4500, 4501, 4999])("after %i it does not come back by itself", (code) => {
    const story = Story.open(0).at(1000, lost(1, code, "no subprotocol"));
    expect(story.connection).toMatchObject({ phase: "ended", reason: "no subprotocol" });
    expect(wakeAt(story.connection)).toBe(Infinity);
  });
  test.each([4000, 4499])("after %i it does", (code) => {
    expect(Story.open(0).at(1000, lost(1, code)).connection.phase).toBe("waiting");
  });
  test("what an old socket says does not matter", () => {
    const story = Story.open(0).at(1000, lost(1)).at(2000, { type: "tick" });
    expect(story.at(2001, { type: "opened", socket: 1 }).at(2002, lost(1)).connection).toMatchObject({ phase: "connecting", socket: 2 });
  });
});

describe("back-off", () => {
  test.each([
    [1, 250, 500],
    [2, 250, 1000],
    [4, 250, 4000],
    [6, 250, 10_000],
    [40, 250, 10_000],
  ])("attempt %i waits between %i and %i ms", (attempt, least, most) => {
    expect(backoff(attempt, 0)).toBe(least);
    expect(backoff(attempt, 1)).toBe(most);
  });
  test.each([
    ['{"retry_in_ms": 1500}', 1500],
    ['{"retry_in_ms": -1}', null],
    ['{"retry_in_ms": "soon"}', null],
    ["going away", null],
    ["null", null],
    ["", null],
  ])("a close reason of %s asks for %s", (reason, ms) => {
    expect(retryIn(reason)).toBe(ms);
  });
});

describe("being moved", () => {
  const moved: Happening = { type: "moved", socket: 1, withinMs: 0 };
  /** Moving since 0, with socket 2 on its way. */
  const moving = () => Story.open(0).at(0, moved).at(1, { type: "tick" });

  test("a successor opens within the time given, and only when it has answered the old socket is closed", () => {
    const story = Story.open(0).at(100, { type: "moved", socket: 1, withinMs: 1000 }, 0.3);
    expect(wakeAt(story.connection)).toBe(400);
    expect(story.at(400, { type: "tick" }).commands).toEqual([{ do: "open", socket: 2 }]);
    expect(story.at(410, { type: "heard", socket: 1 }).connection.socket).toBe(1);
    expect(story.at(420, { type: "opened", socket: 2 }).commands).toEqual([{ do: "subscribe", socket: 2 }]);
    expect(story.connection).toMatchObject({ phase: "open", socket: 1, successor: 2, lostAt: null });
    expect(story.at(440, { type: "answered", socket: 2 }).commands).toEqual([{ do: "close", socket: 1, code: 1000 }]);
    expect(story.connection).toMatchObject({ phase: "open", socket: 2, successor: 0, lostAt: null });
    expect(story.at(450, lost(1, 1000)).connection).toMatchObject({ phase: "open", socket: 2 });
  });
  test("a timer that is late, as in a hidden tab, does not matter: the next frame opens it", () => {
    const story = Story.open(0).at(100, { type: "moved", socket: 1, withinMs: 1000 }, 0.3);
    expect(story.at(700, { type: "heard", socket: 1 }).commands).toEqual([{ do: "open", socket: 2 }]);
    expect(story.at(701, { type: "heard", socket: 1 }).commands).toEqual([]);
  });
  test("an old socket that closes early leaves it to the successor", () => {
    const story = moving().at(2, lost(1, 4000));
    expect(story.connection).toMatchObject({ phase: "connecting", socket: 2, lostAt: 2 });
    expect(story.at(3, { type: "opened", socket: 2 }).commands).toEqual([{ do: "subscribe", socket: 2 }]);
  });
  test("nothing is lost when the old socket closes while the successor is open", () => {
    const story = moving().at(2, { type: "opened", socket: 2 }).at(3, lost(1, 4000));
    expect(story.connection).toMatchObject({ phase: "open", socket: 2, successor: 0, lostAt: null });
    expect(story.at(4, { type: "answered", socket: 2 }).commands).toEqual([]);
  });
  test("nor when the old socket goes silent", () => {
    const story = moving().at(2, { type: "opened", socket: 2 }).at(1500, { type: "tick" }).at(3000, { type: "tick" });
    expect(story.commands).toEqual([{ do: "close", socket: 1, code: 4000 }]);
    expect(story.connection).toMatchObject({ phase: "open", socket: 2, successor: 0, lostAt: null });
  });
  test("a successor that fails leaves the old socket in place, and another follows after a while", () => {
    const story = moving().at(2, lost(2), 1);
    expect(story.connection).toMatchObject({ phase: "open", socket: 1, successor: 0, dueAt: 502 });
    story.at(400, { type: "heard", socket: 1 });
    expect(story.at(502, { type: "tick" }).commands).toEqual([{ do: "open", socket: 3 }]);
    expect(story.at(503, lost(3), 1).connection.dueAt).toBe(1503);
  });
  test("a gateway that is full says when to come", () => {
    expect(moving().at(2, lost(2, 4003, '{"retry_in_ms": 7000}'), 0).connection).toMatchObject({ phase: "open", socket: 1, dueAt: 7002 });
  });
  test.each([
    ["does not open", (story: Story) => story],
    ["does not answer", (story: Story) => story.at(1, { type: "opened", socket: 2 })],
  ])("a successor that %s within 5 s is given up", (_, begun) => {
    const story = begun(moving());
    for (let now = 1000; now <= 5000; now += 1000) story.at(now, { type: "heard", socket: 1 });
    expect(story.at(5001, { type: "tick" }).commands).toEqual([{ do: "close", socket: 2, code: 4000 }]);
    expect(story.connection).toMatchObject({ phase: "open", socket: 1, successor: 0, lostAt: null });
  });
  test("being told again while it moves changes nothing", () => {
    expect(moving().at(2, moved).connection).toMatchObject({ successor: 2, dueAt: Infinity });
  });
  test("who was moved can be moved on", () => {
    const story = moving().at(2, { type: "opened", socket: 2 }).at(3, { type: "answered", socket: 2 });
    story.at(4, { type: "moved", socket: 2, withinMs: 0 }).at(5, { type: "tick" });
    expect(story.commands).toEqual([{ do: "open", socket: 3 }]);
  });
});

test("stopping closes everything that is open", () => {
  const story = Story.open(0).at(0, { type: "moved", socket: 1, withinMs: 0 }).at(1, { type: "tick" }).at(2, { type: "stop" });
  expect(story.commands).toEqual([
    { do: "close", socket: 1, code: 1000 },
    { do: "close", socket: 2, code: 1000 },
  ]);
  expect(story.connection.phase).toBe("idle");
});
