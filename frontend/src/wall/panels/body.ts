/** What every panel's body gets. */

import type { DashboardState, PanelInfo } from "../../live";
import type { Beat } from "../frames";
import type { Current, Series } from "../series";

export interface Shown {
  readonly series: Series;
  readonly current: Current | null;
}

export interface BodyProps {
  readonly panel: PanelInfo;
  readonly state: DashboardState;
  readonly shown: readonly Shown[];
  readonly beat: Beat;
  readonly visible: boolean;
}

/** How tests and people's own scripts find a number: which series, which bucket, at full precision. */
export function dataOf({ series, current }: Shown): Record<string, string> {
  return {
    "data-group": JSON.stringify(series.column.labels),
    "data-query": series.line.query,
    "data-fn": series.line.fn,
    "data-view": series.view.id,
    ...(current === null ? {} : { "data-value": String(current.value), "data-time": String(current.time) }),
  };
}
