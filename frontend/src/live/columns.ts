/**
 * The cells of one view: per group a ring of numbers, one slot per bucket. A ring holds the buckets
 * [horizon, horizon + capacity); a slot outside is NaN, and NaN is "no value". Where cells come from is `store`.
 *
 * Written in place: copying a window ten times a second to change a handful of numbers is what makes pages warm.
 */

import type { Labels } from "./protocol";

export interface Column {
  readonly number: number;
  readonly labels: Labels;
  /** null while the group has no cell in the window: groups such as processes come and go for days. */
  ring: Float64Array | null;
  /** Index of the newest bucket with a value; -1 when there is none. */
  newest: number;
}

export class Columns {
  readonly every: number;
  readonly window: number;
  readonly groups = new Map<number, Column>();
  /** Index (start / every) of the oldest bucket that is kept. */
  horizon: number;
  private capacity: number;

  constructor(every: number, window: number, now: number) {
    this.every = every;
    this.window = window;
    this.horizon = Math.floor((now - window) / every);
    this.capacity = Math.ceil(window / every) + 8;
  }

  define(number: number, labels: Labels): void {
    if (!this.groups.has(number)) this.groups.set(number, { number, labels, ring: null, newest: -1 });
  }

  /** Write one cell. False when it is older than the window or its group was never named. */
  put(start: number, group: number, value: number | null): boolean {
    const index = Math.floor(start / this.every);
    const column = this.groups.get(group);
    if (column === undefined || index < this.horizon) return false;
    if (index >= this.horizon + this.capacity) this.grow(index);
    if (value === null) return this.clear(column, index);
    column.ring ??= new Float64Array(this.capacity).fill(NaN);
    column.ring[index % this.capacity] = value;
    if (index > column.newest) column.newest = index;
    return true;
  }

  /** The value of a bucket, NaN when it has none. */
  at(column: Column, index: number): number {
    if (column.ring === null || index < this.horizon || index > column.newest) return NaN;
    return column.ring[index % this.capacity] ?? NaN;
  }

  /** Drop what is older than now - window. Time does not run backwards here. */
  advance(now: number): void {
    const horizon = Math.floor((now - this.window) / this.every);
    if (horizon <= this.horizon) return;
    const dropped = Math.min(horizon - this.horizon, this.capacity);
    for (const column of this.groups.values()) {
      if (column.ring === null) continue;
      if (column.newest < horizon) {
        column.ring = null;
        column.newest = -1;
      } else {
        for (let i = 0; i < dropped; i++) column.ring[(this.horizon + i) % this.capacity] = NaN;
      }
    }
    this.horizon = horizon;
  }

  /** Groups that have a cell in the window, in the order of their numbers. */
  live(): Column[] {
    return [...this.groups.values()].filter((column) => column.newest >= 0).toSorted((a, b) => a.number - b.number);
  }

  /** Index of the newest bucket with a value in any group, -1 when there is none. */
  newest(): number {
    let newest = -1;
    for (const column of this.groups.values()) newest = Math.max(newest, column.newest);
    return newest;
  }

  private clear(column: Column, index: number): boolean {
    if (column.ring === null) return true;
    column.ring[index % this.capacity] = NaN;
    if (index === column.newest) {
      let newest = index - 1;
      while (newest >= this.horizon && Number.isNaN(column.ring[newest % this.capacity])) newest--;
      column.newest = newest < this.horizon ? -1 : newest;
    }
    return true;
  }

  /** A sender's clock that runs ahead brings buckets beyond the ring. */
  private grow(index: number): void {
    const before = this.capacity;
    this.capacity = Math.max(index - this.horizon + 1, Math.ceil(before * 1.5));
    for (const column of this.groups.values()) {
      if (column.ring === null) continue;
      const ring = new Float64Array(this.capacity).fill(NaN);
      for (let i = this.horizon; i < this.horizon + before; i++) ring[i % this.capacity] = column.ring[i % before] ?? NaN;
      column.ring = ring;
    }
  }
}
