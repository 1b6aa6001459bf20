/** What is in the page: numbers, states and words, as a test in a browser or a person's own script would find them. */

import { render } from "preact";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { PanelInfo, Threshold } from "../src/live";
import type { Snapshot } from "../src/live/protocol";
import { beat } from "../src/wall/frames";
import { Notice, Place } from "../src/wall/pages/notice";
import { Panel } from "../src/wall/panels/panel";
import { routeOf } from "../src/wall/route";
import { panel, state, T, view } from "./messages";

let root: HTMLElement;

beforeEach(() => {
  root = document.createElement("div");
  document.body.replaceChildren(root);
  const answer = { document: { spec: { panels: [{ id: "p", query: { metric: "host_gpu_busy_ratio" } }] } } };
  vi.stubGlobal("fetch", vi.fn<typeof fetch>(() => Promise.resolve(new Response(JSON.stringify(answer)))));
});

afterEach(() => {
  render(null, root);
  vi.unstubAllGlobals();
});

const LOADED: readonly Threshold[] = [{ above: 0.8, state: "warning" }, { above: 0.95, state: "critical" }];

/** The panel as it stands in the page, `later` ms after the newest bucket. */
function show(info: Partial<PanelInfo>, data: Partial<Snapshot>, later = 1000): HTMLElement {
  const shown = panel(info);
  beat.value = { at: performance.now(), now: T + later };
  render(<Panel panel={shown} state={state({ panels: [shown], ...data })} />, root);
  const element = root.querySelector<HTMLElement>(`[data-panel="${shown.id}"]`);
  if (element === null) throw new Error("there is no panel");
  return element;
}

const values = (element: HTMLElement) =>
  [...element.querySelectorAll<HTMLElement>("[data-group]")].map(({ dataset }) => [dataset["group"], dataset["value"], dataset["time"]]);
const text = (element: HTMLElement) => (element.textContent ?? "").replaceAll("\u202f", " ");

const TWO = { views: [view({ groups: [[0, { cpu: "0" }], [1, { cpu: "1" }]], cells: [[T, [0, 1], [0.123456789, 0.97]]] })] };
const BOTH = [['{"cpu":"0"}', "0.123456789", String(T)], ['{"cpu":"1"}', "0.97", String(T)]];

describe("every type of panel", () => {
  test.each(["timeseries", "stat", "gauge", "bar", "table"] as const)("%s says each current value in full, with its group and bucket", (type) => {
    expect(values(show({ type, unit: "percentunit" }, TWO)).toSorted()).toEqual(BOTH);
  });
  test.each(["timeseries", "stat", "gauge", "bar", "table"] as const)("%s says what is critical by an icon with a name, not by colour alone", (type) => {
    const element = show({ type, thresholds: LOADED }, TWO);
    expect(element.querySelector('.body [aria-label="critical"]')).not.toBeNull();
    expect(element.querySelector('header [aria-label="critical"]')).not.toBeNull();
    expect(element.querySelector('[aria-label="warning"]')).toBeNull();
  });
  test.each(["timeseries", "stat", "gauge", "bar", "table"] as const)("%s shows the last closed bucket of what is still growing", (type) => {
    const views = [view({ additive: true, closed: T, cells: [[T - 1000, [0], [42]], [T, [0], [3]]] })];
    expect(values(show({ type }, { views }))).toEqual([["{}", "42", String(T - 1000)]]);
  });
});

test("a stat of one group is one big number with its unit", () => {
  const element = show({ type: "stat", unit: "Bps" }, { views: [view({ cells: [[T, [0], [1_234_567]]] })] });
  expect(text(element)).toContain("1.23");
  expect(element.querySelector(".unit")?.textContent).toBe("MB/s");
});

test("a table has a column per label and per line, the largest first, and leaves out what is reported no more", () => {
  const groups = [[0, { process: "old", pid: "1" }], [1, { process: "small", pid: "2" }], [2, { process: "large", pid: "3" }]] as const;
  const cells = [...Array.from({ length: 9 }, (_, i) => [T - (9 - i) * 1000, [1, 2], [1, 9]] as const), [T, [1, 2], [1, 9]] as const];
  const element = show({ type: "table" }, { views: [view({ groups, cells: [[T - 30_000, [0], [5]], ...cells] })] });
  expect([...element.querySelectorAll("th")].map((th) => th.textContent)).toEqual(["process", "pid", "avg"]);
  expect([...element.querySelectorAll("tbody tr")].map((row) => row.firstElementChild?.textContent)).toEqual(["large", "small"]);
});

test("a plot says in words what it shows", () => {
  const element = show({ title: "CPU", unit: "percentunit" }, TWO);
  const label = element.querySelector('[role="img"].canvas')?.getAttribute("aria-label")?.replaceAll("\u202f", " ");
  expect(label).toBe("CPU, lines over the last 60 seconds: 0 12.3 %, 1 97.0 %");
});

describe("age", () => {
  test("is said quietly while the panel is as new as it should be", () => {
    const views = [view({ every: 10_000, cells: [[T, [0], [1]]] })];
    const element = show({}, { views }, 17_900);
    expect(element.dataset["stale"]).toBe("false");
    expect(element.querySelector(".age")?.textContent).toBe("7 s");
  });
  test("is no flickering number while it is next to nothing", () => {
    expect(show({}, TWO, 1100).querySelector(".age")?.textContent).toBe("\u2264 2 s");
    expect(text(root)).not.toContain("stale");
  });
  test("is said, and the panel looks it, once it is older", () => {
    const element = show({}, TWO, 15_500);
    expect(element.dataset["stale"]).toBe("true");
    expect(element.classList.contains("stale")).toBe(true);
    expect(text(element)).toContain("stale 14 s");
  });
});

test("a panel without data says so, and what it waits for", async () => {
  const element = show({ type: "stat" }, {});
  expect(text(element)).toContain("No data yet");
  await vi.waitFor(() => expect(text(element)).toContain("waiting for host_gpu_busy_ratio"));
});

test("a panel of a type that this page does not know says so", () => {
  expect(text(show({ type: "hologram" as never }, TWO))).toContain('cannot draw "hologram"');
});

test("a panel stands where its author put it", () => {
  const { style } = show({ grid: { x: 12, y: 4, w: 6, h: 8 } }, TWO);
  expect(["--x", "--w", "--y", "--h"].map((name) => style.getPropertyValue(name))).toEqual(["13", "6", "5", "8"]);
});

test("a notice names file, line and path as one types them", () => {
  render(
    <Notice title="broken">
      <Place source="dashboards/host.yaml" line={12} path="spec.panels[0].query.fn" />
    </Notice>,
    root,
  );
  expect([...root.querySelectorAll("code")].map((code) => code.textContent)).toEqual(["dashboards/host.yaml:12", "spec.panels[0].query.fn"]);
});


test.each([
  ["/", { page: "list" }],
  ["/d/host", { page: "dashboard", name: "host" }],
  ["/d/a%20b/", { page: "dashboard", name: "a b" }],
  ["/d/%", { page: "dashboard", name: "%" }],
  ["/x", { page: "lost" }],
] as const)("%s leads to %o", (path, route) => expect(routeOf(path)).toEqual(route));
