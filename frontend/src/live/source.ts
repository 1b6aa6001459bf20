/**
 * From which socket a dashboard is read while the connection moves: from the old one until the new one has answered, and
 * from then on from that only. Pure; sockets are numbered as they are opened.
 */

import type { ServerMessage, Status } from "./protocol";

/** Messages of one dashboard. */
export type Told = Exclude<ServerMessage, { type: "moved" | "pong" | "token" }>;

export interface Source {
  /** The socket that answered last, 0: none has. */
  readonly socket: number;
  /** What is away as the next socket says, which has not answered yet. */
  readonly next: Status | null;
}

export interface Heard {
  readonly source: Source;
  /** Whether the message is to be read. */
  readonly counts: boolean;
  /** Whether it is the first that is read from a next socket: what the one before said of what is away does not count any more. */
  readonly moved: boolean;
}

export const NOWHERE: Source = { socket: 0, next: null };

/** A message came from a socket. current: the one that counts; another one is its successor. */
export function hear(source: Source, message: Told, from: number, current: number): Heard {
  const read = (socket: number): Heard => ({ source: { ...source, socket }, counts: true, moved: from !== current && socket !== source.socket });
  if (source.socket === from) return read(from);
  if (source.socket > from) return { source, counts: false, moved: false };
  if (answers(message)) return read(from);
  if (from === current) return read(source.socket);
  return { source: message.type === "status" ? { ...source, next: message } : source, counts: false, moved: false };
}

/** Whether a message is what a socket says first of a dashboard that it was asked for; before it come signs of life only. */
function answers(message: Told): boolean {
  return message.type === "snapshot" || message.type === "error" || (message.type === "delta" && message.epoch !== "");
}
