/** From columns of several views to the rows of one plot: common times, bridges and holes. Pure. */

import { BRIDGED, lastShown, type Gap } from "../live";
import type { Data } from "./renderer";
import type { Series } from "./series";


type Value = number | null | undefined;

/** low, high: what the shown lines span, NaN when there is nothing. */
export interface Aligned {
  readonly data: Data;
  readonly low: number;
  readonly high: number;
}

export function align(series: readonly Series[], shown: ReadonlySet<string>, gaps: readonly Gap[]): Aligned {
  const times = commonTimes(series);
  const slots = new Map(times.map((time, slot) => [time, slot]));
  const values: Value[][] = [];
  const lonely: number[][] = [];
  let low = NaN;
  let high = NaN;
  for (const each of series) {
    const row = rowOf(each, times, slots);
    values.push(row.values);
    lonely.push(row.lonely);
    if (!shown.has(each.key)) continue;
    if (!(row.low >= low)) low = row.low;
    if (!(row.high <= high)) high = row.high;
  }
  return { data: { times, values, lonely, gaps }, low, high };
}

function commonTimes(series: readonly Series[]): number[] {
  const views = new Set(series.map((each) => each.view));
  const times = new Set<number>();
  for (const view of views) {
    for (let index = view.columns.horizon; index <= lastShown(view); index++) times.add(index * view.every);
  }
  const list = [...times];
  return views.size > 1 ? list.toSorted((a, b) => a - b) : list;
}

function rowOf({ view, column }: Series, times: readonly number[], slots: ReadonlyMap<number, number>) {
  const values: Value[] = Array.from<Value>({ length: times.length }).fill(undefined);
  const lonely: number[] = [];
  const last = lastShown(view);
  let low = NaN;
  let high = NaN;
  let before = -Infinity; // bucket and slot of the last value
  let beforeSlot = -1;
  let joined = true;
  for (let index = view.columns.horizon; index <= last; index++) {
    const value = view.columns.at(column, index);
    if (Number.isNaN(value)) continue;
    const slot = slots.get(index * view.every) ?? 0;
    const joins = index - before <= BRIDGED;
    if (!joins) values.fill(null, beforeSlot + 1, slot);
    if (!joins && !joined) lonely.push(beforeSlot);
    values[slot] = value;
    joined = joins;
    before = index;
    beforeSlot = slot;
    if (!(value >= low)) low = value;
    if (!(value <= high)) high = value;
  }
  if (!joined) lonely.push(beforeSlot);
  values.fill(null, beforeSlot + 1);
  return { values, lonely, low, high };
}
