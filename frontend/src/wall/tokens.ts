/** The colours of the style sheet, for what is drawn on a canvas. */

export interface Tokens {
  readonly fg: string;
  readonly fg2: string;
  readonly panel: string;
  readonly grid: string;
  readonly info: string;
  readonly ok: string;
  readonly warn: string;
  readonly crit: string;
  readonly stale: string;
}

export function tokens(): Tokens {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    fg: read("fg"),
    fg2: read("fg2"),
    panel: read("panel"),
    grid: read("grid"),
    info: read("info"),
    ok: read("ok"),
    warn: read("warn"),
    crit: read("crit"),
    stale: read("stale"),
  };
}
