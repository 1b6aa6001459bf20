/** Whether a person asked for less motion. */

const query = matchMedia("(prefers-reduced-motion: reduce)");

export function reducedMotion(): boolean {
  return query.matches;
}
