/** When painters are called: not more often than is worth it, and not any more when nobody paints. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Painter, paintWith, touch } from "../src/wall/frames";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("data that comes between two paints is painted at once and does not make paints more frequent for good", async () => {
  const painter = vi.fn<Painter>();
  const stop = paintWith(painter);
  await vi.advanceTimersByTimeAsync(1_000);
  const usual = painter.mock.calls.length;
  expect(usual).toBeGreaterThan(10);
  touch();
  await vi.advanceTimersByTimeAsync(20);
  expect(painter.mock.calls.length).toBeGreaterThan(usual);
  painter.mockClear();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(painter.mock.calls.length).toBeLessThanOrEqual(usual + 1);
  stop();
});

test("when the last painter has gone nothing is asked for any more", async () => {
  const stop = paintWith(vi.fn<Painter>());
  await vi.advanceTimersByTimeAsync(100);
  stop();
  await vi.advanceTimersByTimeAsync(20);
  expect(vi.getTimerCount()).toBe(0);
});
