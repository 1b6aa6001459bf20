/** The one live client of this page, and what of it the page shows. */

import { signal } from "@preact/signals";
import { LiveClient, liveUrl } from "../live";

export const client = new LiveClient(liveUrl(location));
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

/** Frames that came per second, over the last three. */
export function frameRate(at: number): number {
  const recent = client.arrivals.filter((arrival) => at - arrival <= 3000);
  const span = Math.max(1500, at - (recent[0] ?? at));
  return Math.round((recent.length * 1000) / span);
}
