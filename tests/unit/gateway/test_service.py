"""A gateway on a port of its own, without Redis: what its settings make of connections, and what it says of those that are too many."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from services.gateway import metrics
from services.gateway.hub import Hub
from services.gateway.service import Gateway
from services.gateway.settings import GatewaySettings, LimitSettings
from services.gateway.wall import Wall
from tests.unit.gateway.test_stage import NOWHERE

PATIENCE_S = 10.0
KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A connection on which requests may follow each other."""

    def __init__(self, gateway: Gateway) -> None:
        self._port = gateway.port

    async def __aenter__(self) -> "Line":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def get(self, path: str = "/api/v1/nothing", **headers: str) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        status, said, _ = await self.ask(f"GET {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n".encode())
        return status, said

    async def ask(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self._writer.write(sent)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        status, *lines = head.decode().rstrip().split("\r\n")
        said = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(status.split()[1]), said, await self._reader.readexactly(int(said.get("content-length", 0)))

    async def ended(self) -> bool:
        """Whether the gateway has closed it, without another word."""
        with contextlib.suppress(ConnectionResetError):
            return await asyncio.wait_for(self._reader.read(), PATIENCE_S) == b""
        return True


@contextlib.asynccontextmanager
async def serving(clock: Clock | None = None, **limits: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(GatewaySettings(port=0), NOWHERE, limits=LimitSettings(**limits), clock=clock or Clock())
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


async def test_a_connection_without_a_request_is_kept_for_so_long() -> None:
    async with serving(keep_alive_s=0.2, request_s=60) as gateway, Line(gateway) as line:
        for _ in range(3):
            assert (await line.get())[0] == 404
        assert await line.ended()


async def test_a_connection_whose_request_does_not_come_in_is_cut() -> None:
    async with serving(request_s=0.2, keep_alive_s=60) as gateway, Line(gateway) as line:
        assert await line.ended()


async def test_a_connection_takes_so_many_requests() -> None:
    async with serving(requests=3) as gateway, Line(gateway) as line:
        said = [(await line.get())[1].get("connection") for _ in range(3)]
        assert said == [None, None, "close"]
        assert await line.ended()


async def test_connections_that_are_too_many_are_counted_and_told_once_in_a_while() -> None:
    clock = Clock()
    refused = metrics.REFUSED.labels("503")
    async with serving(clock, connections=1) as gateway, Line(gateway) as held:
        assert (await held.get())[0] == 404
        before = refused._value.get()
        with structlog.testing.capture_logs() as told:
            for at in range(5):
                clock.now = 100.0 + at
                await turned_away(gateway)
            assert [item["event"] for item in told] == ["too many connections"]
            clock.now = 105.0
            await turned_away(gateway)
        assert told[1:] == [{"event": "too many connections", "log_level": "warning", "repeated": 4}]
        assert refused._value.get() == before + 6


async def turned_away(gateway: Gateway) -> None:
    async with Line(gateway) as line:
        status, headers, _ = await line.answer()
        assert (status, headers["retry-after"]) == (503, "5")
        assert await line.ended()


def handshake(first: str = "GET /api/v1/live HTTP/1.1", **fields: str) -> bytes:
    """A good one, but for what is said. A field without a value is left out."""
    said = {
        "host": "x",
        "upgrade": "websocket",
        "connection": "upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
    }
    said |= {name.replace("_", "-"): value for name, value in fields.items()}
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in said.items() if value), "", ""]).encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (handshake(sec_websocket_key=""), 400),
        (handshake(sec_websocket_extensions="permessage-deflate;;"), 400),
        (handshake("GET /api/v1/live HTTP/1.0"), 400),
        (handshake(origin="https://evil.example"), 403),
        (handshake("GET /api/v1/nothing HTTP/1.1"), 404),
        (handshake("POST /api/v1/live HTTP/1.1"), 405),
        (handshake(sec_websocket_version="12"), 426),
        (b"rubbish\r\n\r\n", 400),
    ],
)
async def test_a_handshake_that_is_refused_is_answered_with_a_sentence(sent: bytes, status: int) -> None:
    async with serving() as gateway, Line(gateway) as line:
        found, headers, body = await line.ask(sent)
        assert (found, headers["content-type"]) == (status, "text/plain; charset=utf-8")
        assert body and b"{" not in body
        assert await line.ended()


@pytest.mark.parametrize("path", ["/api/v1/dashboards/host/snapshot", "/"])
async def test_a_fault_of_the_gateway_is_answered_as_one(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("nobody expected that")

    monkeypatch.setattr(Hub, "snapshot", fails)
    monkeypatch.setattr(Wall, "page", fails)
    async with serving() as gateway, Line(gateway) as line:
        status, headers, body = await line.ask(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert (status, headers["content-type"], json.loads(body)["error"]["code"]) == (500, "application/json", "internal")
    assert b"expected" not in body


async def test_one_address_that_a_proxy_names_comes_at_a_rate() -> None:
    limits: dict[str, Any] = {"accepts_per_address_s": 0.01, "trusted_proxies": ("127.0.0.0/8",), "forwarded": "forwarded"}
    async with serving(**limits) as gateway, Line(gateway) as line:
        for ours in ("for=203.0.113.1", 'for="[2001:db8::1]:4711"', "for=9.9.9.9, for=203.0.113.2"):
            assert (await line.get(forwarded=ours))[0] == 404
            status, headers = await line.get(forwarded=f"for=1.2.3.4, {ours}", x_forwarded_for="203.0.113.77")
            assert (ours, status, 50 < int(headers["retry-after"]) <= 101) == (ours, 503, True)
        assert await opens(gateway, forwarded="for=203.0.113.3") == 101
        assert await opens(gateway, forwarded="for=203.0.113.3") == 503
        assert await opens(gateway, forwarded="for=203.0.113.1;proto=https") == 503, "one rate for both"


async def opens(gateway: Gateway, **headers: str) -> int:
    """The status of a handshake."""
    key = {"upgrade": "websocket", "connection": "upgrade", "sec_websocket_key": KEY}
    async with Line(gateway) as line:
        status, _ = await line.get("/api/v1/live", sec_websocket_version="13", **key, **headers)
        return status
