/** What is drawn between the grid and the lines: thresholds as labelled dashes, and stretches that nobody can recover. */

import type uPlot from "uplot";
import type { Gap, Threshold } from "../live";
import type { Tokens } from "./tokens";
import { axisLabels } from "./units";

const SIGNS = { warning: "▲", critical: "◆" } as const;

export function drawThresholds(plot: uPlot, thresholds: readonly Threshold[], unit: string, ink: Tokens): void {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = `${10 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  ctx.lineWidth = ratio;
  ctx.setLineDash([6 * ratio, 4 * ratio]);
  for (const { above, state } of thresholds) {
    const y = Math.round(plot.valToPos(above, "y", true)) + 0.5;
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.strokeStyle = state === "critical" ? ink.crit : ink.warn;
    ctx.globalAlpha = 0.7;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.fillStyle = ctx.strokeStyle;
    const below = y - bbox.top < 14 * ratio;
    ctx.textBaseline = below ? "top" : "bottom";
    ctx.fillText(`${SIGNS[state]} ${axisLabels([above], unit)[0]}`, bbox.left + bbox.width - 4 * ratio, y + (below ? 3 : -2) * ratio);
  }
  ctx.restore();
}

export function drawGaps(plot: uPlot, gaps: readonly Gap[], ink: Tokens): void {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  for (const gap of gaps) {
    const left = Math.max(bbox.left, plot.valToPos(gap.from, "x", true));
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(gap.to, "x", true));
    if (right <= left) continue;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, right - left, bbox.height);
    ctx.clip();
    ctx.strokeStyle = ink.stale;
    ctx.globalAlpha = 0.35;
    ctx.lineWidth = ratio;
    ctx.beginPath();
    for (let x = left - bbox.height; x < right; x += 8 * ratio) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
}
