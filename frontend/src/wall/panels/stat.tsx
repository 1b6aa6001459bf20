/** One big number with its recent past behind it; several groups are several smaller numbers. */

import type { BodyProps } from "./body";
import { Sparkline } from "./sparkline";
import { Value } from "./value";

export function Stat({ panel, shown, visible }: BodyProps) {
  const only = shown.length === 1 ? shown[0] : undefined;
  if (only !== undefined) {
    return (
      <div class="stat">
        <Value panel={panel} shown={only} />
        <Sparkline panel={panel} series={only.series} current={only.current} visible={visible} />
      </div>
    );
  }
  return (
    <ul class="stats">
      {shown.map((each) => (
        <li key={each.series.key}>
          <span class="name">{each.series.name}</span>
          <Value panel={panel} shown={each} />
        </li>
      ))}
    </ul>
  );
}
