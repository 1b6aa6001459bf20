/**
 * How a person brings a token: in the address (`#token=...`, which browsers send nowhere), or by a form. It is kept in the cookie that
 * gateways read by default (docs/protocol.md, "Tokens"), which other sites' pages cannot use.
 */

import { useEffect, useState } from "preact/hooks";
import { Notice } from "./pages/notice";

const COOKIE = "tideboard_token";
const BROUGHT = /^#token=([\w.=-]+)$/;

/** The cookie that a token becomes. It ends with the browser; the token itself ends before, or the gateway sees to it. */
export function cookieOf(token: string, protocol: string): string {
  return `${COOKIE}=${token}; Path=/; SameSite=Strict${protocol === "https:" ? "; Secure" : ""}`;
}

/** The token of an address, null where there is none. */
export function tokenOf(hash: string): string | null {
  return BROUGHT.exec(hash)?.[1] ?? null;
}

/** Take what the address brings out of there and of the history, also what is no token, and keep it if it is one. Whether it is. */
export function takeToken(): boolean {
  const { hash, href } = location;
  if (!hash.startsWith("#token=")) return false;
  history.replaceState(history.state, "", href.slice(0, href.indexOf("#")));
  const token = tokenOf(hash);
  if (token !== null) document.cookie = cookieOf(token, location.protocol);
  return token !== null;
}

/** The same for an address that is entered while the page is open: browsers do not load it again. enter: opens everything with the new token. */
export function followTokens(enter: () => void): void {
  addEventListener("hashchange", () => {
    if (takeToken()) enter();
  });
}

/** Asks for a token. reason: what the gateway said. */
export function Entrance({ reason }: { readonly reason: string }) {
  const [token, setToken] = useState("");
  const enter = (event: Event) => {
    event.preventDefault();
    document.cookie = cookieOf(token.trim(), location.protocol);
    location.reload();
  };
  return (
    <Notice title="A token is needed here">
      <p class="reason">{reason}</p>
      <form class="entrance" onSubmit={enter}>
        <input
          type="password"
          name="token"
          aria-label="Token"
          autocomplete="off"
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        <button type="submit" disabled={tokenOf(`#token=${token.trim()}`) === null}>
          Open
        </button>
      </form>
    </Notice>
  );
}

/** Why this dashboard is not given to who has no token: what the gateway says, null where that is not the matter. Asked again when `attempt` changes. */
export function useRefusal(name: string, attempt: number): string | null {
  const [refusal, setRefusal] = useState<string | null>(null);
  useEffect(() => {
    if (attempt < 2) return;
    const stop = new AbortController();
    void fetch(`/api/v1/dashboards/${encodeURIComponent(name)}`, { signal: stop.signal }).then(
      async (answer) => setRefusal(answer.status === 401 ? await reasonOf(answer) : null),
      () => setRefusal(null),
    );
    return () => stop.abort();
  }, [name, attempt]);
  return refusal;
}

/** What an answer that is an error gives as its reason, empty where it gives none. */
export async function reasonOf(answer: Response): Promise<string> {
  const body = (await answer.json().catch(() => null)) as { readonly error?: { readonly reason?: string } } | null;
  return body?.error?.reason ?? "";
}
