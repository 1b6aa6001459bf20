/** A row per group, a column per label and per line of the panel. What no source reports any more leaves the table. */

import { useState } from "preact/hooks";
import { useSlowly } from "../memory";
import { isOverflow, OTHERS, OVERFLOW } from "../series";
import type { BodyProps, Shown } from "./body";
import { Value } from "./value";

const REORDER_MS = 1000;
const MOST = 200;

interface Row {
  readonly key: string;
  readonly labels: Readonly<Record<string, string>>;
  /** By index of the line. */
  readonly cells: readonly (Shown | undefined)[];
}

/** column: a label's name, or the index of a line. */
interface Order {
  readonly column: string | number;
  readonly up: boolean;
}

export function Table({ panel, shown, beat }: BodyProps) {
  const [order, setOrder] = useState<Order>({ column: 0, up: false });
  const rows = rowsOf(shown, panel.lines.length);
  const labels = [...new Set(rows.flatMap((row) => Object.keys(row.labels)))].filter((label) => label !== OVERFLOW);
  const sorted = useSlowly({ keys: sort(rows, order).map((row) => row.key), order }, beat.at, REORDER_MS);
  const keys = sorted.order === order ? sorted.keys : sort(rows, order).map((row) => row.key);
  const place = new Map(keys.map((key, i) => [key, i]));
  const heads: readonly { readonly column: string | number; readonly name: string }[] = [
    ...labels.map((label) => ({ column: label, name: label })),
    ...panel.lines.map((_, i) => ({ column: i, name: headOf(panel, i) })),
  ];
  return (
    <div class="table">
      <table>
        <thead>
          <tr>
            {heads.map(({ column, name }) => (
              <th key={column} scope="col" class={typeof column === "number" ? "number" : ""} aria-sort={sortOf(order, column)}>
                <button type="button" onClick={() => setOrder({ column, up: order.column === column ? !order.up : typeof column === "string" })}>
                  {name}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows
            .toSorted((a, b) => (place.get(a.key) ?? rows.length) - (place.get(b.key) ?? rows.length))
            .slice(0, MOST)
            .map((row) => (
              <tr key={row.key}>
                {labels.map((label, i) => (
                  <td key={label}>{i === 0 && isOverflow(row.labels) && row.labels[label] === undefined ? OTHERS : row.labels[label]}</td>
                ))}
                {panel.lines.map((line, i) => {
                  const cell = row.cells[i];
                  return (
                    <td key={`${line.query} ${line.fn}`} class="number">
                      {cell === undefined ? "–" : <Value panel={panel} shown={cell} />}
                    </td>
                  );
                })}
              </tr>
            ))}
        </tbody>
      </table>
      {rows.length > MOST && <p class="omitted">and {rows.length - MOST} more rows</p>}
    </div>
  );
}

function rowsOf(shown: readonly Shown[], lines: number): Row[] {
  const fresh = shown.filter((each) => each.current?.fresh === true);
  const rows = new Map<string, { key: string; labels: Readonly<Record<string, string>>; cells: (Shown | undefined)[] }>();
  for (const each of fresh.length > 0 ? fresh : shown) {
    const { labels } = each.series.column;
    const key = JSON.stringify(Object.entries(labels).toSorted());
    const row = rows.get(key) ?? { key, labels, cells: Array.from<Shown | undefined>({ length: lines }) };
    row.cells[Number.parseInt(each.series.key, 10)] = each;
    rows.set(key, row);
  }
  return [...rows.values()];
}

function sort(rows: readonly Row[], { column, up }: Order): Row[] {
  const sign = up ? 1 : -1;
  return rows.toSorted((a, b) => {
    if (typeof column === "string") return sign * (a.labels[column] ?? "").localeCompare(b.labels[column] ?? "", "en", { numeric: true });
    return sign * ((a.cells[column]?.current?.value ?? -Infinity) - (b.cells[column]?.current?.value ?? -Infinity) || 0);
  });
}

function headOf(panel: BodyProps["panel"], index: number): string {
  const line = panel.lines[index];
  if (line === undefined) return "";
  const several = new Set(panel.lines.map((other) => other.query)).size > 1;
  if (line.query === "expr") return "value";
  return [several ? line.query : "", line.fn].filter((part) => part !== "").join(" ");
}

function sortOf(order: Order, column: string | number): "ascending" | "descending" | "none" {
  if (order.column !== column) return "none";
  return order.up ? "ascending" : "descending";
}
