/**
 * The live client: ONE WebSocket for all subscriptions of a page, counted by dashboard, resumed silently.
 * It only performs: `connection` decides when to open and retry, `source` which socket counts, `feed` what a message means.
 */

import { observe, serverTime, type Clock } from "./clock";
import { IDLE, step, wakeAt, type Command, type Connection, type Happening } from "./connection";
import { decode } from "./decode";
import { newFeed, receive, type Feed } from "./feed";
import { encode, MAX_MESSAGE_BYTES, type ServerMessage, type TokenEnds } from "./protocol";
import { hear, NOWHERE, type Source, type Told } from "./source";
import { since } from "./store";
import { fetchToken, protocolsWith, renewAfter, type TokenSource } from "./token";

/** A dashboard that nobody looks at stays subscribed for so long, so that going back and forth does not thrash. */
const GRACE_MS = 5000;

export interface Surroundings {
  /** Monotonic, ms. */
  readonly now: () => number;
  readonly random: () => number;
  readonly open: (url: string, protocols: readonly string[]) => WebSocket;
}

const BROWSER: Surroundings = {
  now: () => performance.now(),
  random: Math.random,
  open: (url, protocols) => new WebSocket(url, [...protocols]),
};

interface Subscription {
  feed: Feed;
  source: Source;
  count: number;
  readonly watchers: Set<() => void>;
  leaving: ReturnType<typeof setTimeout> | undefined;
}

export class LiveClient {
  connection: Connection = IDLE;
  clock: Clock | null = null;
  /** Arrival of the last frames, local monotonic ms, oldest first. */
  readonly arrivals: number[] = [];
  /** What could not be read or was refused last; empty when nothing was. */
  problem = "";

  private readonly sockets = new Map<number, WebSocket>();
  private readonly subscriptions = new Map<string, Subscription>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private renewal: ReturnType<typeof setTimeout> | undefined;

  /** token: where tokens come from; without it the gateway asks nobody, or reads a cookie. */
  constructor(
    private readonly url: string,
    private hz = 10,
    private readonly around: Surroundings = BROWSER,
    private readonly token: TokenSource | null = null,
  ) {}

  /** Follow a dashboard; `changed` is called after every message. Gives the way to stop. */
  subscribe(dashboard: string, changed: () => void): () => void {
    const subscription = this.subscriptions.get(dashboard) ?? this.begin(dashboard);
    clearTimeout(subscription.leaving);
    const watcher = () => changed();
    subscription.watchers.add(watcher);
    subscription.count += 1;
    this.happen({ type: "start" });
    return () => {
      if (!subscription.watchers.delete(watcher)) return;
      subscription.count -= 1;
      if (subscription.count === 0) subscription.leaving = setTimeout(() => this.end(dashboard), GRACE_MS);
    };
  }

  feed(dashboard: string): Feed | undefined {
    return this.subscriptions.get(dashboard)?.feed;
  }

  /** Every dashboard that is followed. */
  feeds(): Feed[] {
    return [...this.subscriptions.values()].map((subscription) => subscription.feed);
  }

  /** The server's clock now, epoch ms; null until it was heard. */
  serverNow(): number | null {
    return this.clock === null ? null : serverTime(this.clock, this.around.now());
  }

  /** Be told of changes so many times a second at most, 0: not before another rate is asked for. */
  rate(hz: number): void {
    if (hz === this.hz) return;
    this.hz = hz;
    for (const socket of this.speaking()) this.send(socket, encode({ type: "rate", hz }));
  }

  /** The network is back: do not sit out the wait. */
  retry(): void {
    this.happen({ type: "retry" });
  }

  close(): void {
    clearTimeout(this.renewal);
    this.happen({ type: "stop" });
  }

  private begin(dashboard: string): Subscription {
    const subscription: Subscription = { feed: newFeed(dashboard), source: NOWHERE, count: 0, watchers: new Set(), leaving: undefined };
    this.subscriptions.set(dashboard, subscription);
    for (const socket of this.speaking()) this.ask(socket, subscription.feed);
    return subscription;
  }

  private end(dashboard: string): void {
    this.subscriptions.delete(dashboard);
    for (const socket of this.speaking()) this.send(socket, encode({ type: "unsubscribe", dashboard }));
    if (this.subscriptions.size === 0) this.close();
    else this.checkAnswered();
  }

  /** The sockets on which there is something to say: while the connection moves there are two. */
  private speaking(): number[] {
    const { phase, socket, successor, successorOpen } = this.connection;
    return [...(phase === "open" ? [socket] : []), ...(successorOpen ? [successor] : [])];
  }

  private happen(event: Happening): void {
    const before = this.connection;
    const next = step(before, event, this.around.now(), this.around.random());
    this.connection = next.connection;
    for (const command of next.commands) this.perform(command);
    if (before.successor !== 0 && next.connection.successor === 0 && next.connection.socket === before.socket) this.stay(before.successor);
    if (before.successor !== 0 && next.connection.socket === before.successor) this.follow();
    this.wake();
    if (before.phase !== next.connection.phase) for (const each of this.subscriptions.values()) notify(each);
  }

  private perform(command: Command): void {
    switch (command.do) {
      case "open":
        this.open(command.socket);
        break;
      case "close":
        this.sockets.get(command.socket)?.close(command.code);
        this.sockets.delete(command.socket);
        break;
      case "ping":
        this.send(command.socket, encode({ type: "ping" }));
        break;
      case "subscribe":
        for (const subscription of this.subscriptions.values()) {
          const { feed } = subscription;
          subscription.source = { ...subscription.source, next: null };
          // Another gateway may see it otherwise: it says so when something is away.
          if (command.socket === this.connection.socket) {
            subscription.feed = { ...feed, status: null, resuming: this.connection.lostAt !== null ? feed.state !== null : feed.resuming };
          }
          this.ask(command.socket, feed);
        }
    }
  }

