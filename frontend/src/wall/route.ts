/** Which page is shown: the list at /, a dashboard at /d/NAME. Links inside are followed without a reload. */

import { signal } from "@preact/signals";

export type Route = { readonly page: "list" } | { readonly page: "dashboard"; readonly name: string } | { readonly page: "lost" };

export const route = signal<Route>(routeOf(location.pathname));

export function routeOf(path: string): Route {
  if (path === "/" || path === "/index.html") return { page: "list" };
  const found = /^\/d\/([^/]+)\/?$/.exec(path);
  return found?.[1] === undefined ? { page: "lost" } : { page: "dashboard", name: decode(found[1]) };
}

export function followLinks(): void {
  addEventListener("popstate", () => {
    route.value = routeOf(location.pathname);
  });
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const next = routeOf(link.pathname);
    if (link.origin !== location.origin || link.target !== "" || next.page === "lost") return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    route.value = next;
    scrollTo(0, 0);
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
