"""Chromium and permessage-deflate: what it offers is taken, and what is on the wire between it and the gateway is compressed, both ways."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from playwright.sync_api import Browser

from tests.browser.system import System
from tests.browser.watching import PATIENCE_S, Watched

TEA = {
    "title": "Tea",
    "window": "10m",
    "panels": [
        {"id": "celsius", "type": "stat", "query": {"metric": "tea_celsius_now", "by": ["pot"], "fn": "last", "every": "1s"}}
    ],
}
POTS = 40


class Wire:
    """What has gone over all connections through it."""

    def __init__(self, to: int) -> None:
        self.from_server = b""
        self.from_client = b""
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [near, far]
                threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, from_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if from_server:
                    self.from_server += data
                else:
                    self.from_client += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def wire(to: int) -> Iterator[Wire]:
    made = Wire(to)
    try:
        yield made
    finally:
        made.close()


def test_chromium_and_the_gateway_compress_what_they_say(browser: Browser, system: System) -> None:
    system.publish("tea-now", TEA)
    now = int(time.time() * 1000)
    system.post(
        {"metric": "tea_celsius_now", "labels": {"pot": f"pot {n}"}, "time": now - 1_500, "value": 60 + n} for n in range(POTS)
    )
    with wire(system.gateway) as between:
        watched = Watched(browser.new_context())
        try:
            watched.page.goto(f"http://127.0.0.1:{between.port}/d/tea-now")
            watched.page.wait_for_selector("[data-value='60']", timeout=PATIENCE_S * 1000, state="attached")
            before = len(between.from_client)
            extensions = watched.page.evaluate(
                """() => new Promise((done, fail) => {
                  const socket = new WebSocket(`ws://${location.host}/api/v1/live`, "tideboard.v1.json");
                  socket.onerror = fail;
                  socket.onopen = () => socket.send(JSON.stringify({pad: "*".repeat(8000), type: "subscribe", dashboard: "chromium"}));
                  socket.onmessage = ({data}) => data.includes('"chromium"') && (done(socket.extensions), socket.close());
                })"""
            )
            assert extensions == "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            assert watched.problems() == []
        finally:
            watched.page.context.close()
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate" in between.from_server
    assert b'"type":"snapshot"' not in between.from_server, "the page has its values, and none went over the wire as it is"
    assert len(between.from_client) - before < 4_000, "8,000 characters were said"
