import { describe, expect, test } from "vitest";
import { axisLabels, formatAge, formatSpan, formatText } from "../src/wall/units";

/** With plain spaces, as a test is read by people. */
const plain = (text: string) => text.replaceAll("\u202f", " ");

test.each<readonly [number, string, string]>([
  [0, "", "0"],
  [12, "none", "12"],
  [1234.5678, "none", "1235"],
  [12_345.6, "none", "12 346"],
  [0.01234, "none", "0.0123"],
  [-7.77123, "none", "−7.77"],
  [-0.0001, "percent", "0.0 %"],
  [999, "short", "999"],
  [1000, "short", "1 k"],
  [1234, "short", "1.23 k"],
  [2.5e6, "short", "2.50 M"],
  [3.21e12, "short", "3.21 T"],
  [0.3754, "percentunit", "37.5 %"],
  [1, "percentunit", "100.0 %"],
  [99.95, "percent", "100.0 %"],
  [512, "bytes", "512 B"],
  [1536, "bytes", "1.50 KiB"],
  [6.2e9, "bytes", "5.77 GiB"],
  [1023.9 * 1024, "bytes", "1.00 MiB"],
  [9.996, "none", "10.0"],
  [1500, "decbytes", "1.50 kB"],
  [2_880_000, "Bps", "2.88 MB/s"],
  [999_960, "Bps", "1.00 MB/s"],
  [1_250_000_000, "bps", "1.25 Gbit/s"],
  [42, "ops", "42 op/s"],
  [1390, "reqps", "1.39 kreq/s"],
  [3.6e9, "hertz", "3.60 GHz"],
  [61.25, "celsius", "61.3 °C"],
  [0, "s", "0 s"],
  [0.0043, "s", "4.30 ms"],
  [0.000_000_25, "s", "250 ns"],
  [90, "s", "1.50 min"],
  [7200, "s", "2 h"],
  [250, "ms", "250 ms"],
  [1500, "ms", "1.50 s"],
  [12.5, "us", "12.5 µs"],
  [800, "ns", "800 ns"],
  [7, "widgets", "7 widgets"],
  [NaN, "Bps", "–"],
  [Infinity, "s", "–"],
])("%d in %s is %s", (value, unit, text) => {
  expect(plain(formatText(value, unit))).toBe(text);
});

test.each([
  [0.12345, "percentunit", 3, "12.345 %"],
  [1536, "bytes", 0, "2 KiB"],
  [5, "none", 2, "5.00"],
] as const)("the author's decimals are kept: %d in %s with %i", (value, unit, decimals, text) => {
  expect(plain(formatText(value, unit, decimals))).toBe(text);
});

test("what grows never gets shorter by rounding: a value just under a step is written in the next", () => {
  for (const power of [3, 6, 9]) expect(plain(formatText(10 ** power * 0.9999999, "short"))).not.toMatch(/1000/);
});

test.each<readonly [readonly number[], string, readonly string[]]>([
  [[0, 0.25, 0.5], "none", ["0.00", "0.25", "0.50"]],
  [[0, 0.2, 0.4], "percentunit", ["0 %", "20 %", "40 %"]],
  [[0, 500, 1000, 1500], "Bps", ["0.0 kB/s", "0.5 kB/s", "1.0 kB/s", "1.5 kB/s"]],
  [[0, 2e6, 4e6], "Bps", ["0 MB/s", "2 MB/s", "4 MB/s"]],
  [[0, 0.02, 0.04], "s", ["0 ms", "20 ms", "40 ms"]],
  [[0.8], "percentunit", ["80 %"]],
  [[], "none", []],
])("an axis of %j in %s reads %j", (ticks, unit, labels) => {
  expect(axisLabels(ticks, unit).map(plain)).toEqual(labels);
});

describe("ages", () => {
  test.each([
    [85.4, "85 ms"],
    [999, "999 ms"],
    [1450, "1.4 s"],
    [14_900, "14 s"],
    [119_000, "119 s"],
    [180_000, "3 min"],
    [7_200_000, "2 h"],
  ])("%d ms is %s", (ms, text) => expect(formatAge(ms)).toBe(text));
  test("spans are whole", () => expect([formatSpan(3999), formatSpan(300_000), formatSpan(3 * 86_400_000)]).toEqual(["3 s", "5 min", "3 d"]));
});
