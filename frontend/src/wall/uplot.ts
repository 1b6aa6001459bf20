/**
 * The renderer of today: uPlot on the main thread. It redraws when data came or when time has moved by a whole pixel,
 * so that hairlines stay on the pixel grid and a quiet panel costs nothing.
 */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { nextPhase, type Phase } from "./dashes";
import { drawGaps, drawThresholds } from "./overlays";
import type { Data, Extent, Hover, Look, Renderer } from "./renderer";
import { localZone, timeLabel, timeTicks, valueTicks } from "./ticks";
import { tokens } from "./tokens";
import { axisLabels } from "./units";

const FONT = "11px system-ui, sans-serif";
const X_LABEL_PX = 84;
const Y_LABEL_PX = 34;
const NOTHING: Data = { times: [], values: [], lonely: [], gaps: [] };

export class UplotRenderer implements Renderer {
  private plot: uPlot | null = null;
  private look: Look | null = null;
  private data: Data = NOTHING;
  private extent: Extent = { from: 0, to: 1, min: 0, max: 1 };
  private width = 0;
  private height = 0;
  private axisWidth = 36;
  private phases: Phase[] = [];

  constructor(
    private readonly host: HTMLElement,
    private readonly syncKey: string,
    private readonly hovered: (hover: Hover | null) => void,
  ) {}

  setLook(look: Look): void {
    const before = this.look;
    this.look = look;
    if (this.plot === null || before === null || structureOf(before) !== structureOf(look)) {
      this.rebuild();
      return;
    }
    look.lines.forEach((line, i) => {
      if (this.plot?.series[i + 1]?.show !== line.shown) this.plot?.setSeries(i + 1, { show: line.shown });
    });
  }

  draw(data: Data, extent: Extent): void {
    const { plot } = this;
    const same = data === this.data && sameExtent(extent, this.extent);
    if (same) return;
    const fresh = data !== this.data;
    this.data = data;
    this.extent = extent;
    if (plot === null || plot.series.length !== data.values.length + 1) return;
    const { width, height } = plot.bbox;
    this.phases = data.values.map((_, line) => nextPhase(this.phases[line] ?? null, data, line, extent, width, height));
    plot.batch(() => {
      if (fresh) plot.setData(columnsOf(data), false);
      plot.setScale("x", { min: extent.from, max: extent.to });
      plot.setScale("y", { min: extent.min, max: extent.max });
    });
  }

  resize(width: number, height: number): void {
    this.width = width;
    this.height = height;
    if (this.plot === null) this.rebuild();
    else this.plot.setSize({ width, height });
  }

  plotWidth(): number {
    return this.plot?.bbox.width ?? 0;
  }

  destroy(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  private rebuild(): void {
    this.destroy();
    this.phases = [];
    if (this.look === null || this.width < 40 || this.height < 30) return;
    const options = this.options(this.look);
    const data = this.data.values.length === this.look.lines.length ? this.data : NOTHING;
    const columns = data === NOTHING ? [[], ...this.look.lines.map(() => [])] : columnsOf(data);
    this.plot = new uPlot(options, columns as uPlot.AlignedData, this.host);
    // The panel describes itself; the canvas would only be read as "graphic" a second time.
    this.plot.ctx.canvas.setAttribute("aria-hidden", "true");
  }

  private options(look: Look): uPlot.Options {
    const ink = tokens();
    return {
      width: this.width,
      height: this.height,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: {
        x: true,
        y: false,
        drag: { x: false, y: false },
        points: { size: 7, width: 1.5 },
        sync: { key: this.syncKey, setSeries: false, scales: ["x", null] },
      },
      scales: {
        x: { time: false, auto: false, range: () => [this.extent.from, this.extent.to] },
        y: { auto: false, range: () => [this.extent.min, this.extent.max] },
      },
      axes: [this.timeAxis(ink), this.valueAxis(ink, look.unit)],
      series: [{}, ...look.lines.map((line, i) => this.series(line, i, look.lines.length === 1))],
      hooks: {
        drawAxes: [
          (plot: uPlot) => drawGaps(plot, this.data.gaps, ink),
          (plot: uPlot) => drawThresholds(plot, look.thresholds, look.unit, ink),
          (plot: uPlot) => this.shiftDashes(plot, 0),
        ],
        drawSeries: [(plot: uPlot, drawn: number) => this.shiftDashes(plot, drawn)],
        setCursor: [(plot: uPlot) => this.hover(plot)],
      },
    };
  }

  private timeAxis(ink: ReturnType<typeof tokens>): uPlot.Axis {
    const zone = () => localZone(this.extent.to);
    const marks = () => timeTicks(this.extent.from, this.extent.to, (this.width - this.axisWidth) / X_LABEL_PX, zone());
    return {
      stroke: ink.fg2,
      font: FONT,
      size: 24,
      gap: 6,
      grid: { stroke: ink.grid, width: 1 },
      ticks: { show: false },
      splits: () => marks().ticks,
      values: (_, splits) => {
        const { step } = marks();
        return splits.map((time) => (this.fits(time) ? timeLabel(time, step, zone()) : ""));
      },
    };
  }

  /** Whether the label of a time would stay inside on the right. */
  private fits(time: number): boolean {
    const { from, to } = this.extent;
    return ((to - time) / (to - from)) * (this.width - this.axisWidth) > 16;
  }

  private valueAxis(ink: ReturnType<typeof tokens>, unit: string): uPlot.Axis {
    return {
      stroke: ink.fg2,
      font: FONT,
      gap: 6,
      grid: { stroke: ink.grid, width: 1 },
      ticks: { show: false },
      splits: (_, __, min, max) => valueTicks(min, max, Math.max(2, (this.height - 32) / Y_LABEL_PX), unit),
      values: (_, splits) => axisLabels(splits, unit),
      // It only grows, so that the plot does not jump sideways with the length of a label.
      size: (_, labels) => (this.axisWidth = Math.max(this.axisWidth, ...(labels ?? []).map((label) => label.length * 6 + 16))),
    };
  }

  private series(line: Look["lines"][number], index: number, alone: boolean): uPlot.Series {
    return {
      label: line.name,
      show: line.shown,
      stroke: line.color,
      width: 1,
      dash: [...line.dash],
      ...(alone ? { fill: `${line.color}24` } : {}),
      points: { show: () => false, filter: () => this.lonely(index), size: 4, fill: line.color },
    };
  }

  private lonely(index: number): number[] | null {
    const points = this.data.lonely[index] ?? [];
    return points.length === 0 ? null : [...points];
  }

  /** uPlot sets a pattern before every line but never where it begins, so that what is set here holds for line `next`. */
  private shiftDashes(plot: uPlot, next: number): void {
    plot.ctx.lineDashOffset = this.phases[next]?.skipped ?? 0;
  }

  private hover(plot: uPlot): void {
    const { idx = null, left = -1, top = -1 } = plot.cursor;
    const here = plot.over.matches(":hover");
    this.hovered(here && idx !== null && left >= 0 ? { index: idx, left: left + plot.over.offsetLeft, top } : null);
  }
}

/** Everything that uPlot cannot change in place. */
function structureOf(look: Look): string {
  return JSON.stringify([look.theme, look.unit, look.thresholds, look.lines.map(({ key, color, name }) => [key, color, name])]);
}

function sameExtent(a: Extent, b: Extent): boolean {
  return a.from === b.from && a.to === b.to && a.min === b.min && a.max === b.max;
}

function columnsOf(data: Data): uPlot.AlignedData {
  return [data.times, ...data.values] as unknown as uPlot.AlignedData;
}
