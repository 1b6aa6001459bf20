/** The made-up world behind the fake gateway: a few views whose values wander, kept as the real history is. */

const WINDOW = 300_000;

function view(id, groups, value, { every = 1000, additive = false } = {}) {
  return { id, every, window: WINDOW, additive, groups, value };
}

const wave = (t, period, phase = 0) => Math.sin((2 * Math.PI * t) / (period * 1000) + phase);
const noise = (t, seed) => {
  const x = Math.sin(t * 0.0127 + seed * 78.233) * 43758.5453;
  return x - Math.floor(x);
};
const cpu = (t, i) => Math.min(0.99, Math.max(0.01, 0.35 + 0.2 * wave(t, 90, i) + 0.12 * wave(t, 13, i * 2) + 0.18 * (noise(t, i) - 0.5) + (i === 2 ? 0.3 : 0)));

const PROCESSES = ["postgres", "java", "node", "python3", "chromium", "sshd", "valkey-server", "tansu", "systemd", "containerd"];
const VIEWS = {
  cpu: view("v-cpu", [0, 1, 2, 3].map((i) => ({ cpu: String(i) })), (t, i) => cpu(t, i)),
  busy: view("v-busy", [{}], (t) => (cpu(t, 0) + cpu(t, 1) + cpu(t, 2) + cpu(t, 3)) / 4),
  load: view("v-load", [{}], (t) => 1.6 + 0.5 * wave(t, 60) + 0.2 * noise(t, 3)),
  memory: view("v-memory", [{}], (t) => 6.2e9 + 4e8 * wave(t, 200) + 2e7 * noise(t, 4)),
  memshare: view("v-memshare", [{}], (t) => 0.78 + 0.06 * wave(t, 200)),
  swap: view("v-swap", [{}], () => 0),
  net: view("v-net", ["eth0", "lo"].map((device) => ({ device, direction: "rx" })), (t, i) => (i ? 4e5 : 3.4e6) * (1 + 0.4 * wave(t, 33, i) + 0.7 * noise(t, 9 + i) ** 3), { additive: true }),
  sent: view("v-sent", ["eth0", "lo"].map((device) => ({ device, direction: "tx" })), (t, i) => (i ? 4e5 : 1.1e6) * (1 + 0.5 * wave(t, 41, i) + 0.5 * noise(t, 5 + i) ** 2), { additive: true }),
  p50: view("v-p50", [{}], (t) => 0.004 + 0.001 * noise(t, 20)),
  p99: view("v-p99", [{}], (t) => 0.02 + 0.012 * noise(t, 21) + 0.01 * wave(t, 70) ** 4),
  disk: view("v-disk", ["/", "/home", "/var", "/boot"].map((mount) => ({ mount })), (t, i) => [0.71, 0.42, 0.9, 0.965][i] + 0.001 * noise(t, i)),
  pcpu: view("v-pcpu", PROCESSES.map((process, i) => ({ process, pid: String(412 + i * 377) })), (t, i) => Math.max(0, (0.9 / (i + 1)) * (0.7 + 0.3 * wave(t, 20 + 7 * i, i)))),
  pmem: view("v-pmem", PROCESSES.map((process, i) => ({ process, pid: String(412 + i * 377) })), (t, i) => 9e8 / (i + 1) + 1e7 * wave(t, 60, i)),
  requests: view("v-req", ["eu", "us", "ap"].map((region) => ({ region })), (t, i) => [1240, 860, 310][i] * (1 + 0.2 * wave(t, 50, i) + 0.1 * noise(t, 30 + i)), { additive: true }),
  temperature: view("v-temp", [{}], (t) => 61 + 9 * wave(t, 120) + noise(t, 40)),
  slow: view("v-slow", [{}], (t) => 20 + 5 * wave(t, 100), { every: 5000 }),
  nothing: view("v-nothing", [], () => null),
};

