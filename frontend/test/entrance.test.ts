import { expect, test, vi } from "vitest";
import { cookieOf, followTokens, takeToken, tokenOf } from "../src/wall/entrance";

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

test.each(["#token=eyJ.e30.abc%20", "#token=eyJ.e30.abc,", "#token="])("what is no token is gone from the address too: %s", (hash) => {
  document.cookie = "tideboard_token=before";
  history.replaceState(null, "", `/d/host${hash}`);
  expect(takeToken()).toBe(false);
  expect(location.href.endsWith("/d/host")).toBe(true);
  expect(document.cookie).toContain("tideboard_token=before");
});

test("a path that looks like another host does not keep the token in the address", () => {
  history.replaceState(null, "", `${location.origin}//d/host#token=a.b.c`);
  takeToken();
  expect(location.href).toBe(`${location.origin}//d/host`);
});

test("a token that is entered into the address of an open page is taken too, and the page opened with it", () => {
  const enter = vi.fn<() => void>();
  followTokens(enter);
  history.replaceState(null, "", "/d/host#token=d.e.f");
  dispatchEvent(new Event("hashchange"));
  expect(document.cookie).toContain("tideboard_token=d.e.f");
  expect(location.href.endsWith("/d/host")).toBe(true);
  history.replaceState(null, "", "/d/host#panel");
  dispatchEvent(new Event("hashchange"));
  expect(enter).toHaveBeenCalledTimes(1);
});
