/** One dashboard, live; or the reason why there is none to see. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { DashboardState, Fault, Feed, Status } from "../../live";
import { Entrance, useRefusal } from "../entrance";
import { beat, touch } from "../frames";
import { Header } from "../header";
import { Panel } from "../panels/panel";
import { partName, pillOf } from "../pill";
import { client, frameRate, online } from "../session";
import { formatSpan } from "../units";
import { Notice, Place } from "./notice";

export function Dashboard({ name }: { readonly name: string }) {
  const feed = useSignal<Feed | undefined>(undefined);
  useEffect(() => {
    const changed = () => {
      feed.value = client.feed(name);
      touch();
    };
    const leave = client.subscribe(name, changed);
    changed();
    return leave;
  }, [name, feed]);
  const { state = null, fault = null, status = null } = feed.value ?? {};
  const title = state?.title ?? name;
  useEffect(() => {
    document.title = `${title} · Tideboard`;
  }, [title]);
  return (
    <>
      <Header title={title} live={{ window: state?.window ?? null, pill: () => pillNow(name) }} />
      {status?.stale === true && <Parts status={status} />}
      <main class="dashboard">
        {fault !== null ? <Broken fault={fault} name={name} /> : state === null ? <Waiting name={name} /> : <Grid state={state} />}
      </main>
    </>
  );
}

function pillNow(name: string) {
  const { at, now } = beat.value;
  return pillOf({ connection: client.connection, feed: client.feed(name), at, now, rate: frameRate(at), online: online.value });
}

function Grid({ state }: { readonly state: DashboardState }) {
  if (state.panels.length === 0) {
    return (
      <Notice title="This dashboard has no panels">
        <p>Add one to its file; it shows here within seconds.</p>
      </Notice>
    );
  }
  // In reading order, which is also the order on a phone and of the Tab key.
  const panels = state.panels.toSorted((a, b) => a.grid.y - b.grid.y || a.grid.x - b.grid.x);
  return (
    <div class="grid">
      {panels.map((panel) => (
        <Panel key={panel.id} panel={panel} state={state} />
      ))}
    </div>
  );
}

function Parts({ status }: { readonly status: Status }) {
  const now = beat.value.now ?? status.now;
  return (
    <ul class="banner warn" role="status">
      {status.parts.map((part) => (
        <li key={part.part}>
          <strong>{partName(part.part)}</strong> has been away for {formatSpan(Math.max(0, now - part.since))}: {part.reason}
        </li>
      ))}
    </ul>
  );
}

function Waiting({ name }: { readonly name: string }) {
  const { at } = beat.value;
  const { connection } = client;
  const refusal = useRefusal(name, connection.attempt);
  if (refusal !== null) return <Entrance reason={refusal} />;
  if (connection.phase === "ended") {
    return (
      <Notice title="The server closed the connection" tone="crit">
        <p>{connection.reason || "It gave no reason."} Reload the page to try again.</p>
      </Notice>
    );
  }
  if (connection.attempt > 1 && connection.lostAt !== null) {
    return (
      <Notice title="Tideboard does not answer" tone="warn" busy>
        <p>
          No connection for {formatSpan(at - connection.lostAt)}. This page tries again by itself (attempt {connection.attempt}).
        </p>
      </Notice>
    );
  }
  return (
    <Notice title={`Loading ${name}`} busy>
      {client.problem !== "" && <p>{client.problem}</p>}
    </Notice>
  );
}

function Broken({ fault, name }: { readonly fault: Fault; readonly name: string }) {
  const missing = fault.code === "unknown_dashboard";
  return (
    <Notice title={missing ? `There is no dashboard "${name}"` : `The dashboard "${name}" is broken`} tone={missing ? "idle" : "crit"}>
      <p class="reason">{fault.reason}</p>
      <Place source={fault.source ?? ""} line={fault.line ?? 0} path={fault.path ?? ""} />
      <p>
        {missing ? "It shows here as soon as somebody writes it." : "It shows here as soon as the file is right."} <a href="/">All dashboards</a>
      </p>
    </Notice>
  );
}
