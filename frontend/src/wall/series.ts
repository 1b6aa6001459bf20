/** The series of a panel: one per line and group, with the names and the current values that are shown. Pure. */

import { BRIDGED, lastShown, type Column, type DashboardState, type Labels, type LineInfo, type PanelInfo, type View } from "../live";

export interface Series {
  /** Unique within the panel, and stable within an epoch. */
  readonly key: string;
  readonly name: string;
  readonly line: LineInfo;
  readonly view: View;
  readonly column: Column;
}

/** The newest value that may be shown. time: start of its bucket, epoch ms; fresh: as new as its view. */
export interface Current {
  readonly value: number;
  readonly time: number;
  readonly fresh: boolean;
}

/** The label of the group in which all are pooled that are past the limit, and what it is called. */
export const OVERFLOW = "__overflow__";
export const OTHERS = "other groups";
const NATURAL = new Intl.Collator("en", { numeric: true });

/** Series with a value in the window, by line, then by name as a person counts (cpu 2 before cpu 10). */
export function seriesOf(state: DashboardState, panel: PanelInfo): Series[] {
  return panel.lines.flatMap((line, at) => {
    const view = state.views[line.view];
    if (view === undefined) return [];
    return view.columns
      .live()
      .map((column) => ({ key: `${at}:${column.number}`, name: nameOf(panel, line, column), line, view, column }))
      .toSorted((a, b) => Number(isOverflow(a.column.labels)) - Number(isOverflow(b.column.labels)) || NATURAL.compare(a.name, b.name));
  });
}

/** Every series with its current value. What a view's series share is worked out once. */
export function shownOf(state: DashboardState, panel: PanelInfo): { readonly series: Series; readonly current: Current | null }[] {
  const used = new Set(panel.lines.flatMap((line) => state.views[line.view] ?? []));
  const views = new Map([...used].map((view) => [view, { last: lastShown(view), within: freshBuckets(view) }]));
  return seriesOf(state, panel).map((series) => {
    const { last = -1, within = 0 } = views.get(series.view) ?? {};
    return { series, current: currentOf(series, last, within) };
  });
}

/** last: the newest bucket of the view that may be shown; within: by how many buckets a series may be behind it. */
function currentOf({ view, column }: Series, last: number, within: number): Current | null {
  for (let index = Math.min(column.newest, last); index >= view.columns.horizon; index--) {
    const value = view.columns.at(column, index);
    if (!Number.isNaN(value)) return { value, time: index * view.every, fresh: last - index <= within };
  }
  return null;
}

/** How long a source of this view takes between two values, ms: what its own history shows, `every` at least. */
export function expectedInterval(view: View): number {
  const column = view.columns.live().toSorted((a, b) => b.newest - a.newest)[0];
  if (column === undefined) return view.every;
  const distances: number[] = [];
  let after = column.newest;
  for (let index = after - 1; index >= view.columns.horizon && distances.length < 20; index--) {
    if (Number.isNaN(view.columns.at(column, index))) continue;
    distances.push(after - index);
    after = index;
  }
  const median = distances.toSorted((a, b) => a - b)[Math.floor((distances.length - 1) / 2)] ?? 1;
  return median * view.every;
}

function freshBuckets(view: View): number {
  return Math.max(BRIDGED, Math.ceil((2 * expectedInterval(view)) / view.every));
}

function nameOf(panel: PanelInfo, line: LineInfo, column: Column): string {
  const queries = new Set(panel.lines.map((other) => other.query)).size > 1;
  const functions = new Set(panel.lines.map((other) => other.fn)).size > 1;
  const parts: string[] = [];
  if (isOverflow(column.labels)) parts.push(OTHERS, ...Object.entries(column.labels).flatMap(([label, value]) => (label === OVERFLOW ? [] : [value])));
  else if (panel.legend === null) parts.push(...Object.values(column.labels));
  else parts.push(fill(panel.legend, { query: line.query, fn: line.fn, ...column.labels }));
  const said = panel.legend ?? "";
  if (queries && !said.includes("{query}")) parts.push(line.query);
  if (functions && line.fn !== "" && !said.includes("{fn}")) parts.push(line.fn);
  return parts.filter((part) => part !== "").join(" · ") || panel.title;
}

/** Whether this is the overflow group, or an item of it. */
export function isOverflow(labels: Labels): boolean {
  return labels[OVERFLOW] === "true";
}

function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\{([^{}]*)\}/g, (_, name: string) => values[name.trim()] ?? "").trim();
}
