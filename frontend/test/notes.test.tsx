/** What a panel says when it cannot show everything that came: the badge in its head, and where its words come from. */

import { render } from "preact";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { decode } from "../src/live/decode";
import type { Delta, Notes, Snapshot } from "../src/live/protocol";
import { applyDelta, fromSnapshot } from "../src/live/store";
import { beat } from "../src/wall/frames";
import { noteOf } from "../src/wall/notes";
import { Panel } from "../src/wall/panels/panel";
import { golden } from "./golden";
import { delta, panel, state, T, view } from "./messages";

const of = (notes: Notes, now = T) => noteOf(state({ views: [view({ notes })] }), panel(), now);
const plain = (text: string | undefined) => text?.replaceAll(/[\u202f\u00a0]/g, " ");

describe("words", () => {
  test("nothing to note is no badge", () => {
    expect(of({})).toBeNull();
    expect(of({ at: T })).toBeNull();
  });

  test("groups that are pooled are said with their number, the limit and since when", () => {
    const note = of({ pooled: 1874, limit: 666, since: T });
    expect(note?.text).toBe("+1.9K groups");
    expect(note?.detail).toContain("666 groups are shown; about 1,874 groups more are pooled as “other groups” since ");
    expect(note?.detail).toContain("Sums over all groups stay exact.");
    expect(note?.detail).not.toContain("some samples");
    expect(of({ pooled: 1, limit: 2, since: T, partial: 2 })?.detail).toContain("Of 2 of the groups that are shown, some samples may be");
    expect(of({ pooled: 1, limit: 2, since: T })?.text).toBe("+1 group");
  });

  test("late samples are news for as long as the panel shows the time at which they came", () => {
    const notes = { late: 12, late_at: T - 30_000 };
    expect(of(notes)?.text).toBe("12 late");
    expect(plain(of(notes)?.detail)).toContain("12 samples came after the time they belong to had been closed for good, the last 30 s ago");
    expect(of(notes, T + 31_000)).toBeNull();
    expect(of({ late: 1, late_at: T })?.detail).toContain("1 sample came after the time it belongs to had been closed for good");
  });

  test("a counter that several processes write is said to be one", () => {
    expect(of({ contested: 3 })?.text).toBe("two writers");
    expect(of({ contested: 3 })?.detail).toContain("3 samples of the others were passed over");
    expect(of({ contested: 1 })?.detail).toContain("1 sample of the others");
  });

  test("series that nobody follows make values incomplete", () => {
    expect(of({ left_out: 40 })?.detail).toContain("About 40 series are more than can be followed one by one: values are incomplete.");
  });

  test("several notes are one badge, and of several views the worst counts", () => {
    const views = [view({ notes: { late: 3, late_at: T } }), view({ id: "v1", notes: { late: 2, late_at: T, pooled: 5, limit: 9, since: T } })];
    const lines = [{ query: "a", fn: "avg", view: 0 }, { query: "a", fn: "max", view: 1 }];
    expect(noteOf(state({ views }), panel({ lines }), T)?.text).toBe("+5 groups · 3 late");
  });
});

describe("frames", () => {
  test("the golden frame brings notes to each of its views", () => {
    const held = fromSnapshot(decode(golden("snapshot")) as Snapshot, null);
    expect(held.views.map((each) => each.notes)).toEqual([{}, {}]);
    expect(applyDelta(held, decode(golden("delta_notes")) as Delta)).toMatchObject({ kind: "applied", cells: 0 });
    expect(held.views[0]?.notes).toEqual({ at: 1795385023400, late: 12, late_at: 1795385023336, pooled: 1874, since: 1795385020000, limit: 666, partial: 3 });
    expect(held.views[1]?.notes).toEqual({ at: 1795385023400, left_out: 40 });
  });

  test("notes that ended are taken back", () => {
    const held = state({ views: [view({ notes: { pooled: 3, limit: 2, since: T } })] });
    applyDelta(held, delta([], { notes: [[0, { at: T }]] }));
    expect(noteOf(held, panel(), T)).toBeNull();
  });

  test.each([
    [{ type: "delta", dashboard: "d", epoch: "e", now: 1, views: [], notes: [[0]] }, "notes[0][1]: expected an object, got nothing"],
    [{ type: "delta", dashboard: "d", epoch: "e", now: 1, views: [], notes: [[0, { late: "x" }]] }, "notes[0][1].late: expected a number, got a string"],
  ])("notes that are none are refused by their place", (message, reason) => {
    expect(() => decode(JSON.stringify(message))).toThrow(reason);
  });
});

describe("the badge", () => {
  let root: HTMLElement;
  beforeEach(() => {
    root = document.createElement("div");
    document.body.replaceChildren(root);
    beat.value = { at: performance.now(), now: T + 1000 };
  });
  afterEach(() => render(null, root));

  const show = (notes: Notes) => {
    const shown = panel();
    const groups = [[0, { host: "a" }], [1, { __overflow__: "true" }]] as const;
    const views = [view({ groups, cells: [[T, [0, 1], [1, 2]]], notes })];
    render(<Panel panel={shown} state={state({ panels: [shown], views })} />, root);
    return root;
  };

  test("says its sentence to who looks and to who listens", () => {
    const badge = show({ pooled: 7, limit: 2, since: T }).querySelector<HTMLElement>("header .note");
    expect(badge?.querySelector(".words")?.textContent).toBe("+7 groups");
    expect(badge?.getAttribute("aria-label")).toBe(badge?.querySelector(".detail")?.textContent);
    expect(badge?.tagName).toBe("BUTTON");
  });

  test("is not there where there is nothing to say", () => {
    expect(show({}).querySelector(".note")).toBeNull();
  });

  test("a table calls the pooled group what it is, in place of its labels", () => {
    const shown = panel({ type: "table" });
    const groups = [[0, { host: "a" }], [1, { __overflow__: "true" }]] as const;
    render(<Panel panel={shown} state={state({ panels: [shown], views: [view({ groups, cells: [[T, [0, 1], [1, 2]]] })] })} />, root);
    expect([...root.querySelectorAll("th")].map((th) => th.textContent)).toEqual(["host", "avg"]);
    expect([...root.querySelectorAll("tbody tr")].map((row) => row.firstElementChild?.textContent)).toEqual(["other groups", "a"]);
  });

  test("the pooled group is called what it is", () => {
    expect(show({}).textContent).toContain("other groups");
    expect(show({}).textContent).not.toContain("true");
  });
});
