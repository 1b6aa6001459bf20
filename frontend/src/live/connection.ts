/**
 * When to open, close, retry and resubscribe: a state machine without a socket, a timer or a random number.
 * Feed it what happened and when; it says what to do. `socket` performs.
 */

import { ASK_MS, SILENCE_MS } from "./protocol";

const OPENING_MS = 5000;
const SLOW = 4; // times the patience, where the line is known to be slow
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 10_000;
const LOST = 4000; // our own close code for a socket that went silent

export type Phase = "idle" | "connecting" | "open" | "waiting" | "ended";

export interface Connection {
  readonly phase: Phase;
  /** The socket that counts, and one that shall follow it (0: none). Sockets are numbered as they are opened. */
  readonly socket: number;
  readonly successor: number;
  /** Whether the successor is open, and since when it is, or began to open. */
  readonly successorOpen: boolean;
  readonly successorAt: number;
  /** Successors in a row that failed. */
  readonly misses: number;
  readonly opened: number;
  /** Attempts since something was heard last. */
  readonly attempt: number;
  /** When something was last heard, or the socket began to open. Local monotonic ms, as all times here. */
  readonly heardAt: number;
  /** Whether a sign of life was asked for since. */
  readonly asked: boolean;
  /** When to try again while waiting, or to open the successor. */
  readonly dueAt: number;
  /** The server says that this client reads slowly. */
  readonly slow: boolean;
  /** Since when there is no working connection; null while there is one. */
  readonly lostAt: number | null;
  /** Why it ended for good or was lost last. */
  readonly reason: string;
}

export type Happening =
  | { readonly type: "start" | "stop" | "tick" | "retry" }
  /** greeted: something came that is said before anything that was asked for. answered: everything that was subscribed there has been answered. */
  | { readonly type: "opened" | "greeted" | "heard" | "answered"; readonly socket: number }
  | { readonly type: "closed"; readonly socket: number; readonly code: number; readonly reason: string }
  | { readonly type: "slowed"; readonly slow: boolean }
  | { readonly type: "moved"; readonly socket: number; readonly withinMs: number };

export type Command =
  | { readonly do: "open"; readonly socket: number }
  | { readonly do: "close"; readonly socket: number; readonly code: number }
  | { readonly do: "subscribe" | "ping"; readonly socket: number };

export interface Step {
  readonly connection: Connection;
  readonly commands: readonly Command[];
}

export const IDLE: Connection = {
  phase: "idle",
  socket: 0,
  successor: 0,
  successorOpen: false,
  successorAt: Infinity,
  misses: 0,
  opened: 0,
  attempt: 0,
  heardAt: 0,
  asked: false,
  dueAt: Infinity,
  slow: false,
  lostAt: null,
  reason: "",
};

/** What follows. now: local monotonic ms; random: uniform in [0, 1). */
export function step(was: Connection, event: Happening, now: number, random: number): Step {
  switch (event.type) {
    case "start":
      return was.phase === "idle" ? open({ ...was, lostAt: now }, now) : stay(was);
    case "stop":
      return { connection: { ...IDLE, opened: was.opened }, commands: closing(was, 1000) };
    case "retry":
      return was.phase === "waiting" ? open(was, now) : stay(was);
    case "tick":
      return tick(was, now, random);
    case "opened":
      return opened(was, event.socket, now);
    case "greeted":
      return event.socket === was.socket && was.phase === "open" ? stay({ ...was, heardAt: now, asked: false }) : stay(was);
    case "heard":
      if (event.socket !== was.socket || was.phase !== "open") return stay(was);
      return due({ ...was, heardAt: now, asked: false, attempt: 0, lostAt: null }, now, random);
    case "slowed":
      return stay({ ...was, slow: event.slow });
    case "answered":
      if (event.socket !== was.successor || !was.successorOpen) return stay(was);
      return { connection: succeed(was, now), commands: [{ do: "close", socket: was.socket, code: 1000 }] };
    case "moved":
      if (event.socket !== was.socket || was.phase !== "open" || was.successor !== 0) return stay(was);
      return stay({ ...was, dueAt: Math.min(was.dueAt, now + random * event.withinMs) });
    case "closed":
      return closed(was, event.socket, event.code, event.reason, now, random);
  }
}

/** When a `tick` is due, Infinity when never. */
export function wakeAt(connection: Connection): number {
  switch (connection.phase) {
    case "connecting":
      return connection.heardAt + OPENING_MS;
    case "open":
      return Math.min(
        connection.heardAt + (connection.asked ? SILENCE_MS : ASK_MS) * patience(connection),
        connection.dueAt,
        connection.successorAt + OPENING_MS,
      );
    case "waiting":
      return connection.dueAt;
    default:
      return Infinity;
  }
}

/**
 * How much longer silence is borne: a whole dashboard takes its time on a slow line, so that each attempt on which nothing
 * came in time is given twice as long as the one before.
 */
function patience(connection: Connection): number {
  return connection.slow ? SLOW : 2 ** Math.min(Math.max(connection.attempt - 1, 0), 3);
}

