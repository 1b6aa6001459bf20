"""Tokens as a browser carries them, and a page of another site that tries to watch in a viewer's name."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from services.transport.registry import write_entry
from tests.gateway_process import GatewayProcess, running
from tests.pipeline.gateway_world import desk, document, entry, panel
from tests.servers import ROOT, Valkey
from tests.tokens import SECRET, claims, token

PATIENCE_MS = 20_000

OPEN = """([url, protocols]) => new Promise((done) => {
  const socket = new WebSocket(url, protocols);
  socket.onmessage = ({data}) => { done([socket.protocol, JSON.parse(data).type]); socket.close(); };
  socket.onclose = ({code}) => done(["", code]);
})"""
FETCH = """(url) => fetch(url, {credentials: "include"}).then((answer) => answer.status, () => "nothing")"""
LISTEN = """(url) => new Promise((done) => {
  const source = new EventSource(url, {withCredentials: true});
  source.addEventListener("snapshot", () => { done("snapshot"); source.close(); });
  source.onerror = () => { done("nothing"); source.close(); };
})"""


@pytest.fixture(scope="module")
def gateway(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    async def fill() -> None:
        async with desk(valkey.url) as redis:
            await write_entry(redis, *(entry(document(name, panel("cpu", "cpu_busy"))) for name in ("host", "team-a")))

    filling = threading.Thread(target=lambda: asyncio.run(fill()))  # playwright has a loop in this one
    filling.start()
    filling.join()
    folder = tmp_path_factory.mktemp("access")
    (folder / "secret").write_bytes(SECRET)
    assert (ROOT / "frontend" / "dist" / "index.html").exists(), "the wall is not built; `make build` builds it"
    environ = {"TIDEBOARD_GATEWAY_AUTH": "jwt", "TIDEBOARD_GATEWAY_SECRET_FILE": str(folder / "secret")}
    with running(GatewayProcess(valkey.url, folder, **environ)) as found:
        yield found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    yield made
    made.close()


@contextmanager
def elsewhere() -> Iterator[str]:
    """A page of another origin. Cookies do not tell ports apart, so that the browser sends ours from there, too."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def sign_in(context: BrowserContext, gateway: GatewayProcess, *dashboards: str) -> None:
    context.add_cookies([
        {"name": "tideboard_token", "value": token(claims(*dashboards)), "url": f"http://127.0.0.1:{gateway.port}", "httpOnly": True}
    ])  # fmt: skip


def test_a_page_shows_its_token_as_a_subprotocol(context: BrowserContext, gateway: GatewayProcess) -> None:
    live = f"ws://127.0.0.1:{gateway.port}/api/v1/live"
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{gateway.port}/")
    good, ended = token(claims("*")), token(claims("*", ends_in_s=-60))
    for protocols, expected in [
        (["tideboard.v1.json", f"tideboard.token.{good}"], ["tideboard.v1.json", "token"]),
        (["tideboard.v1.json", f"tideboard.token.{ended}"], ["", 1006]),
        (["tideboard.v1.json"], ["", 1006]),
    ]:
        assert page.evaluate(OPEN, [live, protocols]) == expected


def test_a_cookie_lets_in_own_pages_and_no_others(context: BrowserContext, gateway: GatewayProcess) -> None:
    sign_in(context, gateway, "*")
    base, live = f"http://127.0.0.1:{gateway.port}", f"ws://127.0.0.1:{gateway.port}/api/v1/live"
    events = f"{base}/api/v1/dashboards/host/events"

    def tried(from_: str) -> list[Any]:
        page = context.new_page()
        page.goto(from_)
        return [
            page.evaluate(OPEN, [live, ["tideboard.v1.json"]]),
            page.evaluate(FETCH, f"{base}/api/v1/dashboards"),
            page.evaluate(LISTEN, events),
        ]

    assert tried(base) == [["tideboard.v1.json", "token"], 200, "snapshot"]
    with elsewhere() as page:
        assert tried(page) == [["", 1006], "nothing", "nothing"]


def test_the_wall_lists_what_its_viewer_may_see(context: BrowserContext, gateway: GatewayProcess) -> None:
    sign_in(context, gateway, "team-*")
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{gateway.port}/")
    page.wait_for_selector("text=Team-A", timeout=PATIENCE_MS)
    assert page.locator("text=Host").count() == 0
    page.goto(f"http://127.0.0.1:{gateway.port}/d/host")
    page.wait_for_selector("text=does not name this dashboard", timeout=PATIENCE_MS)


def test_a_page_that_is_open_ends_with_its_token(context: BrowserContext, gateway: GatewayProcess) -> None:
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{gateway.port}/")
    held = token(claims("*", ends_in_s=-8))  # within the leeway of ten seconds
    begun = time.time()
    code = page.evaluate(
        """([url, protocols]) => new Promise((done) => { new WebSocket(url, protocols).onclose = ({code}) => done(code); })""",
        [f"ws://127.0.0.1:{gateway.port}/api/v1/live", ["tideboard.v1.json", f"tideboard.token.{held}"]],
    )
    assert (code, time.time() - begun < 10) == (4004, True)


def test_a_person_brings_a_token_in_the_address_or_types_it_in(context: BrowserContext, gateway: GatewayProcess) -> None:
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{gateway.port}/#token={token(claims('*'))}")
    page.wait_for_selector("text=Host", timeout=PATIENCE_MS)
    assert page.url == f"http://127.0.0.1:{gateway.port}/"
    context.clear_cookies()
    page.goto(f"http://127.0.0.1:{gateway.port}/d/host")
    page.fill("input[name=token]", token(claims("*")), timeout=PATIENCE_MS)
    page.click("text=Open")
    page.wait_for_selector("[data-panel=cpu]", timeout=PATIENCE_MS)
    assert [cookie["sameSite"] for cookie in context.cookies()] == ["Strict"]
