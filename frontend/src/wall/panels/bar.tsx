/** Groups beside each other, the largest first. Their order changes at most once a second, so that eyes can follow. */

import { useSlowly } from "../memory";
import { stateOf } from "../thresholds";
import { formatText } from "../units";
import type { BodyProps, Shown } from "./body";
import { rangeOf } from "./gauge";
import { Value } from "./value";

const REORDER_MS = 1000;
const MOST = 100;

export function Bar({ panel, shown, beat }: BodyProps) {
  const fresh = shown.filter((each) => each.current?.fresh === true);
  const bars = fresh.length > 0 ? fresh : shown;
  const order = useSlowly(largestFirst(bars), beat.at, REORDER_MS);
  const place = new Map(order.map((key, i) => [key, i]));
  const { min, max } = useSlowly(rangeOf(panel, bars), beat.at, REORDER_MS);
  const share = (value: number) => Math.min(100, Math.max(0, ((value - min) / (max - min)) * 100));
  return (
    <ul class="bars">
      {bars
        .toSorted((a, b) => (place.get(a.series.key) ?? bars.length) - (place.get(b.series.key) ?? bars.length))
        .slice(0, MOST)
        .map((each) => {
          const value = each.current?.value ?? NaN;
          return (
            <li key={each.series.key}>
              <span class="name" title={each.series.name}>
                {each.series.name}
              </span>
              <span class="track" aria-hidden="true">
                <span class={`fill ${stateOf(value, panel.thresholds)}`} style={{ width: `${Number.isNaN(value) ? 0 : share(value)}%` }} />
                {panel.thresholds
                  .filter(({ above }) => above > min && above < max)
                  .map(({ above, state }) => (
                    <span key={above} class={`mark ${state}`} style={{ left: `${share(above)}%` }} title={`${state} above ${formatText(above, panel.unit)}`} />
                  ))}
              </span>
              <Value panel={panel} shown={each} />
            </li>
          );
        })}
      {bars.length > MOST && <li class="omitted">and {bars.length - MOST} smaller ones</li>}
    </ul>
  );
}

function largestFirst(shown: readonly Shown[]): string[] {
  return shown.toSorted((a, b) => (b.current?.value ?? -Infinity) - (a.current?.value ?? -Infinity)).map((each) => each.series.key);
}
