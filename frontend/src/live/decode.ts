/**
 * From a text frame to a message, or to an error that names the place that is wrong. Only what the reducers rely on
 * is checked: a frame is checked ten times a second for hours.
 */

import { VERSION, type ServerMessage } from "./protocol";

/** A message that is not one; the text says where it differs. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** The message in a text frame, or null for a type of a newer server. ProtocolError names the place that is wrong. */
export function decode(text: string): ServerMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProtocolError(`not JSON: ${text.slice(0, 80)}`);
  }
  const message = record(value, "message");
  const type = string(message["type"], "type");
  const check = CHECKS[type];
  if (check === undefined) return null;
  check(message);
  return message as unknown as ServerMessage;
}

type Record_ = Readonly<Record<string, unknown>>;

const CHECKS: Readonly<Record<string, (message: Record_) => void>> = {
  snapshot(message) {
    const v = number(message["v"], "v");
    if (v !== VERSION) throw new ProtocolError(`v: is ${v}, this page reads ${VERSION}; reload it`);
    for (const key of ["dashboard", "epoch", "title"]) string(message[key], key);
    for (const key of ["now", "hz", "window"]) number(message[key], key);
    record(message["versions"], "versions");
    const views = list(message["views"], "views");
    views.forEach((view, index) => viewState(view, `views[${index}]`));
    list(message["panels"], "panels").forEach((panel, index) => panelInfo(panel, `panels[${index}]`, views.length));
  },
  delta(message) {
    for (const key of ["dashboard", "epoch"]) string(message[key], key);
    number(message["now"], "now");
    list(message["views"], "views").forEach((part, index) => viewDelta(part, `views[${index}]`));
    list(message["notes"] ?? [], "notes").forEach((pair, index) => viewNotes(pair, `notes[${index}]`));
  },
  status(message) {
    string(message["dashboard"], "dashboard");
    number(message["age_ms"], "age_ms");
    list(message["parts"], "parts").forEach((part, index) => string(record(part, `parts[${index}]`)["part"], `parts[${index}].part`));
    number(message["hz"] ?? 0, "hz");
    string(message["limit"] ?? "", "limit");
    for (const [panel, age] of Object.entries(record(message["panels"] ?? {}, "panels"))) number(age, `panels.${panel}`);
  },
  moved(message) {
    number(message["retry_in_ms"], "retry_in_ms");
  },
  error(message) {
    for (const key of ["dashboard", "code", "reason"]) string(message[key], key);
  },
  pong(message) {
    number(message["now"], "now");
  },
  token(message) {
    for (const key of ["now", "ends"]) number(message[key], key);
  },
};

function viewState(value: unknown, at: string): void {
  const view = record(value, at);
  string(view["id"], `${at}.id`);
  for (const key of ["every", "window"]) {
    if (!(number(view[key], `${at}.${key}`) > 0)) throw new ProtocolError(`${at}.${key}: must be more than 0`);
  }
  number(view["closed"], `${at}.closed`);
  groups(view["groups"], `${at}.groups`);
  cells(view["cells"], `${at}.cells`);
  notes(view["notes"] ?? {}, `${at}.notes`);
}

function viewNotes(value: unknown, at: string): void {
  const pair = list(value, at);
  number(pair[0], `${at}[0]`);
  notes(pair[1], `${at}[1]`);
}

function notes(value: unknown, at: string): void {
  for (const [key, count] of Object.entries(record(value, at))) number(count, `${at}.${key}`);
}

function viewDelta(value: unknown, at: string): void {
  const part = list(value, at);
  if (part.length < 6) throw new ProtocolError(`${at}: has ${part.length} items, expected 6`);
  for (let i = 0; i < 4; i++) number(part[i], `${at}[${i}]`);
  groups(part[4], `${at}[4]`);
  cells(part[5], `${at}[5]`);
}

function groups(value: unknown, at: string): void {
  for (const [index, group] of list(value, at).entries()) {
    const pair = list(group, `${at}[${index}]`);
    number(pair[0], `${at}[${index}][0]`);
    record(pair[1], `${at}[${index}][1]`);
  }
}

function cells(value: unknown, at: string): void {
  for (const [index, cell] of list(value, at).entries()) {
    const parts = list(cell, `${at}[${index}]`);
    number(parts[0], `${at}[${index}][0]`);
    const numbers = list(parts[1], `${at}[${index}][1]`);
    const values = list(parts[2], `${at}[${index}][2]`);
    if (numbers.length !== values.length) {
      throw new ProtocolError(`${at}[${index}]: ${numbers.length} groups and ${values.length} values`);
    }
  }
}

function panelInfo(value: unknown, at: string, views: number): void {
  const panel = record(value, at);
  for (const key of ["id", "title", "type", "unit"]) string(panel[key], `${at}.${key}`);
  record(panel["grid"], `${at}.grid`);
  list(panel["thresholds"], `${at}.thresholds`);
  list(panel["lines"], `${at}.lines`).forEach((line, index) => {
    const view = number(record(line, `${at}.lines[${index}]`)["view"], `${at}.lines[${index}].view`);
    if (!(view >= 0 && view < views)) throw new ProtocolError(`${at}.lines[${index}].view: there is no view ${view}`);
  });
}

function record(value: unknown, at: string): Record_ {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record_;
  throw new ProtocolError(`${at}: expected an object, got ${describe(value)}`);
}

function list(value: unknown, at: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new ProtocolError(`${at}: expected a list, got ${describe(value)}`);
}

function string(value: unknown, at: string): string {
  if (typeof value === "string") return value;
  throw new ProtocolError(`${at}: expected a text, got ${describe(value)}`);
}

function number(value: unknown, at: string): number {
  if (typeof value === "number") return value;
  throw new ProtocolError(`${at}: expected a number, got ${describe(value)}`);
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  return value === null ? "null" : Array.isArray(value) ? "a list" : `a ${typeof value}`;
}
