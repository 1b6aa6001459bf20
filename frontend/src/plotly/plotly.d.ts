/** The few calls of Plotly.js that the page makes; the package has no types of its own. */
declare module "plotly.js-basic-dist-min" {
  interface Plotly {
    react(element: HTMLElement, traces: unknown[], layout: unknown, config?: unknown): Promise<unknown>;
    extendTraces(element: HTMLElement, update: { x: unknown[][]; y: unknown[][] }, indices: number[], maxPoints: number): Promise<unknown>;
    relayout(element: HTMLElement, layout: unknown): Promise<unknown>;
    Plots: { resize(element: HTMLElement): Promise<unknown> };
  }
  const plotly: Plotly;
  export default plotly;
}
