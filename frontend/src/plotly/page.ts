/**
 * A dashboard drawn by Plotly.js: /plotly/NAME. One file to copy from; it needs nothing of the rest of Tideboard.
 *
 * 1. GET /api/v1/dashboards/NAME/snapshot says which panels there are and where they stand.
 * 2. For each panel a WebSocket /api/v1/plotly?dashboard=NAME&panel=ID&max_points=N sends what Plotly.js is to do:
 *      {"action":"react","traces":[...],"layout":{...}}                             draw everything anew
 *      {"action":"extend","traces":[{"x":[[...]],"y":[[...]]}],"max_points":N}      append, and keep the last N
 * 3. When a socket closes, it is opened again after a random wait, or the one that the server asks for; the server then begins with a `react`.
 */

import "./page.css";

const MAX_POINTS = 200;

type Plotly = typeof import("plotly.js-basic-dist-min").default;
type Message =
  | { action: "react"; traces: unknown[]; layout: Record<string, unknown> }
  | { action: "extend"; traces: { x: unknown[][]; y: unknown[][] }[]; max_points: number };
interface Panel {
  id: string;
  title: string;
  grid: { x: number; y: number; w: number; h: number };
}
interface Snapshot {
  title: string;
  panels: Panel[];
}

const name = decodeURIComponent(location.pathname.split("/").filter(Boolean)[1] ?? "");

/** Draw one panel, and keep it current for as long as the page is open. */
function follow(plotly: Plotly, element: HTMLElement, panel: Panel): void {
  let queue: Message[] = [];
  let drawing = false;
  let attempt = 0;

  // Plotly.js takes tens of milliseconds per call, so everything that came since the last frame is one call.
  const draw = async (): Promise<void> => {
    const messages = queue;
    queue = [];
    const last = messages.findLastIndex((message) => message.action === "react");
    const react = messages[last];
    if (react?.action === "react") await plotly.react(element, react.traces, styled(react.layout, panel), { displaylogo: false, responsive: true });
    const merged = merge(messages.slice(last + 1));
    if (merged !== null) await plotly.extendTraces(element, merged.update, merged.indices, merged.maxPoints);
    drawing = false;
    if (queue.length > 0) schedule();
  };
  const schedule = (): void => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => void draw());
  };
  const open = (): void => {
    const query = new URLSearchParams({ dashboard: name, panel: panel.id, max_points: String(MAX_POINTS) });
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/plotly?${query}`);
    socket.addEventListener("message", (event: MessageEvent<string>) => {
      attempt = 0;
      queue.push(JSON.parse(event.data) as Message);
      schedule();
    });
    socket.addEventListener("close", (event) => {
      element.classList.add("away");
      if (event.code >= 4500 && event.code <= 4999) return; // the server says: do not come back
      attempt += 1;
      setTimeout(open, retryIn(event.reason) ?? 250 + Math.random() * Math.min(10_000, 250 * 2 ** attempt));
    });
    socket.addEventListener("open", () => element.classList.remove("away"));
  };
  open();
}

/** The wait in ms that the reason of a close asks for, as {"retry_in_ms": 480}. */
export function retryIn(reason: string): number | null {
  const found = /^\{"retry_in_ms": ?(\d+)\}$/.exec(reason);
  return found === null ? null : Number(found[1]);
}

/** Queued `extend` messages as one call: the i-th array of x and y belongs to the i-th trace. */
export function merge(messages: Message[]): { update: { x: unknown[][]; y: unknown[][] }; indices: number[]; maxPoints: number } | null {
  const x: unknown[][] = [];
  const y: unknown[][] = [];
  let maxPoints = MAX_POINTS;
  for (const message of messages) {
    if (message.action !== "extend") continue;
    maxPoints = message.max_points;
    message.traces.flatMap((trace) => trace.x).forEach((values, i) => (x[i] ??= []).push(...values));
    message.traces.flatMap((trace) => trace.y).forEach((values, i) => (y[i] ??= []).push(...values));
  }
  return x.length === 0 ? null : { update: { x, y }, indices: x.map((_, i) => i), maxPoints };
}

/** The server says what is drawn; the page says how it looks. uirevision keeps a viewer's zoom through a `react`. */
function styled(layout: Record<string, unknown>, panel: Panel): Record<string, unknown> {
  const ink = getComputedStyle(document.documentElement);
  const lines = { gridcolor: ink.getPropertyValue("--line"), zerolinecolor: ink.getPropertyValue("--line") };
  return {
    ...layout,
    title: { text: panel.title, font: { size: 13 }, x: 0.01 },
    xaxis: { type: "date", nticks: Math.max(2, Math.floor(panel.grid.w / 2)), tickangle: 0, ...(layout["xaxis"] as object | undefined), ...lines },
    yaxis: { ...(layout["yaxis"] as object | undefined), ...lines },
    font: { color: ink.getPropertyValue("--fg"), family: "system-ui, sans-serif", size: 11 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    colorway: ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#9DA3EF"],
    margin: { l: 48, r: 12, t: 32, b: 28 },
    legend: { orientation: "h", y: -0.15 },
    showlegend: panel.grid.h > 5,
    autosize: true,
    uirevision: panel.id,
  };
}

/** A line of text in the place of the dashboard. */
function say(text: string): void {
  const line = document.createElement("p");
  line.className = "notice";
  line.setAttribute("role", "status");
  line.textContent = text;
  document.body.replaceChildren(line);
}

function build(snapshot: Snapshot): { element: HTMLElement; panel: Panel }[] {
  document.title = `${snapshot.title} · Plotly · Tideboard`;
  const header = document.createElement("header");
  const link = document.createElement("a");
  link.href = `/d/${encodeURIComponent(name)}`;
  link.textContent = snapshot.title;
  header.append(link, " drawn by Plotly.js");
  const grid = document.createElement("main");
  const built = snapshot.panels.map((panel) => {
    const element = document.createElement("section");
    element.dataset["panel"] = panel.id;
    element.style.gridArea = `${panel.grid.y + 1} / ${panel.grid.x + 1} / span ${panel.grid.h} / span ${panel.grid.w}`;
    grid.append(element);
    return { element, panel };
  });
  document.body.replaceChildren(header, grid);
  return built;
}

/** Ask until there is an answer: a page on a wall has nobody who presses reload. */
async function start(): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await fetch(`/api/v1/dashboards/${encodeURIComponent(name)}/snapshot`);
      if (answer.ok) {
        const built = build((await answer.json()) as Snapshot);
        if (built.length === 0) say(`The dashboard "${name}" has no panels.`);
        const { default: plotly } = await import("plotly.js-basic-dist-min");
        for (const { element, panel } of built) follow(plotly, element, panel);
        return;
      }
      const body = (await answer.json().catch(() => null)) as { error?: { reason?: string } } | null;
      say(`${body?.error?.reason ?? `The server answered ${answer.status}`}. Trying again.`);
    } catch {
      say("Tideboard does not answer. Trying again.");
    }
    await new Promise((resolve) => setTimeout(resolve, 250 + Math.random() * Math.min(10_000, 250 * 2 ** attempt)));
  }
}

if (location.pathname.startsWith("/plotly/")) void start();
