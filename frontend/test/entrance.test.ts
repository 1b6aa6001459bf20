import { expect, test } from "vitest";
import { cookieOf, takeToken, tokenOf } from "../src/wall/entrance";

test.each([
  ["#token=eyJhbGciOiJIUzI1NiJ9.e30.a-b_c", "eyJhbGciOiJIUzI1NiJ9.e30.a-b_c"],
  ["#token=", null],
  ["#token=a; Domain=example", null],
  ["#other=a", null],
  ["", null],
])("the address %s brings the token %s", (hash, token) => {
  expect(tokenOf(hash)).toBe(token);
});

test("the cookie is for this site only, and over TLS where the page is", () => {
  expect(cookieOf("a.b.c", "http:")).toBe("tideboard_token=a.b.c; Path=/; SameSite=Strict");
  expect(cookieOf("a.b.c", "https:")).toContain("; Secure");
});

test("a token that the address brings is kept, and gone from the address", () => {
  history.replaceState(null, "", "/d/host?a=1#token=a.b.c");
  takeToken();
  expect(document.cookie).toContain("tideboard_token=a.b.c");
  expect(location.href.endsWith("/d/host?a=1")).toBe(true);
});
