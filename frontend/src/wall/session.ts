/** The one live client of this page, and what of it the page shows. */

import { signal } from "@preact/signals";
import { LiveClient, liveUrl } from "../live";

const HZ = 10;

export const client = new LiveClient(liveUrl(location), HZ);
export const online = signal(navigator.onLine);

export function followNetwork(): void {
  addEventListener("online", () => {
    online.value = true;
    client.retry();
  });
  addEventListener("offline", () => {
    online.value = false;
  });
}

/** Nobody looks at a hidden page: it is told of changes again when it is shown, with all that came meanwhile. */
export function followVisibility(): void {
  document.addEventListener("visibilitychange", follow);
  follow();
}

function follow(): void {
  client.rate(document.hidden ? 0 : HZ);
}

/** Frames that came per second, over the last three. */
export function frameRate(at: number): number {
  const recent = client.arrivals.filter((arrival) => at - arrival <= 3000);
  const span = Math.max(1500, at - (recent[0] ?? at));
  return Math.round((recent.length * 1000) / span);
}