  private open(number: number): void {
    if (this.token === null) {
      this.connect(number, null);
      return;
    }
    fetchToken(this.token).then(
      (token) => {
        if (this.awaits(number)) this.connect(number, token);
      },
      (error: unknown) => {
        if (this.awaits(number)) this.happen({ type: "closed", socket: number, code: 1006, reason: `there is no token: ${String(error)}` });
      },
    );
  }

  private awaits(number: number): boolean {
    const { phase, socket, successor } = this.connection;
    return successor === number || (socket === number && phase === "connecting");
  }

  private connect(number: number, token: string | null): void {
    const socket = this.around.open(this.url, protocolsWith(token));
    this.sockets.set(number, socket);
    socket.addEventListener("open", () => this.happen({ type: "opened", socket: number }));
    socket.addEventListener("message", (event: MessageEvent<unknown>) => this.hear(number, event.data));
    socket.addEventListener("close", (event) => {
      this.sockets.delete(number);
      this.happen({ type: "closed", socket: number, code: event.code, reason: event.reason });
    });
  }

  private hear(number: number, data: unknown): void {
    const { socket, successor } = this.connection;
    if ((number !== socket && number !== successor) || typeof data !== "string") return;
    const at = this.around.now();
    let message: ServerMessage | null;
    try {
      message = decode(data);
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      message = null;
    }
    this.happen({ type: message?.type === "token" ? "greeted" : "heard", socket: number });
    if (message === null) return;
    if ("now" in message) this.clock = observe(this.clock, message.now, at);
    if (message.type === "moved") this.happen({ type: "moved", socket: number, withinMs: message.retry_in_ms });
    else if (message.type === "token") this.keep(number, message);
    else if (message.type !== "pong") this.deliver(number, message, at);
  }

  /** A token counts on this socket: bring another before it ends, and ask again for what the one before did not name. */
  private keep(number: number, { now, ends }: TokenEnds): void {
    const { token } = this;
    if (token === null) return;
    for (const { feed } of this.subscriptions.values()) if (feed.fault?.code === "forbidden") this.ask(number, feed);
    clearTimeout(this.renewal);
    this.renewal = setTimeout(
      () => {
        fetchToken(token).then(
          (renewed) => this.send(number, encode({ type: "token", token: renewed })),
          (error: unknown) => {
            this.problem = `there is no token: ${String(error)}`;
          },
        );
      },
      renewAfter(now, ends, this.around.random()),
    );
  }

  private deliver(socket: number, message: Told, at: number): void {
    const subscription = this.subscriptions.get(message.dashboard);
    if (subscription === undefined) {
      if (message.type === "error" && message.dashboard === "") this.problem = message.reason;
      return;
    }
    const heard = hear(subscription.source, message, socket, this.connection.socket);
    subscription.source = heard.source;
    if (!heard.counts) return;
    this.arrivals.push(at);
    while (at - (this.arrivals[0] ?? at) > 3000) this.arrivals.shift();
    const before = heard.moved ? { ...subscription.feed, status: heard.source.next } : subscription.feed;
    const { feed, ask } = receive(before, message, at);
    subscription.feed = feed;
    if (message.type !== "delta" || message.epoch !== "") this.judge();
    if (ask) this.ask(socket, feed);
    notify(subscription);
    this.checkAnswered();
  }

  /** The move failed: what the new socket had taken over comes from the old one again. */
  private stay(lost: number): void {
    const { socket } = this.connection;
    for (const subscription of this.subscriptions.values()) {
      if (subscription.source.socket !== lost) continue;
      subscription.source = { socket, next: null };
      subscription.feed = { ...subscription.feed, status: null }; // said again with the answer
      this.ask(socket, subscription.feed);
    }
  }

  /** The old socket is over: what it said is away is forgotten, also where the new one is still to answer. */
  private follow(): void {
    for (const subscription of this.subscriptions.values()) {
      const { source, feed } = subscription;
      if (source.socket !== this.connection.socket) subscription.feed = { ...feed, status: source.next };
    }
  }

  /** The line is slow where a gateway says so of any dashboard. */
  private judge(): void {
    const slow = this.feeds().some(({ status }) => status?.limit === "reader");
    if (slow !== this.connection.slow) this.happen({ type: "slowed", slow });
  }

  private checkAnswered(): void {
    const { successor, successorOpen } = this.connection;
    if (!successorOpen || [...this.subscriptions.values()].some(({ source }) => source.socket !== successor)) return;
    this.happen({ type: "answered", socket: successor });
  }

  private ask(socket: number, feed: Feed): void {
    const held = feed.state === null || feed.anew ? null : since(feed.state);
    const resume = encode({ type: "subscribe", dashboard: feed.name, hz: this.hz, since: held });
    // A dashboard with hundreds of views has more versions than one message may hold: it is read whole again.
    const fits = new TextEncoder().encode(resume).length <= MAX_MESSAGE_BYTES;
    this.send(socket, fits ? resume : encode({ type: "subscribe", dashboard: feed.name, hz: this.hz, since: null }));
  }

  private send(socket: number, text: string): void {
    this.sockets.get(socket)?.send(text);
  }

  private wake(): void {
    clearTimeout(this.timer);
    const at = wakeAt(this.connection);
    if (at < Infinity) this.timer = setTimeout(() => this.happen({ type: "tick" }), Math.max(0, at - this.around.now()) + 1);
  }
}

function notify(subscription: Subscription): void {
  for (const watcher of subscription.watchers) watcher();
}

/** Where the live endpoint of the server of this page is. */
export function liveUrl(location: { readonly protocol: string; readonly host: string }): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`;
}
