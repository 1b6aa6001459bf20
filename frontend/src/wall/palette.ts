/** Colour and dash of the n-th series: Okabe-Ito, so that it holds for colour-blind eyes, and a dash so that it holds without colour. */

import type { Theme } from "./theme";

// Okabe and Ito's order without black; the dark blue and the yellow change places with what is legible on each ground.
const DARK = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#9DA3EF"];
const LIGHT = ["#0072B2", "#B87A00", "#009E73", "#B4578A", "#D55E00", "#2E86C1", "#6A6FC0"];

/** Lengths in px; the first is solid. A second round through the colours takes other dashes, as 7 and 5 share no divisor. */
const DASHES: readonly (readonly number[])[] = [[], [8, 2], [3, 2], [10, 2, 2, 2], [5, 2]];

export function colorOf(index: number, theme: Theme): string {
  const colors = theme === "dark" ? DARK : LIGHT;
  return colors[index % colors.length] ?? "#888888";
}

export function dashOf(index: number): readonly number[] {
  return DASHES[index % DASHES.length] ?? [];
}
