/**
 * The server's clock as seen from here. Frames travel for a while, so a frame's `now` is never ahead of the server's
 * clock: the largest difference seen is the best estimate, and it is let down slowly in case the two clocks drift.
 */

export interface Clock {
  /** Server's epoch ms minus the local monotonic ms. */
  readonly offset: number;
  /** When that was estimated, local monotonic ms. */
  readonly at: number;
}

const DRIFT = 0.001; // 1 ms per second: ten times what a bad quartz does, and unseen on a screen

export const SET_BACK_MS = 60_000; // no frame is so late: a client gives up on a socket long before

export function observe(clock: Clock | null, serverNow: number, at: number): Clock {
  const seen = serverNow - at;
  if (clock === null || seen < clock.offset - SET_BACK_MS) return { offset: seen, at };
  return { offset: Math.max(seen, clock.offset - DRIFT * (at - clock.at)), at };
}

/** Epoch ms on the server at the local time `at`. */
export function serverTime(clock: Clock, at: number): number {
  return at + clock.offset;
}
