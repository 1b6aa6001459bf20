/** A number with its unit and its state; the state is said by an icon as well as by a colour. */

import type { PanelInfo } from "../../live";
import { stateOf, type State } from "../thresholds";
import { format } from "../units";
import { dataOf, type Shown } from "./body";

export function Value({ panel, shown }: { readonly panel: PanelInfo; readonly shown: Shown }) {
  const value = shown.current?.value ?? NaN;
  const { text, suffix } = format(value, panel.unit, panel.decimals);
  const state = stateOf(value, panel.thresholds);
  return (
    <span class={`value ${state}`} {...dataOf(shown)}>
      <Sign state={state} />
      <span class="digits">{text}</span>
      {suffix !== "" && <span class="unit">{suffix}</span>}
    </span>
  );
}

const SHAPES = { warning: "M8 2 15 14H1Z", critical: "M8 1 15 8 8 15 1 8Z" } as const;

/** A triangle for a warning, a rhomb for what is critical, nothing for the rest. */
export function Sign({ state }: { readonly state: State }) {
  if (state !== "warning" && state !== "critical") return null;
  return (
    <svg class={`sign ${state}`} viewBox="0 0 16 16" role="img" aria-label={state}>
      <path d={SHAPES[state]} />
    </svg>
  );
}
