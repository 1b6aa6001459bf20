/**
 * A gateway without anything behind it, for looking at the wall: node test/fake-gateway.mjs [port].
 * It serves dist/ with the real one's security policy, and speaks the live protocol over made-up data.
 *
 * POST /fake/freeze  no new samples        /fake/mute    no frames at all     /fake/drop  close every socket
 * POST /fake/away    answer no request      /fake/epoch   forget the past      /fake/status  Kafka is away
 * POST /fake/normal  all is well again
 */

import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { DASHBOARDS, FAULTS, World } from "./fake-data.mjs";

const PORT = Number(process.argv[2] ?? 8088);
const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const POLICY = "default-src 'self'; script-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'";

const world = new World();
const sockets = new Map(); // socket -> {subscriptions: Map name -> versions}
let mode = "normal";

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://fake").pathname;
  if (request.method === "POST" && path.startsWith("/fake/")) return control(path.slice(6), response);
  if (path.startsWith("/api/")) return mode === "away" ? request.socket.destroy() : api(path, response);
  return file(path, response);
});

function control(what, response) {
  if (what === "drop") for (const socket of sockets.keys()) socket.close(4000, JSON.stringify({ retry_in_ms: 300 }));
  else if (what === "epoch") world.forget();
  else mode = what;
  world.frozen = mode === "freeze" || mode === "status";
  if (mode === "away") for (const socket of sockets.keys()) socket.terminate();
  for (const socket of sockets.keys()) for (const name of sockets.get(socket).keys()) status(socket, name);
  response.end(`${what}\n`);
}

function api(path, response) {
  const json = (body, code = 200) => response.writeHead(code, { "Content-Type": "application/json" }).end(JSON.stringify(body));
  if (path === "/api/v1/dashboards") {
    const good = Object.values(DASHBOARDS).map(({ name, title, panels }) => {
      return { name, title, panels: panels.length, source: `dashboards/${name}.yaml`, fault: FAULTS.last[name] ?? null };
    });
    return json({ dashboards: [...good, ...FAULTS.never] });
  }
  const [, name, rest] = /^\/api\/v1\/dashboards\/([^/]+)(\/snapshot)?$/.exec(path) ?? [];
  if (DASHBOARDS[name] === undefined) return json({ error: { code: "unknown_dashboard", reason: `there is no dashboard '${name}'` } }, 404);
  return json(rest === undefined ? { name, document: world.document(name) } : world.snapshot(name));
}

function file(path, response) {
  const page = path.startsWith("/plotly/") ? "plotly.html" : path === "/" || path.startsWith("/d/") ? "index.html" : normalize(path);
  const found = join(DIST, page);
  if (!found.startsWith(DIST) || !existsSync(found)) return response.writeHead(404).end("not found");
  const policy = path.startsWith("/plotly/") ? `${POLICY} 'unsafe-inline'` : POLICY;
  response.writeHead(200, { "Content-Type": TYPES[extname(found)] ?? "text/plain", "Content-Security-Policy": policy });
  return createReadStream(found).pipe(response);
}

const live = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  if (mode === "away") return socket.destroy();
  const url = new URL(request.url, "http://fake");
  return live.handleUpgrade(request, socket, head, (ws) => {
    if (url.pathname === "/api/v1/plotly") followPlotly(ws, url.searchParams);
    else follow(ws);
  });
});

function follow(ws) {
  const subscriptions = new Map();
  sockets.set(ws, subscriptions);
  ws.on("close", () => sockets.delete(ws));
  ws.on("message", (data) => {
    const message = JSON.parse(String(data));
    if (message.type === "unsubscribe") subscriptions.delete(message.dashboard);
    if (message.type === "ping") send(ws, { type: "pong", now: Date.now() });
    if (message.type === "subscribe") subscribe(ws, subscriptions, message.dashboard, message.since);
  });
}

function subscribe(ws, subscriptions, name, since) {
  const fault = FAULTS.never.find((each) => each.name === name)?.fault;
  if (DASHBOARDS[name] === undefined) {
    const nowhere = { code: "unknown_dashboard", reason: `there is no dashboard '${name}'`, path: "", line: 0, source: "" };
    return send(ws, { type: "error", dashboard: name, ...(fault === undefined ? nowhere : { code: "broken_dashboard", ...fault }) });
  }
  if (since !== null && since.epoch === world.epoch) send(ws, world.delta(name, since.versions));
  else send(ws, world.snapshot(name));
  subscriptions.set(name, world.versions(name));
  return status(ws, name);
}

function status(ws, name) {
  const since = Date.now() - 3200;
  const parts = mode === "status" ? [{ part: "log", since, reason: "Kafka does not answer: connection refused" }] : [];
  send(ws, { type: "status", dashboard: name, now: Date.now(), stale: parts.length > 0, age_ms: parts.length > 0 ? 3200 : 0, parts });
}

function followPlotly(ws, query) {
  const [name, panel, most] = [query.get("dashboard"), query.get("panel"), Number(query.get("max_points"))];
  let sent = world.plotly(name, panel, -Infinity, most);
  send(ws, { action: "react", traces: sent.traces, layout: { title: panel } });
  const timer = setInterval(() => {
    const next = world.plotly(name, panel, sent.until, most);
    if (next.until === sent.until) return;
    send(ws, { action: "extend", traces: next.traces.map(({ x, y }) => ({ x: [x], y: [y] })), max_points: most });
    sent = next;
  }, 250);
  ws.on("close", () => clearInterval(timer));
}

function send(ws, message) {
  if (mode !== "mute") ws.send(JSON.stringify(message));
}

setInterval(() => {
  world.advance(Date.now());
  for (const [ws, subscriptions] of sockets) {
    for (const [name, versions] of subscriptions) {
      send(ws, world.delta(name, versions));
      subscriptions.set(name, world.versions(name));
    }
  }
}, 100);

server.listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${PORT}/`));
