import { render } from "preact";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { List } from "../src/wall/pages/list";

let root: HTMLElement;

beforeEach(() => {
  root = document.createElement("div");
  document.body.replaceChildren(root);
});

afterEach(() => {
  render(null, root);
  vi.unstubAllGlobals();
});

test.each([
  [JSON.stringify({ error: { code: "unauthorized", reason: "a token is needed here" } }), "The server answered 401: a token is needed here"],
  ["no JSON", "The server answered 401"],
])("the list says why the server does not answer it", async (body, said) => {
  vi.stubGlobal("fetch", vi.fn<typeof fetch>(() => Promise.resolve(new Response(body, { status: 401 }))));
  render(<List />, root);
  await vi.waitFor(() => expect(root.textContent).toContain(said));
});

test("who has no token is asked for one, and for nothing else", async () => {
  const body = JSON.stringify({ error: { code: "unauthorized", reason: "a token is needed here" } });
  vi.stubGlobal("fetch", vi.fn<typeof fetch>(() => Promise.resolve(new Response(body, { status: 401 }))));
  render(<List />, root);
  await vi.waitFor(() => expect(root.querySelector("form.entrance input[type=password]")).not.toBeNull());
  expect(root.querySelector<HTMLButtonElement>("form.entrance button")?.disabled).toBe(true);
});

test("a server that fails is not a door", async () => {
  vi.stubGlobal("fetch", vi.fn<typeof fetch>(() => Promise.resolve(new Response("", { status: 503 }))));
  render(<List />, root);
  await vi.waitFor(() => expect(root.textContent).toContain("The server answered 503"));
  expect(root.querySelector("form")).toBeNull();
});
