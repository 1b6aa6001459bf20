/**
 * The seam between a timeseries panel and whatever draws it. A renderer gets columns and times and knows nothing of
 * views or Preact, so that one in a worker can take the place of uPlot.
 */

import type { Gap, Threshold } from "../live";
import type { Theme } from "./theme";

export interface LineStyle {
  readonly key: string;
  readonly name: string;
  readonly color: string;
  readonly dash: readonly number[];
  readonly shown: boolean;
}

/** What is drawn, apart from the data. A change of it may cost a rebuild. */
export interface Look {
  readonly theme: Theme;
  readonly unit: string;
  readonly lines: readonly LineStyle[];
  readonly thresholds: readonly Threshold[];
}

/** Times in ascending order, and per line a value for each: undefined is bridged, null is a hole. */
export interface Data {
  readonly times: readonly number[];
  readonly values: readonly (readonly (number | null | undefined)[])[];
  /** Per line the indices of points without a neighbour that they could be joined with. */
  readonly lonely: readonly (readonly number[])[];
  readonly gaps: readonly Gap[];
}

export interface Extent {
  /** Epoch ms. */
  readonly from: number;
  readonly to: number;
  readonly min: number;
  readonly max: number;
}

/** What the pointer is over: the index of a time in the data, and where, in px of the panel's body. */
export interface Hover {
  readonly index: number;
  readonly left: number;
  readonly top: number;
}

export interface Renderer {
  setLook(look: Look): void;
  /** Draw. Data that is the same object as before has not changed. */
  draw(data: Data, extent: Extent): void;
  resize(width: number, height: number): void;
  /** Width of the plot itself in device pixels: time moves by whole ones. */
  plotWidth(): number;
  destroy(): void;
}

/** Makes a renderer inside an element; hovered is called when the pointer moves or leaves (null). */
export type RendererFactory = (host: HTMLElement, syncKey: string, hovered: (hover: Hover | null) => void) => Renderer;
