/**
 * window.tideboard: what this page holds, for tests and for the curious. Reading it copies; nothing can be changed.
 *
 *     tideboard.version                                     // of this handle: 1
 *     tideboard.dashboards.host.epoch                       // and .versions, by id of the view
 *     tideboard.dashboards.host.views[id].groups            // [{ number, labels, cells: [[t, v], ...] }, ...]
 *
 * t is the start of the bucket in epoch ms, v the value at full precision; a bucket without a value is left out.
 */

import type { DashboardState } from "../live";
import { client } from "./session";

declare global {
  interface Window {
    readonly tideboard: { readonly version: 1; readonly dashboards: Record<string, ReturnType<typeof copy>> };
  }
}

export function exposeState(): void {
  const handle = {
    version: 1,
    get dashboards() {
      const states = client.feeds().flatMap((feed) => (feed.state === null ? [] : [feed.state]));
      return Object.fromEntries(states.map((state) => [state.name, copy(state)]));
    },
  };
  Object.defineProperty(window, "tideboard", { value: Object.freeze(handle) });
}

function copy(state: DashboardState) {
  const views = state.views.map((view) => {
    const groups = view.columns.live().map((column) => {
      const cells: [number, number][] = [];
      for (let index = view.columns.horizon; index <= column.newest; index++) {
        const value = view.columns.at(column, index);
        if (!Number.isNaN(value)) cells.push([index * view.every, value]);
      }
      return { number: column.number, labels: { ...column.labels }, cells };
    });
    const { every, window, additive, closed, version } = view;
    return [view.id, { every, window, additive, closed, version, groups }] as const;
  });
  const versions = Object.fromEntries(state.views.map((view) => [view.id, view.version]));
  return { epoch: state.epoch, now: state.now, versions, views: Object.fromEntries(views) };
}
