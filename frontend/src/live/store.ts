/**
 * What a snapshot and its deltas make of a dashboard. Functions of (state, message) without a clock, a socket or a
 * framework; they write into the state's columns in place.
 */

import { Columns } from "./columns";
import type { Cells, Delta, NewGroup, Notes, PanelInfo, Since, Snapshot, ViewDelta } from "./protocol";

export interface View {
  readonly id: string;
  readonly every: number;
  readonly window: number;
  readonly additive: boolean;
  readonly columns: Columns;
  closed: number;
  version: number;
  notes: Notes;
  /** Counts what was applied, so that a painter sees whether anything is new. */
  revision: number;
}

/** A stretch of time that nobody can send any more. Epoch ms. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

export interface DashboardState {
  readonly name: string;
  readonly title: string;
  readonly epoch: string;
  readonly window: number;
  readonly hz: number;
  readonly panels: readonly PanelInfo[];
  readonly views: readonly View[];
  readonly gaps: readonly Gap[];
  /** The server's clock in the newest frame, epoch ms. */
  now: number;
}

/** missed: index of a view whose part starts after what is held, so that a hole would follow; -1 when there is none. */
export type Applied =
  | { readonly kind: "applied"; readonly cells: number; readonly missed: number }
  | { readonly kind: "ignored" };

/** A line bridges so many intervals; what is further apart is a hole. */
export const BRIDGED = 3;

export function fromSnapshot(message: Snapshot, before: DashboardState | null): DashboardState {
  const views = message.views.map((view): View => {
    const columns = new Columns(view.every, view.window, message.now);
    write(columns, view.groups, view.cells);
    const { id, every, window, additive, closed } = view;
    const revision = 1 + (before?.views.find((old) => old.id === id)?.revision ?? -1);
    return { id, every, window, additive, closed, columns, version: message.versions[view.id] ?? 0, notes: view.notes ?? {}, revision };
  });
  const lost = before === null || before.epoch === message.epoch ? null : hole(before.views, views);
  const gaps = [...(before?.gaps ?? []), ...(lost === null ? [] : [lost])];
  return {
    name: message.dashboard,
    title: message.title,
    epoch: message.epoch,
    window: message.window,
    hz: message.hz,
    panels: message.panels,
    views,
    gaps: gaps.filter((gap) => gap.to > message.now - message.window),
    now: message.now,
  };
}

export function applyDelta(state: DashboardState, delta: Delta): Applied {
  if (delta.epoch !== state.epoch) return { kind: "ignored" };
  let cells = 0;
  let missed = -1;
  for (const part of delta.views) {
    const view = state.views[part[0]];
    if (view === undefined) continue;
    if (part[1] > view.version) missed = part[0];
    else cells += applyPart(view, part);
  }
  for (const [index, notes] of delta.notes ?? []) {
    const view = state.views[index];
    if (view !== undefined) view.notes = notes;
  }
  state.now = Math.max(state.now, delta.now);
  for (const view of state.views) view.columns.advance(state.now);
  return { kind: "applied", cells, missed };
}

/** What a `subscribe` says of what is held already. */
export function since(state: DashboardState): Since {
  return { epoch: state.epoch, versions: Object.fromEntries(state.views.map((view) => [view.id, view.version])) };
}

/** Index of the newest bucket that may be shown as complete: of an additive view only closed ones. */
export function lastShown(view: View): number {
  const newest = view.columns.newest();
  return view.additive ? Math.min(newest, Math.floor(view.closed / view.every) - 1) : newest;
}

function applyPart(view: View, part: ViewDelta): number {
  const [, , to, closed, groups, cells] = part;
  view.closed = Math.max(view.closed, closed);
  if (to < view.version) return 0; // of a gateway that is behind the one before: everything in it is here, or newer
  view.version = to;
  view.revision += 1;
  return write(view.columns, groups, cells);
}

function write(columns: Columns, groups: readonly NewGroup[], cells: readonly Cells[]): number {
  let written = 0;
  for (const [number, labels] of groups) columns.define(number, labels);
  for (const [start, numbers, values] of cells) {
    for (let i = 0; i < numbers.length; i++) {
      if (columns.put(start, numbers[i] ?? -1, values[i] ?? null)) written++;
    }
  }
  return written;
}

/** The longest stretch between what was held and what a new epoch begins with, where that is more than a line bridges. */
function hole(before: readonly View[], after: readonly View[]): Gap | null {
  let longest: Gap | null = null;
  for (const old of before) {
    const now = after.find((view) => view.id === old.id);
    if (now === undefined || old.columns.newest() < 0) continue;
    const from = old.columns.newest() * old.every;
    const to = oldest(now.columns) * now.every;
    if (to - from <= BRIDGED * now.every) continue;
    if (longest === null || to - from > longest.to - longest.from) longest = { from, to };
  }
  return longest;
}

function oldest(columns: Columns): number {
  const newest = columns.newest();
  const live = columns.live();
  for (let index = columns.horizon; index <= newest; index++) {
    if (live.some((column) => !Number.isNaN(columns.at(column, index)))) return index;
  }
  return -1;
}
