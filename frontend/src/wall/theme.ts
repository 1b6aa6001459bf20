/** Dark or light: as the system says, until a person chooses; the choice is remembered on this screen. */

import { effect, signal } from "@preact/signals";

export type Theme = "dark" | "light";

const KEY = "tideboard.theme";
const system = matchMedia("(prefers-color-scheme: light)");

export const theme = signal<Theme>(chosen() ?? (system.matches ? "light" : "dark"));

export function toggleTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // A browser that keeps nothing still shows the theme.
  }
}

/** Keep the page's attribute true, and follow the system while nobody has chosen. */
export function followTheme(): void {
  effect(() => {
    document.documentElement.dataset["theme"] = theme.value;
  });
  system.addEventListener("change", () => {
    if (chosen() === null) theme.value = system.matches ? "light" : "dark";
  });
}

function chosen(): Theme | null {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "dark" || kept === "light" ? kept : null;
  } catch {
    return null;
  }
}
