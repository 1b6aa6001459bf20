/** Hooks that hold something back: text that may change only every so often. */

import { useRef } from "preact/hooks";

/** The value, but no newer than `every` ms lets it be. at: local monotonic ms. */
export function useSlowly<T>(value: T, at: number, every: number): T {
  const held = useRef<{ value: T; at: number } | null>(null);
  if (held.current === null || at - held.current.at >= every) held.current = { value, at };
  return held.current.value;
}
