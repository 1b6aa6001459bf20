/** An arc that is filled as far as the value goes, inside a ring that shows where it becomes serious. */

import type { PanelInfo } from "../../live";
import { roundRange } from "../range";
import { stateOf, stretches } from "../thresholds";
import { formatText } from "../units";
import type { BodyProps, Shown } from "./body";
import { Value } from "./value";

const MOST = 12;

export function Gauge({ panel, shown }: BodyProps) {
  const fresh = shown.filter((each) => each.current?.fresh === true);
  const dials = (fresh.length > 0 ? fresh : shown).slice(0, MOST);
  const range = rangeOf(panel, dials);
  return (
    <ul class={`gauges n${Math.min(dials.length, 4)}`}>
      {dials.map((each) => (
        <li key={each.series.key}>
          <Dial panel={panel} shown={each} {...range} />
          {shown.length > 1 && <span class="name">{each.series.name}</span>}
        </li>
      ))}
    </ul>
  );
}

/** Full scale: what the author said, what the unit says, or round numbers around the values. */
export function rangeOf(panel: PanelInfo, shown: readonly Shown[]): { min: number; max: number } {
  const full = panel.unit === "percentunit" ? 1 : panel.unit === "percent" ? 100 : null;
  const values = shown.map((each) => each.current?.value ?? NaN).filter((value) => !Number.isNaN(value));
  const high = Math.max(...values, ...panel.thresholds.map((threshold) => threshold.above), 0);
  return roundRange(Math.min(...values, 0), high, { min: panel.min, max: panel.max ?? full, unit: panel.unit });
}

const TURN = 240; // degrees from empty to full
const START = 150; // the empty end, clockwise from three o'clock

interface DialProps {
  readonly panel: PanelInfo;
  readonly shown: Shown;
  readonly min: number;
  readonly max: number;
}

function Dial({ panel, shown, min, max }: DialProps) {
  const value = shown.current?.value ?? NaN;
  const state = stateOf(value, panel.thresholds);
  const part = (at: number) => Math.min(1, Math.max(0, (at - min) / (max - min)));
  return (
    <div class="dial">
      <svg viewBox="0 0 100 78" aria-hidden="true">
        <path class="track" d={arc(38, 0, 1)} />
        {!Number.isNaN(value) && <path class={`fill ${state}`} d={arc(38, 0, part(value))} />}
        {panel.thresholds.length > 0 &&
          stretches(min, max, panel.thresholds).map((each) => (
            <path key={each.from} class={`ring ${each.state}`} d={arc(46, part(each.from) + 0.004, part(each.to) - 0.004)} />
          ))}
        <text class="end" x="17" y="77">
          {formatText(min, panel.unit, panel.unit.startsWith("percent") ? 0 : null)}
        </text>
        <text class="end" x="83" y="77">
          {formatText(max, panel.unit, panel.unit.startsWith("percent") ? 0 : null)}
        </text>
      </svg>
      <Value panel={panel} shown={shown} />
    </div>
  );
}

/** An arc around (50, 50) from one part of the turn to another. */
function arc(radius: number, from: number, to: number): string {
  const [x0, y0] = point(radius, from);
  const [x1, y1] = point(radius, Math.max(from, to));
  const large = (to - from) * TURN > 180 ? 1 : 0;
  return `M${x0} ${y0}A${radius} ${radius} 0 ${large} 1 ${x1} ${y1}`;
}

function point(radius: number, part: number): [string, string] {
  const angle = ((START + part * TURN) * Math.PI) / 180;
  return [(50 + radius * Math.cos(angle)).toFixed(2), (50 + radius * Math.sin(angle)).toFixed(2)];
}
