/** A line without axes behind a number. */

import { useEffect, useRef } from "preact/hooks";
import type { PanelInfo } from "../../live";
import { align } from "../align";
import { paintEvery, paintWith } from "../frames";
import { nextRange, type Range } from "../range";
import type { Current, Series } from "../series";
import { tokens } from "../tokens";
import { stateOf } from "../thresholds";

interface SparklineProps {
  readonly panel: PanelInfo;
  readonly series: Series;
  readonly current: Current | null;
  readonly visible: boolean;
}

export function Sparkline({ panel, series, current, visible }: SparklineProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const scene = useRef({ panel, series, current });
  scene.current = { panel, series, current };
  useEffect(() => {
    if (!visible) return undefined;
    let drawn = "";
    let drawnAt = -Infinity;
    let range: Range | null = null;
    return paintWith(({ now, at }) => {
      const element = canvas.current;
      if (element === null || now === null) return;
      const { view, key } = scene.current.series;
      const step = scene.current.panel.window / Math.max(1, element.clientWidth * devicePixelRatio);
      if (at - drawnAt < paintEvery(view.every, step)) return;
      drawnAt = at;
      const to = Math.floor(now / step) * step;
      const what = `${view.id} ${key} ${view.revision} ${to} ${element.clientWidth} ${element.clientHeight} ${document.documentElement.dataset["theme"]}`;
      if (what === drawn) return;
      drawn = what;
      const { data, low, high } = align([scene.current.series], new Set([key]), []);
      range = nextRange(range, low, high, { ...scene.current.panel, max: null }, at);
      draw(element, data.times, data.values[0] ?? [], { from: to - scene.current.panel.window, to, ...range }, colorFor(scene.current));
    });
  }, [visible]);
  return <canvas class="sparkline" ref={canvas} aria-hidden="true" />;
}

function colorFor({ panel, current }: { readonly panel: PanelInfo; readonly current: Current | null }): string {
  const ink = tokens();
  const state = stateOf(current?.value ?? NaN, panel.thresholds);
  return state === "critical" ? ink.crit : state === "warning" ? ink.warn : ink.info;
}

interface Extent {
  readonly from: number;
  readonly to: number;
  readonly min: number;
  readonly max: number;
}

function draw(canvas: HTMLCanvasElement, times: readonly number[], values: readonly (number | null | undefined)[], extent: Extent, color: string): void {
  const width = Math.round(canvas.clientWidth * devicePixelRatio);
  const height = Math.round(canvas.clientHeight * devicePixelRatio);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const ctx = canvas.getContext("2d");
  if (ctx === null) return;
  ctx.clearRect(0, 0, width, height);
  ctx.lineWidth = devicePixelRatio;
  ctx.strokeStyle = color;
  ctx.fillStyle = color;
  for (const run of runsOf(times, values)) {
    const points = run.map(([time, value]) => [
      ((time - extent.from) / (extent.to - extent.from)) * width,
      height - 1 - ((value - extent.min) / (extent.max - extent.min)) * (height - 2),
    ] as const);
    stroke(ctx, points, height);
  }
}

function stroke(ctx: CanvasRenderingContext2D, points: readonly (readonly [number, number])[], height: number): void {
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined) return;
  ctx.beginPath();
  for (const [x, y] of points) ctx.lineTo(x, y);
  ctx.stroke();
  ctx.lineTo(last[0], height);
  ctx.lineTo(first[0], height);
  ctx.globalAlpha = 0.14;
  ctx.fill();
  ctx.globalAlpha = 1;
}

/** Stretches without a hole. */
function runsOf(times: readonly number[], values: readonly (number | null | undefined)[]): [number, number][][] {
  const runs: [number, number][][] = [[]];
  values.forEach((value, i) => {
    if (value === null) runs.push([]);
    else if (value !== undefined) runs.at(-1)?.push([times[i] ?? 0, value]);
  });
  return runs;
}
