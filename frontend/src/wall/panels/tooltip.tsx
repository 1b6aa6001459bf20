/** The values of a plot at the time under the pointer. */

import type { PanelInfo } from "../../live";
import type { Data, Hover, LineStyle } from "../renderer";
import { localZone, timeLabel } from "../ticks";
import { formatText } from "../units";
import { Swatch } from "./legend";

interface TooltipProps {
  readonly panel: PanelInfo;
  readonly hover: Hover;
  readonly data: Data;
  readonly lines: readonly LineStyle[];
  readonly width: number;
}

const MOST = 12;

export function Tooltip({ panel, hover, data, lines, width }: TooltipProps) {
  const time = data.times[hover.index];
  if (time === undefined) return null;
  const rows = lines
    .map((line, i) => ({ line, value: data.values[i]?.[hover.index] ?? NaN }))
    .filter(({ line, value }) => line.shown && !Number.isNaN(value))
    .toSorted((a, b) => b.value - a.value);
  const flipped = hover.left > width / 2;
  const side = flipped ? { right: `${width - hover.left + 12}px` } : { left: `${hover.left + 12}px` };
  return (
    <div class="tooltip" style={side} aria-hidden="true">
      <div class="when">{timeLabel(time, 1000, localZone(time))}</div>
      {rows.slice(0, MOST).map(({ line, value }) => (
        <div class="row" key={line.key}>
          <Swatch line={line} />
          <span class="name">{line.name}</span>
          <span class="number">{formatText(value, panel.unit, panel.decimals)}</span>
        </div>
      ))}
      {rows.length === 0 && <div class="row">no value</div>}
      {rows.length > MOST && <div class="row">and {rows.length - MOST} more</div>}
    </div>
  );
}
