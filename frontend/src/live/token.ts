/**
 * Tokens of viewers: where a page gets one, how a browser shows it to a gateway, and when to bring another.
 * docs/protocol.md, "Tokens". The sockets are `socket`'s.
 */

import { SUBPROTOCOL } from "./protocol";

/** Gives a token that holds now; asked for at every connection, and before the one in use ends. */
export type TokenSource = () => string | Promise<string>;

const SHORTEST_MS = 1000; // who has no other token brings the same one
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** What a WebSocket is opened with: a browser can set no header, so the token is offered like a subprotocol. */
export function protocolsWith(token: string | null): string[] {
  return token === null ? [SUBPROTOCOL] : [SUBPROTOCOL, `tideboard.token.${token}`];
}

/** How long to keep a token that ends then, ms: 70 to 90 % of what is left, so that pages that began together do not renew together. random: in [0, 1). */
export function renewAfter(now: number, ends: number, random: number): number {
  return Math.min(Math.max(SHORTEST_MS, (ends - now) * (0.7 + 0.2 * random)), LONGEST_TIMEOUT_MS);
}

/** Asks for one; what the page throws, at once or later, is a rejection. */
export async function fetchToken(source: TokenSource): Promise<string> {
  return await source();
}
