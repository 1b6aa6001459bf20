/** What a value's state is, and how it is said without colour. Pure. */

import type { Threshold } from "../live";

export type State = "none" | "ok" | "warning" | "critical";

/** The state of a value: the highest threshold that it is above. Without thresholds there is none. */
export function stateOf(value: number, thresholds: readonly Threshold[]): State {
  if (thresholds.length === 0 || Number.isNaN(value)) return "none";
  let state: State = "ok";
  let above = -Infinity;
  for (const threshold of thresholds) {
    if (value > threshold.above && threshold.above >= above) {
      state = threshold.state;
      above = threshold.above;
    }
  }
  return state;
}

const ORDER: readonly State[] = ["none", "ok", "warning", "critical"];

export function worst(states: readonly State[]): State {
  return states.reduce<State>((most, state) => (ORDER.indexOf(state) > ORDER.indexOf(most) ? state : most), "none");
}

/** Stretches of [min, max] with their state, for a gauge's ring. */
export function stretches(min: number, max: number, thresholds: readonly Threshold[]): { from: number; to: number; state: State }[] {
  const inside = thresholds.filter((threshold) => threshold.above > min && threshold.above < max).map((threshold) => threshold.above);
  const edges = [min, ...inside.toSorted((a, b) => a - b), max];
  return edges.slice(1).map((to, i) => {
    const from = edges[i] ?? min;
    return { from, to, state: stateOf((from + to) / 2, thresholds) };
  });
}
