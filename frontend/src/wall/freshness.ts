/** How old what a panel shows is, and whether that is older than it should be. Pure. */

import type { DashboardState, PanelInfo } from "../live";
import { expectedInterval } from "./series";
import { formatSpan } from "./units";

export interface Freshness {
  /** Since the end of the newest bucket with a value, ms. */
  readonly age: number;
  readonly stale: boolean;
}

/** A bucket's last values travel for a while: below this an age says no more than that it is below. */
const LEAST_MS = 2000;

/** end: of the newest bucket with a value, epoch ms; expected: how far apart values are, ms. */
export interface Newest {
  readonly end: number;
  readonly expected: number;
}

/** null when the panel has no data at all. */
export function newestOf(state: DashboardState, panel: PanelInfo): Newest | null {
  let end = -Infinity;
  let expected = 0;
  for (const line of panel.lines) {
    const view = state.views[line.view];
    const newest = view?.columns.newest() ?? -1;
    if (view === undefined || newest < 0) continue;
    end = Math.max(end, (newest + 1) * view.every);
    expected = Math.max(expected, expectedInterval(view));
  }
  return end === -Infinity ? null : { end, expected };
}

/** now: the server's clock. */
export function freshness({ end, expected }: Newest, now: number): Freshness {
  const age = Math.max(0, now - end);
  return { age, stale: age > Math.max(LEAST_MS, 2 * expected) };
}

/** What the panel's head says of it. A number that flickers between 0 and 2 ten times a second would only be in the way. */
export function sayAge({ age, stale }: Freshness): string {
  if (stale) return `stale ${formatSpan(age)}`;
  return age < LEAST_MS ? `\u2264 ${formatSpan(LEAST_MS)}` : formatSpan(age);
}
