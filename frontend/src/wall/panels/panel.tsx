/** The frame of every panel: title, state, age; and what is said when there is nothing to show. */

import { useMemo, useRef } from "preact/hooks";
import type { ComponentChildren, ComponentType } from "preact";
import type { DashboardState, PanelInfo, PanelType } from "../../live";
import { beat } from "../frames";
import { freshness, newestOf, sayAge, type Newest } from "../freshness";
import { noteOf } from "../notes";
import { shownOf } from "../series";
import { stateOf, worst } from "../thresholds";
import { useVisible } from "../visible";
import { waitsFor } from "../waiting";
import { Badge } from "./badge";
import { Bar } from "./bar";
import type { BodyProps, Shown } from "./body";
import { Gauge } from "./gauge";
import { Stat } from "./stat";
import { Table } from "./table";
import { Timeseries } from "./timeseries";
import { Sign } from "./value";

const BODIES: Readonly<Record<PanelType, ComponentType<BodyProps>>> = { timeseries: Timeseries, stat: Stat, gauge: Gauge, bar: Bar, table: Table };

interface PanelProps {
  readonly panel: PanelInfo;
  readonly state: DashboardState;
}

export function Panel({ panel, state }: PanelProps) {
  const section = useRef<HTMLElement>(null);
  const visible = useVisible(section);
  const now = visible ? beat.value : beat.peek();
  const { shown, newest } = useShown(panel, state, now.at);
  const fresh = now.now === null || newest === null ? null : freshness(newest, now.now);
  const states = shown.filter((each) => each.current?.fresh === true).map((each) => stateOf(each.current?.value ?? NaN, panel.thresholds));
  const overall = worst(states);
  const Body = BODIES[panel.type];
  return (
    <section
      ref={section}
      class={`panel ${panel.type} ${overall}${fresh?.stale === true ? " stale" : ""}`}
      style={gridOf(panel)}
      data-panel={panel.id}
      data-stale={fresh?.stale === true}
      aria-label={panel.title}
    >
      <header>
        <h2 title={panel.description === "" ? panel.title : panel.description}>{panel.title}</h2>
        <Sign state={overall} />
        <Badge note={noteOf(state, panel, now.now)} />
        {fresh !== null && <span class="age" title="since the end of the newest bucket with a value">{sayAge(fresh)}</span>}
      </header>
      <div class="body">
        {shown.length === 0 || Body === undefined ? (
          <NoData panel={panel} state={state} known={Body !== undefined} />
        ) : (
          <Body panel={panel} state={state} shown={shown} beat={now} visible={visible} />
        )}
      </div>
    </section>
  );
}

/** Computed anew when something was applied to one of the panel's views, and once a second for what falls out of the window. */
function useShown(panel: PanelInfo, state: DashboardState, at: number): { readonly shown: readonly Shown[]; readonly newest: Newest | null } {
  const revisions = panel.lines.map((line) => state.views[line.view]?.revision ?? 0).join();
  const second = Math.floor(at / 1000);
  return useMemo(
    () => ({ shown: shownOf(state, panel), newest: newestOf(state, panel) }),
    // oxlint-disable-next-line react/exhaustive-deps -- the state is written in place; these say that it was
    [state, panel, revisions, second],
  );
}

function NoData({ panel, state, known }: PanelProps & { readonly known: boolean }) {
  const metrics = waitsFor(state, panel.id);
  return (
    <div class="nodata">
      <strong>{known ? "No data yet" : `This page cannot draw "${panel.type}"`}</strong>
      {known && <span>{metrics.length === 0 ? "waiting for its first samples" : breakable(`waiting for ${metrics.join(", ")}`)}</span>}
    </div>
  );
}

/** Long names break after an underscore, not anywhere. */
function breakable(text: string): ComponentChildren {
  return text.split(/(?<=_)/).flatMap((piece) => [piece, <wbr key={piece} />]);
}

function gridOf({ grid }: PanelInfo): Record<string, string> {
  return { "--x": String(grid.x + 1), "--w": String(grid.w), "--y": String(grid.y + 1), "--h": String(grid.h) };
}
