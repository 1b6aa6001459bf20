/** The live client, without a framework: what a page that shows Tideboard's data needs. */

export type { Clock } from "./clock";
export type { Column, Columns } from "./columns";
export type { Connection } from "./connection";
export type { Feed, Resumed } from "./feed";
export type { Fault, Labels, LineInfo, Notes, PanelInfo, PanelType, Part, Status, Threshold } from "./protocol";
export type { DashboardState, Gap, View } from "./store";
export { BRIDGED, lastShown } from "./store";
export { LiveClient, liveUrl } from "./socket";
export type { TokenSource } from "./token";