/** Full jitter: anywhere up to a ceiling that doubles, so that a thousand viewers do not come back at once. */
export function backoff(attempt: number, random: number): number {
  const ceiling = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt);
  return FIRST_RETRY_MS + random * (ceiling - FIRST_RETRY_MS);
}

/** The wait that a close reason asks for, null when it does not. */
export function retryIn(reason: string): number | null {
  try {
    const value: unknown = JSON.parse(reason);
    const ms: unknown = typeof value === "object" && value !== null && "retry_in_ms" in value ? value.retry_in_ms : null;
    return typeof ms === "number" && ms >= 0 && Number.isFinite(ms) ? ms : null;
  } catch {
    return null;
  }
}

function tick(was: Connection, now: number, random: number): Step {
  if (now < wakeAt(was)) return stay(was);
  if (was.phase === "waiting") return open(was, now);
  if (was.phase === "open" && now < was.heardAt + SILENCE_MS * patience(was)) {
    if (was.asked || now < was.heardAt + ASK_MS * patience(was)) return due(was, now, random);
    return { connection: { ...was, asked: true }, commands: [{ do: "ping", socket: was.socket }] };
  }
  const reason = was.phase === "open" ? `nothing was heard for ${(SILENCE_MS * patience(was)) / 1000} s` : "no answer";
  const next = was.successor === 0 ? wait(was, backoff(was.attempt + 1, random), reason, now).connection : follow(was, now, reason);
  return { connection: next, commands: [{ do: "close", socket: was.socket, code: LOST }] };
}

/** What is due while the socket is open: to open a successor, or to give up one that takes too long. */
function due(was: Connection, now: number, random: number): Step {
  if (now >= was.successorAt + OPENING_MS) {
    return { connection: missed(was, backoff(was.misses + 1, random), now), commands: [{ do: "close", socket: was.successor, code: LOST }] };
  }
  if (now < was.dueAt) return stay(was);
  const socket = was.opened + 1;
  return { connection: { ...was, opened: socket, successor: socket, successorAt: now, dueAt: Infinity }, commands: [{ do: "open", socket }] };
}

/** The successor takes over: it has been subscribed to everything, or will be when it is open. */
function succeed(was: Connection, now: number): Connection {
  return { ...was, socket: was.successor, successor: 0, successorOpen: false, successorAt: Infinity, misses: 0, dueAt: Infinity, heardAt: now, asked: false };
}

/** The socket is lost while it has a successor. */
function follow(was: Connection, now: number, reason: string): Connection {
  if (was.successorOpen) return succeed(was, now);
  return { ...succeed(was, now), phase: "connecting", lostAt: was.lostAt ?? now, reason };
}

/** The successor failed: stay, and try another one after a while. */
function missed(was: Connection, ms: number, now: number): Connection {
  return { ...was, successor: 0, successorOpen: false, successorAt: Infinity, misses: was.misses + 1, dueAt: now + ms };
}

function open(was: Connection, now: number): Step {
  const socket = was.opened + 1;
  return {
    connection: { ...was, phase: "connecting", socket, opened: socket, heardAt: now, asked: false, dueAt: Infinity, attempt: was.attempt + 1 },
    commands: [{ do: "open", socket }],
  };
}

function opened(was: Connection, socket: number, now: number): Step {
  if (socket === was.successor) {
    return { connection: { ...was, successorOpen: true, successorAt: now }, commands: [{ do: "subscribe", socket }] };
  }
  if (socket !== was.socket || was.phase !== "connecting") return stay(was);
  return { connection: { ...was, phase: "open", heardAt: now, dueAt: Infinity }, commands: [{ do: "subscribe", socket }] };
}

function closed(was: Connection, socket: number, code: number, reason: string, now: number, random: number): Step {
  const asked = code >= 4000 && code <= 4499 ? retryIn(reason) : null;
  const back = (attempt: number) => (asked === null ? backoff(attempt, random) : asked + random * FIRST_RETRY_MS);
  if (socket === was.successor) return stay(missed(was, back(was.misses + 1), now));
  if (socket !== was.socket || (was.phase !== "open" && was.phase !== "connecting")) return stay(was);
  if (code >= 4500 && code <= 4999) {
    const commands: Command[] = was.successor === 0 ? [] : [{ do: "close", socket: was.successor, code: 1000 }];
    return { connection: { ...alone(was), phase: "ended", dueAt: Infinity, lostAt: was.lostAt ?? now, reason }, commands };
  }
  return was.successor === 0 ? wait(was, back(was.attempt + 1), reason, now) : stay(follow(was, now, reason));
}

function wait(was: Connection, ms: number, reason: string, now: number): Step {
  return stay({ ...alone(was), phase: "waiting", dueAt: now + ms, lostAt: was.lostAt ?? was.heardAt, reason });
}

function alone(was: Connection): Connection {
  return { ...was, successor: 0, successorOpen: false, successorAt: Infinity, misses: 0 };
}

function closing(was: Connection, code: number): Command[] {
  return [was.socket, was.successor].filter((socket) => socket !== 0).map((socket) => ({ do: "close", socket, code }));
}

function stay(connection: Connection): Step {
  return { connection, commands: [] };
}
