/**
 * The live protocol: the messages on /api/v1/live. docs/protocol.md is the specification, tests/golden holds one
 * example of each, read here and by pytest. Reading them is `decode`; what they do to the data is `store`.
 */

export const SUBPROTOCOL = "tideboard.v1.json";
export const VERSION = 1;
/** A longer message of a client is not read, and closes its socket. */
export const MAX_MESSAGE_BYTES = 8192;
/** After so much silence the client reconnects; the server sends a frame at least once a second. */
export const SILENCE_MS = 3000;
/** After so much silence it asks for a sign of life: of a dashboard that does not exist there are no frames. */
export const ASK_MS = 1500;

export type Labels = Readonly<Record<string, string>>;
export type NewGroup = readonly [number: number, labels: Labels];
/** Cells of one bucket: its start in epoch ms, then groups and values of the same length. */
export type Cells = readonly [start: number, groups: readonly number[], values: readonly (number | null)[]];
/** What changed in one view, which is named by its index in the snapshot. */
export type ViewDelta = readonly [
  view: number,
  from: number,
  to: number,
  closed: number,
  groups: readonly NewGroup[],
  cells: readonly Cells[],
];

/** What is to be known of a view beside its values; what is missing is 0. docs/protocol.md says what each number counts. */
export interface Notes {
  readonly at?: number;
  readonly late?: number;
  readonly late_at?: number;
  readonly pooled?: number;
  readonly since?: number;
  readonly limit?: number;
  readonly left_out?: number;
  readonly contested?: number;
  readonly partial?: number;
}

export interface Since {
  readonly epoch: string;
  readonly versions: Readonly<Record<string, number>>;
}

export type ClientMessage =
  | { readonly type: "subscribe"; readonly dashboard: string; readonly hz: number; readonly since: Since | null }
  | { readonly type: "unsubscribe"; readonly dashboard: string }
  | { readonly type: "rate"; readonly hz: number }
  | { readonly type: "token"; readonly token: string }
  | { readonly type: "ping" };

export interface ViewState {
  readonly id: string;
  readonly every: number;
  readonly window: number;
  readonly additive: boolean;
  readonly closed: number;
  readonly groups: readonly NewGroup[];
  readonly cells: readonly Cells[];
  readonly notes?: Notes;
}

export type PanelType = "timeseries" | "stat" | "gauge" | "bar" | "table";
export interface Threshold {
  readonly above: number;
  readonly state: "warning" | "critical";
}
export interface LineInfo {
  readonly query: string;
  readonly fn: string;
  readonly view: number;
}
export interface PanelInfo {
  readonly id: string;
  readonly title: string;
  readonly type: PanelType;
  readonly unit: string;
  readonly window: number;
  readonly grid: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly thresholds: readonly Threshold[];
  readonly min: number | null;
  readonly max: number | null;
  readonly decimals: number | null;
  readonly legend: string | null;
  readonly description: string;
  readonly lines: readonly LineInfo[];
}

export interface Snapshot {
  readonly type: "snapshot";
  readonly v: number;
  readonly dashboard: string;
  readonly epoch: string;
  readonly now: number;
  readonly hz: number;
  readonly title: string;
  readonly window: number;
  readonly versions: Readonly<Record<string, number>>;
  readonly views: readonly ViewState[];
  readonly panels: readonly PanelInfo[];
}
export interface Delta {
  readonly type: "delta";
  readonly dashboard: string;
  readonly epoch: string;
  readonly now: number;
  readonly views: readonly ViewDelta[];
  /** Of views of which they changed: the index in the snapshot, and what to put in their place. */
  readonly notes?: readonly (readonly [view: number, notes: Notes])[];
}
export interface Part {
  readonly part: string;
  readonly since: number;
  readonly reason: string;
}
export interface Status {
  readonly type: "status";
  readonly dashboard: string;
  readonly now: number;
  readonly stale: boolean;
  readonly age_ms: number;
  readonly parts: readonly Part[];
  /** Frames a second at most, and why that is less than was asked for: "reader" (this client is slow) or "gateway". */
  readonly hz?: number;
  readonly limit?: string;
  /** How old the newest value of a panel is, ms, while something is away. */
  readonly panels?: Readonly<Record<string, number>>;
}
export interface Moved {
  readonly type: "moved";
  readonly retry_in_ms: number;
}
export interface Fault {
  readonly type: "error";
  readonly dashboard: string;
  readonly code: string;
  readonly reason: string;
  readonly path: string;
  readonly line: number;
  readonly source: string;
}
export interface Pong {
  readonly type: "pong";
  readonly now: number;
}
/** The token that counts on this socket, and until when: epoch ms of the server's clock. */
export interface TokenEnds {
  readonly type: "token";
  readonly now: number;
  readonly ends: number;
}
export type ServerMessage = Snapshot | Delta | Status | Moved | Fault | Pong | TokenEnds;

export function encode(message: ClientMessage): string {
  return JSON.stringify(message);
}
