/** Whether an element is on the screen: what is not is neither drawn nor written. */

import { useEffect, useState } from "preact/hooks";
import type { RefObject } from "preact";

export function useVisible(ref: RefObject<Element | null>): boolean {
  const [visible, setVisible] = useState(true);
  useEffect(() => {
    const element = ref.current;
    if (element === null || typeof IntersectionObserver === "undefined") return undefined;
    const observer = new IntersectionObserver((entries) => setVisible(entries.at(-1)?.isIntersecting ?? true), { rootMargin: "80px" });
    observer.observe(element);
    return () => observer.disconnect();
  }, [ref]);
  return visible;
}
