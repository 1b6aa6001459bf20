/** How old what a panel shows is, and whether that is older than it should be. Pure. */

import type { DashboardState, PanelInfo } from "../live";
import { expectedInterval } from "./series";

export interface Freshness {
  /** Since the end of the newest bucket with a value, ms. */
  readonly age: number;
  readonly stale: boolean;
}

/** A bucket's last values travel for a while; ages below this are nobody's business. */
const LEAST_MS = 2000;

/** null when the panel has no data at all. now: the server's clock. */
export function freshness(state: DashboardState, panel: PanelInfo, now: number): Freshness | null {
  let end = -Infinity;
  let expected = 0;
  for (const line of panel.lines) {
    const view = state.views[line.view];
    const newest = view?.columns.newest() ?? -1;
    if (view === undefined || newest < 0) continue;
    end = Math.max(end, (newest + 1) * view.every);
    expected = Math.max(expected, expectedInterval(view));
  }
  if (end === -Infinity) return null;
  const age = Math.max(0, now - end);
  return { age, stale: age > Math.max(LEAST_MS, 2 * expected) };
}
