/**
 * One subscription as its viewers see it: the dashboard, what is wrong with it, how fresh it is, how the last
 * resume went. Pure: what was received, and when, comes in; the new feed, and whether to ask again, goes out.
 */

import { SET_BACK_MS } from "./clock";
import type { Fault, ServerMessage, Status } from "./protocol";
import { applyDelta, fromSnapshot, type DashboardState } from "./store";

/** How the last reconnect went. at: local monotonic ms; gapMs: what could not be recovered. */
export interface Resumed {
  readonly at: number;
  readonly points: number;
  readonly gapMs: number;
}

export interface Feed {
  readonly name: string;
  readonly state: DashboardState | null;
  readonly fault: Fault | null;
  readonly status: Status | null;
  readonly resumed: Resumed | null;
  /** The connection was lost, and the answer to the new subscription is still to come. */
  readonly resuming: boolean;
  /** When it was last asked for again because of a hole or a clock, local monotonic ms. */
  readonly askedAt: number;
  /** What is held is of no use: the server's clock was set back, and here time only goes forward. All is asked for. */
  readonly anew: boolean;
}

const ASK_AGAIN_MS = 3000;

export function newFeed(name: string): Feed {
  return { name, state: null, fault: null, status: null, resumed: null, resuming: false, askedAt: -Infinity, anew: false };
}

/** The feed after a message, and whether to subscribe again, with `since` unless it is `anew`. */
export function receive(feed: Feed, message: ServerMessage, at: number): { readonly feed: Feed; readonly ask: boolean } {
  switch (message.type) {
    case "snapshot": {
      const state = fromSnapshot(message, feed.state);
      const resumed = feed.resuming && feed.state !== null ? whole(state, feed.state, at) : feed.resumed;
      return { feed: { ...feed, state, fault: null, resumed, resuming: false, askedAt: -Infinity, anew: false }, ask: false };
    }
    case "delta": {
      if (feed.state === null) return { feed, ask: false };
      if (message.now < feed.state.now - SET_BACK_MS) return askAgain({ ...feed, anew: true }, at);
      const applied = applyDelta(feed.state, message);
      if (applied.kind === "ignored") return { feed, ask: false };
      if (applied.missed >= 0) return askAgain(feed, at);
      if (feed.fault === null && !feed.resuming && feed.askedAt === -Infinity) return { feed, ask: false };
      const resumed = feed.resuming ? { at, points: applied.cells, gapMs: 0 } : feed.resumed;
      return { feed: { ...feed, fault: null, resumed, resuming: false, askedAt: -Infinity }, ask: false };
    }
    case "status":
      return { feed: { ...feed, status: message }, ask: false };
    case "error":
      return { feed: { ...feed, fault: message, resuming: false }, ask: false };
    default:
      return { feed, ask: false };
  }
}

function askAgain(feed: Feed, at: number): { readonly feed: Feed; readonly ask: boolean } {
  const ask = at - feed.askedAt >= ASK_AGAIN_MS;
  return { feed: ask ? { ...feed, askedAt: at } : feed, ask };
}

/** After a reconnect that was answered by everything: nothing is missing unless a new epoch begins later. */
function whole(state: DashboardState, before: DashboardState, at: number): Resumed {
  const gap = state.gaps.at(-1);
  if (gap !== undefined && !before.gaps.includes(gap)) return { at, points: 0, gapMs: gap.to - gap.from };
  let points = 0;
  for (const view of state.views) {
    const old = before.views.find((other) => other.id === view.id);
    const held = old === undefined ? -1 : Math.floor((old.columns.newest() * old.every) / view.every);
    for (const column of view.columns.live()) {
      for (let index = Math.max(held + 1, view.columns.horizon); index <= column.newest; index++) {
        if (!Number.isNaN(view.columns.at(column, index))) points++;
      }
    }
  }
  return { at, points, gapMs: 0 };
}
