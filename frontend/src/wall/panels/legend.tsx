/** The chips under a plot: colour and dash, name, live value. Click shows one alone, shift-click hides or shows one. */

import type { PanelInfo } from "../../live";
import type { LineStyle } from "../renderer";
import type { Shown } from "./body";
import { Value } from "./value";

interface LegendProps {
  readonly panel: PanelInfo;
  readonly shown: readonly Shown[];
  readonly lines: readonly LineStyle[];
  readonly choose: (key: string, shift: boolean) => void;
  readonly omitted: number;
}

export function Legend({ panel, shown, lines, choose, omitted }: LegendProps) {
  return (
    <ul class="legend" aria-label="Series">
      {lines.map((line, i) => {
        const each = shown[i];
        if (each === undefined) return null;
        return (
          <li key={line.key}>
            <button
              type="button"
              class={`chip${each.current?.fresh === true ? "" : " gone"}`}
              aria-pressed={line.shown}
              title={`${line.name}: click to show it alone, shift-click to hide or show it`}
              onClick={(event) => choose(line.key, event.shiftKey)}
            >
              <Swatch line={line} />
              <span class="name">{line.name}</span>
              <Value panel={panel} shown={each} />
            </button>
          </li>
        );
      })}
      {omitted > 0 && <li class="omitted">and {omitted} more, not drawn</li>}
    </ul>
  );
}

export function Swatch({ line }: { readonly line: LineStyle }) {
  return (
    <svg class="swatch" viewBox="0 0 18 8" aria-hidden="true">
      <line x1="0" y1="4" x2="18" y2="4" stroke={line.color} stroke-width="2" stroke-dasharray={line.dash.join(" ")} />
    </svg>
  );
}

/** Which series are shown after a click; null: all of them. */
export function choice(shown: ReadonlySet<string> | null, key: string, all: readonly string[], shift: boolean): ReadonlySet<string> | null {
  const now = new Set(shown ?? all);
  if (!shift) return now.size === 1 && now.has(key) ? null : new Set([key]);
  if (now.has(key)) now.delete(key);
  else now.add(key);
  return now.size === 0 || all.every((other) => now.has(other)) ? null : now;
}
