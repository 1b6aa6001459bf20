/** The words of the connection pill (research/frontend.md 6.6). Pure: facts in, words out. */

import type { Connection, Feed, Status } from "../live";
import { formatAge, formatSpan } from "./units";

export type Tone = "ok" | "warn" | "crit" | "idle";

export interface Pill {
  /** What it is, without numbers: a change of it is worth announcing. */
  readonly kind: "connecting" | "connected" | "live" | "slowed" | "behind" | "degraded" | "reconnecting" | "resumed" | "gap" | "offline";
  readonly tone: Tone;
  readonly text: string;
  /** A sentence for the tooltip and for those who listen. */
  readonly detail: string;
}

export interface Facts {
  readonly connection: Connection;
  readonly feed: Feed | undefined;
  /** Local monotonic ms, the clock of `connection` and `feed.resumed`. */
  readonly at: number;
  /** The server's clock, epoch ms; null when it was never heard. */
  readonly now: number | null;
  readonly rate: number;
  readonly online: boolean;
}

const RESUMED_MS = 2000;
const GAP_MS = 10_000;
/** The server sends at least once a second, so that this is more than one missed sign of life. */
const BEHIND_MS = 1250;
const LIMITS: Readonly<Record<string, string>> = {
  reader: "This device or its network cannot take more",
  gateway: "The server has too many viewers",
};

export function pillOf(facts: Facts): Pill {
  const { connection } = facts;
  if (connection.phase === "ended") return offline(`The server closed the connection for good: ${connection.reason || "no reason given"}`);
  if (connection.lostAt !== null) return away(facts, connection.lostAt);
  const { feed, at, now } = facts;
  const state = feed?.state ?? null;
  if (feed === undefined || state === null || now === null) {
    if ((feed?.fault ?? null) !== null) return { kind: "connected", tone: "idle", text: "CONNECTED", detail: "The server answers; there is no such data" };
    return { kind: "connecting", tone: "idle", text: "CONNECTING", detail: "Waiting for the first data" };
  }
  return resumed(feed, at) ?? degraded(feed, now) ?? live(now - state.now, facts.rate, feed.status);
}

function away({ connection, feed, at, online }: Facts, lostAt: number): Pill {
  if (!online) return offline("This device has no network; what is shown is the last that came");
  if ((feed?.state ?? null) === null && connection.attempt <= 1) {
    return { kind: "connecting", tone: "idle", text: "CONNECTING", detail: "Opening the connection" };
  }
  const attempt = Math.max(1, connection.attempt);
  return {
    kind: "reconnecting",
    tone: "warn",
    text: `RECONNECTING ${formatSpan(at - lostAt)} (attempt ${attempt})`,
    detail: `The connection was lost${connection.reason === "" ? "" : `: ${connection.reason}`}; trying again by itself`,
  };
}

function resumed(feed: Feed, at: number): Pill | null {
  const last = feed.resumed;
  if (last === null) return null;
  if (last.gapMs > 0 && at - last.at < GAP_MS) {
    const text = `GAP ${formatSpan(last.gapMs)} not recoverable`;
    return { kind: "gap", tone: "warn", text, detail: "The server no longer has what came in between" };
  }
  if (last.gapMs > 0 || at - last.at >= RESUMED_MS) return null;
  const points = `${last.points} ${last.points === 1 ? "point" : "points"} recovered`;
  return { kind: "resumed", tone: "ok", text: `RESUMED, ${points}`, detail: "Connected again; nothing is missing" };
}

const PARTS: Readonly<Record<string, string>> = { feed: "feed (Redis)", log: "log (Kafka)", samples: "samples (sources)" };

/** "log (Kafka)": a part of the pipeline as people know it. */
export function partName(part: string): string {
  return PARTS[part] ?? part;
}

function degraded(feed: Feed, now: number): Pill | null {
  const part = feed.status?.stale === true ? feed.status.parts[0] : undefined;
  if (part === undefined) return null;
  const more = (feed.status?.parts.length ?? 1) - 1;
  return {
    kind: "degraded",
    tone: "warn",
    text: `STALE ${formatSpan(now - part.since)} · ${partName(part.part)}${more > 0 ? ` +${more}` : ""}`,
    detail: feed.status?.parts.map((each) => `${partName(each.part)}: ${each.reason}`).join("; ") ?? "",
  };
}

function live(age: number, rate: number, status: Status | null): Pill {
  const hz = status?.hz ?? 0;
  if (age > (hz > 0 && hz < 1 ? BEHIND_MS / hz : BEHIND_MS)) {
    return { kind: "behind", tone: "warn", text: `BEHIND ${formatAge(age)}`, detail: "Frames arrive later than they should" };
  }
  const limit = LIMITS[status?.limit ?? ""];
  if (limit !== undefined) {
    return { kind: "slowed", tone: "ok", text: `LIVE ${hz}/s (slowed) · age ${formatAge(age)}`, detail: `${limit}, so that it is shown ${hz} times a second at most. Nothing is missing` };
  }
  const text = `LIVE ${rate}/s · age ${formatAge(age)}`;
  return { kind: "live", tone: "ok", text, detail: `${rate} frames a second; the newest is ${formatAge(age)} old` };
}

function offline(detail: string): Pill {
  return { kind: "offline", tone: "crit", text: "OFFLINE", detail };
}
