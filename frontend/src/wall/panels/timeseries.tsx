/** Lines over time. This file connects the state to a renderer; drawing happens behind `renderer`. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { DashboardState, PanelInfo } from "../../live";
import { align, type Aligned } from "../align";
import { paintEvery, paintWith, type Beat } from "../frames";
import { useSlowly } from "../memory";
import { reducedMotion } from "../motion";
import { colorOf, dashOf } from "../palette";
import { nextRange, type Range } from "../range";
import type { Hover, LineStyle, Look, Renderer } from "../renderer";
import type { Series } from "../series";
import { theme } from "../theme";
import { formatText } from "../units";
import { UplotRenderer } from "../uplot";
import type { BodyProps, Shown } from "./body";
import { choice, Legend } from "./legend";
import { Tooltip } from "./tooltip";

const SUMMARY_MS = 10_000;
/** More lines than this no eye tells apart; the legend says how many are left out. */
const MOST = 50;

/** What a painter needs of the last rendering, without rendering again. */
interface Scene {
  panel: PanelInfo;
  state: DashboardState;
  series: readonly Series[];
  shown: ReadonlySet<string>;
}

export function Timeseries({ panel, state, shown: all, beat, visible }: BodyProps) {
  const shown = all.slice(0, MOST);
  const [alone, setAlone] = useState<ReadonlySet<string> | null>(null);
  const [hover, setHover] = useState<Hover | null>(null);
  const series = shown.map((each) => each.series);
  const lines = useLines(state, series, alone);
  const keys = lines.filter((line) => line.shown).map((line) => line.key).join();
  const scene: Scene = { panel, state, series, shown: useMemo(() => new Set(keys.split(",")), [keys]) };
  const look: Look = { theme: theme.value, unit: panel.unit, lines, thresholds: panel.thresholds };
  const { host, painted } = usePlot(scene, look, visible, setHover);
  const label = useSlowly(summary(panel, shown), beat.at, SUMMARY_MS);
  const choose = (key: string, shift: boolean) => setAlone(choice(alone, key, lines.map((line) => line.key), shift));
  return (
    <div class="timeseries">
      <div class="plot">
        <div class="canvas" ref={host} role="img" aria-label={label} />
        {hover !== null && painted.current !== null && (
          <Tooltip panel={panel} hover={hover} data={painted.current.data} lines={lines} width={host.current?.clientWidth ?? 0} />
        )}
      </div>
      <Legend panel={panel} shown={shown} lines={lines} choose={choose} omitted={all.length - shown.length} />
    </div>
  );
}

/** A colour belongs to a series from its first appearance on, whoever comes and goes around it. */
function useLines(state: DashboardState, series: readonly Series[], alone: ReadonlySet<string> | null): LineStyle[] {
  const order = useRef<{ epoch: string; numbers: Map<string, number> }>({ epoch: state.epoch, numbers: new Map() });
  if (order.current.epoch !== state.epoch) order.current = { epoch: state.epoch, numbers: new Map() };
  const { numbers } = order.current;
  return series.map(({ key, name }) => {
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    return { key, name, color: colorOf(number, theme.value), dash: dashOf(number), shown: alone?.has(key) ?? true };
  });
}

function usePlot(scene: Scene, look: Look, visible: boolean, hovered: (hover: Hover | null) => void) {
  const host = useRef<HTMLDivElement>(null);
  const renderer = useRef<Renderer | null>(null);
  const painted = useRef<Aligned | null>(null);
  const current = useRef(scene);
  current.current = scene;

  useEffect(() => {
    const element = host.current;
    if (element === null) return undefined;
    const made = new UplotRenderer(element, `tideboard:${scene.state.name}`, hovered);
    renderer.current = made;
    const observer = new ResizeObserver(() => made.resize(element.clientWidth, element.clientHeight));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      renderer.current = null;
    };
  }, [scene.state.name, hovered]);

  useEffect(() => renderer.current?.setLook(look));

  useEffect(() => {
    if (!visible) return undefined;
    const paint = painter(current, painted);
    return paintWith((beat) => renderer.current !== null && paint(renderer.current, beat));
  }, [visible]);

  return { host, painted };
}

/** Draws the scene of the moment; what did not change since the last frame is not computed again. */
function painter(scene: { readonly current: Scene }, painted: { current: Aligned | null }) {
  let key = "";
  let range: Range | null = null;
  let state: DashboardState | null = null;
  let drawn = { at: -Infinity, shown: new Set<string>() as ReadonlySet<string> };
  return (renderer: Renderer, { now, at }: Beat): void => {
    const { panel, series, shown } = scene.current;
    if (now === null) return;
    const step = reducedMotion() ? 1000 : panel.window / Math.max(1, renderer.plotWidth());
    const every = Math.min(...series.map((each) => each.view.every));
    if (drawn.shown === shown && at - drawn.at < paintEvery(every, step)) return;
    drawn = { at, shown };
    if (state !== scene.current.state) range = null;
    state = scene.current.state;
    const newest = revision(scene.current);
    if (key !== newest || painted.current === null) {
      key = newest;
      painted.current = align(series, shown, state.gaps);
    }
    range = nextRange(range, painted.current.low, painted.current.high, panel, at);
    const to = Math.floor(now / step) * step;
    renderer.draw(painted.current.data, { from: to - panel.window, to, min: range.min, max: range.max });
  };
}

function revision({ state, series, shown }: Scene): string {
  const views = new Set(series.map((each) => each.view));
  const counts = [...views].map((view) => `${view.id}.${view.revision}.${view.columns.horizon}`);
  return [state.epoch, ...counts, ...series.map((each) => each.key), [...shown].join()].join("|");
}

function summary(panel: PanelInfo, shown: readonly Shown[]): string {
  const parts = shown.slice(0, 6).map(({ series, current }) => `${series.name} ${formatText(current?.value ?? NaN, panel.unit, panel.decimals)}`);
  const more = shown.length > 6 ? `, and ${shown.length - 6} more` : "";
  return `${panel.title}, lines over the last ${Math.round(panel.window / 1000)} seconds: ${parts.join(", ")}${more}`;
}
