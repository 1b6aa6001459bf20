/** What a panel without data waits for. The live protocol does not carry the queries, so the document is asked for, once. */

import { signal, type Signal } from "@preact/signals";
import type { DashboardState } from "../live";

type Metrics = ReadonlyMap<string, readonly string[]>;

const asked = new WeakMap<DashboardState, Signal<Metrics>>();

/** Names of the metrics of a panel; empty until they are known. */
export function waitsFor(state: DashboardState, panel: string): readonly string[] {
  let found = asked.get(state);
  if (found === undefined) {
    found = signal<Metrics>(new Map());
    asked.set(state, found);
    void fill(found, state.name);
  }
  return found.value.get(panel) ?? [];
}

/** Metrics by panel, of a dashboard's document as its author wrote it. */
export function metricsOf(document: unknown): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const panel of items(get(get(document, "spec"), "panels"))) {
    const queries = [get(panel, "query"), ...items(get(panel, "queries"))];
    const metrics = queries.map((query) => get(query, "metric")).filter((metric) => typeof metric === "string");
    found.set(String(get(panel, "id")), [...new Set(metrics)]);
  }
  return found;
}

async function fill(found: Signal<Metrics>, name: string): Promise<void> {
  try {
    const answer = await fetch(`/api/v1/dashboards/${encodeURIComponent(name)}`);
    if (answer.ok) found.value = metricsOf(get(await answer.json(), "document"));
  } catch {
    // The panel says that it waits; for what is a courtesy.
  }
}

function get(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
