/** The list of dashboards, with what is wrong with any of them. It asks again every few seconds, and never goes blank. */

import { useEffect, useState } from "preact/hooks";
import { Entrance, reasonOf } from "../entrance";
import { Header } from "../header";
import { Notice, Place } from "./notice";

interface Fault {
  readonly path: string;
  readonly reason: string;
  readonly line: number;
  readonly source: string;
}

interface Item {
  readonly name: string;
  readonly title: string;
  readonly panels: number;
  readonly source: string;
  readonly fault: Fault | null;
  readonly memory?: number;
}

const AGAIN_MS = 3000;

export function List() {
  const { items, failure, refusal } = useList();
  useEffect(() => {
    document.title = "Tideboard";
  }, []);
  return (
    <>
      <Header title="Dashboards" />
      <main class="list">
        {failure !== "" && items !== null && refusal === null && (
          <p class="banner warn" role="status">
            {failure}; what is shown may be old. Trying again by itself.
          </p>
        )}
        {refusal !== null ? (
          <Entrance reason={refusal} />
        ) : items === null ? (
          <Away failure={failure} />
        ) : items.length === 0 ? (
          <Notice title="There are no dashboards yet">
            <p>Put a YAML file into the dashboards folder; it shows here within seconds.</p>
          </Notice>
        ) : (
          <ul class="cards">
            {items.map((item) => (
              <Card key={item.name} item={item} />
            ))}
          </ul>
        )}
      </main>
    </>
  );
}

function Away({ failure }: { readonly failure: string }) {
  if (failure === "") return <Notice title="Loading dashboards" busy />;
  return (
    <Notice title="Tideboard does not answer" tone="warn" busy>
      <p>{failure}. This page tries again by itself.</p>
    </Notice>
  );
}

function Card({ item }: { readonly item: Item }) {
  return (
    <li class={`card${item.fault === null ? "" : " faulty"}`} data-dashboard={item.name}>
      <a class="open" href={`/d/${encodeURIComponent(item.name)}`}>
        <h2>{item.title}</h2>
        <p class="facts">
          <span title={item.source}>{item.name}</span>
          <span>
            {item.panels} {item.panels === 1 ? "panel" : "panels"}
          </span>
          {(item.memory ?? 0) > 0 && (
            <span title="Estimated memory in Redis once everything that is kept is there, with 10 groups in every query by labels">
              about {megabytes(item.memory ?? 0)} in Redis
            </span>
          )}
        </p>
      </a>
      {item.fault !== null && (
        <div class="fault">
          <strong>{item.panels > 0 ? "The newest version is broken; the last good one is shown" : "This dashboard is broken"}</strong>
          <p class="reason">{item.fault.reason}</p>
          <Place {...item.fault} />
        </div>
      )}
      <a class="also" href={`/plotly/${encodeURIComponent(item.name)}`} title={`${item.title}, drawn by Plotly.js`}>
        Plotly
      </a>
    </li>
  );
}

/** Two digits at most: it is an estimate. */
function megabytes(bytes: number): string {
  const mb = bytes / 2 ** 20;
  return mb < 1000 ? `${Math.max(1, Number(mb.toPrecision(2)))} MB` : `${Number((mb / 1024).toPrecision(2))} GB`;
}

/** The server wants to know who asks. */
class RefusedError extends Error {}

/** refusal: what the server says to who has no token, null where that is not the matter. */
function useList(): { readonly items: readonly Item[] | null; readonly failure: string; readonly refusal: string | null } {
  const [items, setItems] = useState<readonly Item[] | null>(null);
  const [failure, setFailure] = useState("");
  const [refusal, setRefusal] = useState<string | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      try {
        setItems(await fetchList(stop.signal));
        setFailure("");
        setRefusal(null);
      } catch (error) {
        if (stop.signal.aborted) return;
        setRefusal(error instanceof RefusedError ? error.message : null);
        setFailure(error instanceof TypeError ? "The server cannot be reached" : String(error instanceof Error ? error.message : error));
      }
      timer = setTimeout(() => void ask(), AGAIN_MS);
    };
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, []);
  return { items, failure, refusal };
}

async function fetchList(signal: AbortSignal): Promise<readonly Item[]> {
  const answer = await fetch("/api/v1/dashboards", { signal });
  if (!answer.ok) {
    const reason = await reasonOf(answer);
    const said = `The server answered ${answer.status}${reason === "" ? "" : `: ${reason}`}`;
    throw answer.status === 401 ? new RefusedError(said) : new Error(said);
  }
  const { dashboards } = (await answer.json()) as { readonly dashboards: readonly Item[] };
  return dashboards;
}