function panel(id, title, type, unit, grid, views, extra = {}) {
  const lines = views.map((name, i) => {
    const [key, query = "abc"[i], fn = "avg"] = name.split("/");
    return { query, fn, key };
  });
  const [x, y, w, h] = grid;
  return {
    id, title, type, unit, window: WINDOW, grid: { x, y, w, h }, thresholds: [], min: null, max: null,
    decimals: null, legend: null, description: "", lines, ...extra,
  };
}

const LOADED = [{ above: 0.8, state: "warning" }, { above: 0.95, state: "critical" }];

const HOST = [
  panel("busy", "CPU busy", "stat", "percentunit", [0, 0, 4, 4], ["busy"], { thresholds: LOADED }),
  panel("load", "Load, 1 min", "stat", "short", [4, 0, 4, 4], ["load"], { thresholds: [{ above: 1.5, state: "warning" }, { above: 4, state: "critical" }] }),
  panel("memory", "Memory used", "stat", "bytes", [8, 0, 4, 4], ["memory"]),
  panel("rx", "Received", "stat", "Bps", [12, 0, 4, 4], ["net"]),
  panel("swap", "Swap", "stat", "bytes", [16, 0, 4, 4], ["swap"]),
  panel("temp", "Temperature", "stat", "celsius", [20, 0, 4, 4], ["temperature"], { decimals: 1 }),
  panel("cpu", "CPU by core", "timeseries", "percentunit", [0, 4, 12, 8], ["cpu"], { min: 0, max: 1, thresholds: LOADED, legend: "core {cpu}" }),
  panel("network", "Network", "timeseries", "Bps", [12, 4, 12, 8], ["net/rx/rate", "sent/tx/rate"], { legend: "{device}", description: "Bytes a second by device and direction" }),
  panel("memgauge", "Memory", "gauge", "percentunit", [0, 12, 4, 6], ["memshare"], { thresholds: LOADED }),
  panel("disks", "Disks", "gauge", "percentunit", [4, 12, 8, 6], ["disk"], { thresholds: LOADED, legend: "{mount}" }),
  panel("diskbar", "Disk usage", "bar", "percentunit", [12, 12, 6, 6], ["disk"], { thresholds: LOADED, max: 1, legend: "{mount}" }),
  panel("latency", "Latency", "timeseries", "s", [18, 12, 6, 6], ["p50/a/p50", "p99/a/p99"]),
  panel("processes", "Busiest processes", "table", "percentunit", [0, 18, 12, 8], ["pcpu/cpu/last"], { thresholds: [{ above: 0.7, state: "warning" }] }),
  panel("resident", "Largest processes", "bar", "bytes", [12, 18, 6, 8], ["pmem"], { legend: "{process}" }),
  panel("gpu", "GPU", "timeseries", "percent", [18, 18, 6, 8], ["nothing"]),
  panel("requests", "Requests", "timeseries", "reqps", [0, 26, 12, 8], ["requests//rate"]),
  panel("total", "Memory", "timeseries", "bytes", [12, 26, 12, 8], ["memory"]),
];

export const DASHBOARDS = {
  host: { name: "host", title: "This machine", panels: HOST },
  tideboard: { name: "tideboard", title: "Tideboard itself", panels: HOST.slice(6, 8) },
  empty: { name: "empty", title: "An empty one", panels: [] },
};

const FAULT = { path: "spec.panels[2].query.fn", reason: "'avgg' is not a function; expected one of avg, sum, min, max, count, last, rate, increase, p50, p75, p90, p95, p99", line: 31 };
export const FAULTS = {
  /** The newest version is broken, an older one is shown. */
  last: { tideboard: { ...FAULT, source: "dashboards/tideboard.yaml" } },
  /** There never was a good version. */
  never: [{ name: "broken", title: "broken", panels: 0, source: "dashboards/broken.yaml", fault: { ...FAULT, source: "dashboards/broken.yaml" } }],
};

