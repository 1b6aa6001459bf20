/**
 * One paint per animation frame for everything that moves. Painters are called with the time of the frame; whoever
 * shows text reads `beat`, which changes when data came, and four times a second for what merely grows older.
 */

import { signal } from "@preact/signals";
import { client } from "./session";

export interface Beat {
  /** Local monotonic ms. */
  readonly at: number;
  /** The server's clock, epoch ms; null until it was heard. */
  readonly now: number | null;
}

export type Painter = (beat: Beat) => void;

const SLOW_MS = 250;
/** 25 paints a second are more than any panel asks for. */
const PAINT_MS = 40;

export const beat = signal<Beat>({ at: performance.now(), now: null });

const painters = new Set<Painter>();
let dirty = true;
let beaten = -Infinity;
let asked = false;
let next: ReturnType<typeof setTimeout> | undefined;

/** Paint with every frame until the returned function is called. */
export function paintWith(painter: Painter): () => void {
  painters.add(painter);
  ask();
  return () => {
    painters.delete(painter);
    if (painters.size === 0) clearTimeout(next);
  };
}

/** Data came: the next frame shows it. */
export function touch(): void {
  dirty = true;
  ask();
}

/** How often a plot is worth drawing, ms: not more often than its time moves by a pixel or its newest bucket by a quarter. */
export function paintEvery(every: number, msPerPixel: number): number {
  return Math.min(250, Math.max(50, Math.min(every / 4, msPerPixel)));
}

/** Begin to beat. In a hidden tab the browser calls no frames, so that nothing is drawn there. */
export function startFrames(): void {
  ask();
  setInterval(touchWhenSlow, SLOW_MS);
}

function touchWhenSlow(): void {
  if (!document.hidden) ask();
}

function ask(): void {
  if (asked) return;
  asked = true;
  requestAnimationFrame(frame);
}

function frame(): void {
  asked = false;
  const at = performance.now();
  const current = { at, now: client.serverNow() };
  if (dirty || at - beaten >= SLOW_MS) {
    dirty = false;
    beaten = at;
    beat.value = current;
  }
  for (const painter of painters) painter(current);
  clearTimeout(next); // a frame that data asked for comes in between
  if (painters.size > 0) next = setTimeout(ask, PAINT_MS);
}
