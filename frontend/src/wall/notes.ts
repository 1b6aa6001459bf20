/** What is wrong with what a panel shows although it is up to date: too many groups, samples that came too late. Pure. */

import type { DashboardState, Notes, PanelInfo } from "../live";
import { formatSpan } from "./units";

export interface Note {
  /** A few words, for the badge. */
  readonly text: string;
  /** Sentences with all the numbers. */
  readonly detail: string;
}

/** Late samples are news for as long as the panel shows the time at which they came, and for this long. */
const LEAST_NEWS_MS = 60_000;
const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** null where there is nothing to say. now: the server's clock, epoch ms. */
export function noteOf(state: DashboardState, panel: PanelInfo, now: number | null): Note | null {
  const notes = worstOf(panel.lines.flatMap((line) => state.views[line.view]?.notes ?? []));
  const said = [pooled(notes), leftOut(notes), contested(notes), late(notes, panel.window, now ?? state.now)].filter((note) => note !== null);
  if (said.length === 0) return null;
  return { text: said.map((note) => note.text).join(" \u00b7 "), detail: said.map((note) => note.detail).join(" ") };
}

/** The highest of each number: the lines of a panel mostly read the same samples. */
function worstOf(all: readonly Notes[]): Required<Notes> {
  const most = (of: (notes: Notes) => number | undefined) => Math.max(0, ...all.map((notes) => of(notes) ?? 0));
  return {
    at: most((notes) => notes.at),
    late: most((notes) => notes.late),
    late_at: most((notes) => notes.late_at),
    pooled: most((notes) => notes.pooled),
    since: most((notes) => notes.since),
    limit: most((notes) => notes.limit),
    left_out: most((notes) => notes.left_out),
    contested: most((notes) => notes.contested),
    partial: most((notes) => notes.partial),
  };
}

function pooled(notes: Required<Notes>): Note | null {
  if (notes.pooled === 0) return null;
  const groups = `${NUMBER.format(notes.pooled)} ${notes.pooled === 1 ? "group" : "groups"}`;
  const partial =
    notes.partial === 0
      ? ""
      : ` Of ${NUMBER.format(notes.partial)} of the groups that are shown, some samples may be among the other groups.`;
  return {
    text: `+${SHORT.format(notes.pooled)} ${notes.pooled === 1 ? "group" : "groups"}`,
    detail:
      `${NUMBER.format(notes.limit)} groups are shown; about ${groups} more are pooled as \u201cother groups\u201d since ${clock(notes.since)}.` +
      ` Sums over all groups stay exact.${partial} A narrower where, fewer labels in by, or a higher maxGroups shows more of them apart.`,
  };
}

function leftOut(notes: Required<Notes>): Note | null {
  if (notes.left_out === 0) return null;
  const series = `${NUMBER.format(notes.left_out)} series`;
  return {
    text: `${SHORT.format(notes.left_out)} series left out`,
    detail: `About ${series} are more than can be followed one by one: values are incomplete.`,
  };
}

function contested(notes: Required<Notes>): Note | null {
  if (notes.contested === 0) return null;
  const samples = `${NUMBER.format(notes.contested)} ${notes.contested === 1 ? "sample" : "samples"}`;
  return {
    text: "two writers",
    detail:
      `Several processes write one counter: ${samples} of the others were passed over, so that rates do not add them up.` +
      ` Give each process a label of its own.`,
  };
}

function late(notes: Required<Notes>, window: number, now: number): Note | null {
  const age = now - notes.late_at;
  if (notes.late === 0 || age > Math.max(window, LEAST_NEWS_MS)) return null;
  const samples = notes.late === 1 ? "1 sample came after the time it belongs to" : `${NUMBER.format(notes.late)} samples came after the time they belong to`;
  return {
    text: `${SHORT.format(notes.late)} late`,
    detail: `${samples} had been closed for good, the last ${formatSpan(Math.max(0, age))} ago: no value contains them.`,
  };
}

function clock(time: number): string {
  return new Date(time).toLocaleTimeString("en-GB");
}