export class World {
  frozen = false;

  constructor() {
    this.forget(WINDOW);
  }

  /** Another epoch that holds only the last moments. */
  forget(keep = 0) {
    const now = Date.now();
    this.epoch = now.toString(36);
    this.cells = new Map(Object.values(VIEWS).map((each) => [each.id, new Map()]));
    this.advance(now, now - keep);
  }

  advance(now, from = now) {
    this.now = now;
    this.version = now * 1000;
    if (this.frozen) return;
    for (const each of Object.values(VIEWS)) {
      const buckets = this.cells.get(each.id);
      for (let start = Math.floor(from / each.every) * each.every; start <= now; start += each.every) {
        const age = Math.min(now - start, each.every);
        const share = each.additive ? Math.max(0.1, age / each.every) : 1;
        const values = each.groups.map((_, i) => (each.additive ? each.value(start, i) * share : each.value(Math.min(now, start + each.every - 1), i)));
        buckets.set(start, { values, version: this.version });
      }
      for (const start of buckets.keys()) if (start < now - WINDOW - each.every) buckets.delete(start);
    }
  }

  views(name) {
    const keys = new Set(DASHBOARDS[name].panels.flatMap((each) => each.lines.map((line) => line.key)));
    return [...keys].map((key) => VIEWS[key]);
  }

  versions(name) {
    return Object.fromEntries(this.views(name).map(({ id }) => [id, this.version]));
  }

  cellsAfter({ id, groups }, version) {
    const found = [...this.cells.get(id)].filter(([, bucket]) => bucket.version > version).toSorted((a, b) => a[0] - b[0]);
    return groups.length === 0 ? [] : found.map(([start, { values }]) => [start, groups.map((_, i) => i), values]);
  }

  snapshot(name) {
    const { title, panels } = DASHBOARDS[name];
    const views = this.views(name);
    return {
      type: "snapshot", v: 1, dashboard: name, epoch: this.epoch, now: Date.now(), hz: 10, title, window: WINDOW,
      versions: this.versions(name),
      views: views.map((each) => ({
        id: each.id, every: each.every, window: WINDOW, additive: each.additive, closed: this.closed(each),
        groups: each.groups.map((labels, i) => [i, labels]), cells: this.cellsAfter(each, -1),
      })),
      panels: panels.map((each) => ({
        ...each,
        lines: each.lines.map(({ query, fn, key }) => ({ query, fn, view: views.indexOf(VIEWS[key]) })),
      })),
    };
  }

  delta(name, versions) {
    const views = this.views(name).map((each, i) => {
      const from = versions[each.id] ?? 0;
      return [i, from, this.version, this.closed(each), [], this.frozen ? [] : this.cellsAfter(each, from)];
    });
    return { type: "delta", dashboard: name, epoch: this.epoch, now: Date.now(), views };
  }

  closed({ every }) {
    return Math.floor((this.now - 300) / every) * every;
  }

  document(name) {
    return { spec: { panels: DASHBOARDS[name].panels.map(({ id }) => ({ id, query: { metric: `host_${id}_busy_ratio` } })) } };
  }

  /** Closed buckets after a time, one trace per group. */
  plotly(name, id, after, most) {
    const { lines = [] } = DASHBOARDS[name]?.panels.find((each) => each.id === id) ?? {};
    let until = after;
    const traces = lines.flatMap(({ key }) => {
      const each = VIEWS[key];
      const buckets = [...this.cells.get(each.id)].filter(([start]) => start > after && start + each.every <= this.closed(each)).slice(-most);
      for (const [start] of buckets) until = Math.max(until, start);
      return each.groups.map((labels, i) => ({
        name: Object.values(labels).join(" ") || id,
        x: buckets.map(([start]) => start),
        y: buckets.map(([, { values }]) => values[i]),
      }));
    });
    return { traces, until };
  }
}
