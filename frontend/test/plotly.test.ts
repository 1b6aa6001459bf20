import { describe, expect, test } from "vitest";
import { merge, retryIn } from "../src/plotly/page";

const extend = (...traces: { x: unknown[][]; y: unknown[][] }[]) => ({ action: "extend", traces, max_points: 200 }) as const;

describe("queued messages become one call", () => {
  test("points of a trace are appended in order", () => {
    expect(merge([extend({ x: [[1]], y: [[10]] }), extend({ x: [[2, 3]], y: [[20, 30]] })])).toEqual({
      update: { x: [[1, 2, 3]], y: [[10, 20, 30]] },
      indices: [0],
      maxPoints: 200,
    });
  });
  test("each trace keeps its own, whether one object holds them or one object each", () => {
    const expected = { update: { x: [[1], [2]], y: [[10], [20]] }, indices: [0, 1], maxPoints: 200 };
    expect(merge([extend({ x: [[1]], y: [[10]] }, { x: [[2]], y: [[20]] })])).toEqual(expected);
    expect(merge([extend({ x: [[1], [2]], y: [[10], [20]] })])).toEqual(expected);
  });
  test("nothing queued is no call", () => expect(merge([])).toBeNull());
});

test.each([
  ['{"retry_in_ms": 480}', 480],
  ['{"retry_in_ms":480}', 480],
  ["too much was waiting", null],
  ["", null],
])("a close with the reason %s asks for a wait of %s", (reason, wait) => {
  expect(retryIn(reason)).toBe(wait);
});
