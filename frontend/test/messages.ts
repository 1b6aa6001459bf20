/** Messages for tests, with everything that a test does not care about filled in. */

import type { Connection, Feed } from "../src/live";
import type { Cells, Delta, NewGroup, PanelInfo, Snapshot, ViewDelta, ViewState } from "../src/live/protocol";
import { fromSnapshot, type DashboardState } from "../src/live/store";
import { IDLE } from "../src/live/connection";
import { newFeed } from "../src/live/feed";

export const T = 1_795_385_020_000;

export function view(partial: Partial<ViewState> = {}): ViewState {
  return { id: "v0", every: 1000, window: 60_000, additive: false, closed: T, groups: [[0, {}]], cells: [], ...partial };
}

export function panel(partial: Partial<PanelInfo> = {}): PanelInfo {
  return {
    id: "p",
    title: "Panel",
    type: "timeseries",
    unit: "",
    window: 60_000,
    grid: { x: 0, y: 0, w: 12, h: 8 },
    thresholds: [],
    min: null,
    max: null,
    decimals: null,
    legend: null,
    description: "",
    lines: [{ query: "a", fn: "avg", view: 0 }],
    ...partial,
  };
}

export function snapshot(partial: Partial<Snapshot> = {}): Snapshot {
  const views = partial.views ?? [view()];
  return {
    type: "snapshot",
    v: 1,
    dashboard: "host",
    epoch: "e1",
    now: T,
    hz: 10,
    title: "Host",
    window: 60_000,
    versions: Object.fromEntries(views.map((each) => [each.id, 100])),
    views,
    panels: [panel()],
    ...partial,
  };
}

export function delta(views: readonly ViewDelta[], partial: Partial<Delta> = {}): Delta {
  return { type: "delta", dashboard: "host", epoch: "e1", now: T, views, ...partial };
}

export function part(from: number, to: number, cells: readonly Cells[], groups: readonly NewGroup[] = [], index = 0): ViewDelta {
  return [index, from, to, T, groups, cells];
}

export function state(partial: Partial<Snapshot> = {}): DashboardState {
  return fromSnapshot(snapshot(partial), null);
}

export function feed(partial: Partial<Feed> = {}): Feed {
  return { ...newFeed("host"), ...partial };
}

export function connection(partial: Partial<Connection> = {}): Connection {
  return { ...IDLE, phase: "open", socket: 1, opened: 1, ...partial };
}

/** All cells of a state as text keys, so that they compare with a model's. */
export function cellsOf(held: DashboardState): Map<string, number> {
  const cells = new Map<string, number>();
  held.views.forEach(({ columns }, index) => {
    for (const column of columns.live()) {
      for (let bucket = columns.horizon; bucket <= column.newest; bucket++) {
        const value = columns.at(column, bucket);
        if (!Number.isNaN(value)) cells.set(`${index}/${column.number}/${bucket * columns.every}`, value);
      }
    }
  });
  return cells;
}
