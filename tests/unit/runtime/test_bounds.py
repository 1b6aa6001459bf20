"""What keeps connections from staying without asking for anything."""

import asyncio
import contextlib
import gc
import resource
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.runtime.bounds import MAX_HEAD_BYTES, MAX_STALL_S, Arrivals, BoundedProtocol, Bounds
from services.runtime.http import HttpServer

HOST = "127.0.0.1"
PATIENCE_S = 10.0
MUCH = 32_000_000  # bytes: more than kernels take
ROOMY = Bounds(request_s=600, keep_alive_s=600, requests=0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def serving(bounds: Bounds, ws: type[asyncio.Protocol] | None = None) -> AsyncIterator[HttpServer]:
    async def hello(_: Request) -> Response:
        return PlainTextResponse("hello")

    async def much(_: Request) -> Response:
        return PlainTextResponse("x" * MUCH)

    routes = [Route("/", hello, methods=["GET", "POST"]), Route("/much", much)]
    server = HttpServer(Starlette(routes=routes), HOST, 0, bounds=bounds, ws=ws)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def said(server: HttpServer, *parts: bytes) -> bytes:
    """All that the server says until it closes the connection."""
    reader, writer = await asyncio.open_connection(HOST, server.port)
    for part in parts:
        writer.write(part)
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := await asyncio.wait_for(reader.read(65_536), PATIENCE_S):
            found += part
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return found


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_one_connection_too_many_is_told_so_and_there_is_room_again_when_one_goes() -> None:
    async with serving(Bounds(request_s=600, keep_alive_s=600, requests=0, connections=2)) as server:
        held = [await asyncio.open_connection(HOST, server.port) for _ in range(2)]
        for reader, writer in held:  # they are accepted when they are answered
            writer.write(GET)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        for _ in range(2):
            answer = await said(server)
            assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: " in answer
        held[0][1].close()
        while (answer := await said(server, GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))).startswith(
            b"HTTP/1.1 503 "
        ):
            pass  # until the server has seen that it went
        assert answer.endswith(b"hello")
        held[1][1].close()


@pytest.mark.parametrize(
    ("connections", "files", "most"),
    [
        (0, 1_024, 960),
        (500, 1_024, 500),
        (5_000, 1_024, 960),
        (0, 10, 1),
        (0, resource.RLIM_INFINITY, 0),
        (7, resource.RLIM_INFINITY, 7),
    ],
)
def test_there_are_never_more_connections_than_files(
    monkeypatch: pytest.MonkeyPatch, connections: int, files: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert Bounds(1, 1, 0, connections).most_connections == most


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"GET / HTTP/1.1\r\nhost:",),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf",),
        (GET, b"GET / HTTP/1.1\r\n"),
    ],
    ids=["nothing", "half a head", "half a body", "half a second request"],
)
async def test_a_connection_whose_request_does_not_come_in_is_cut(parts: tuple[bytes, ...]) -> None:
    async with serving(Bounds(request_s=0.05, keep_alive_s=600, requests=0)) as server:
        await said(server, *parts)


async def test_a_byte_that_begins_no_request_does_not_keep_an_idle_connection() -> None:
    async with serving(Bounds(request_s=0.05, keep_alive_s=600, requests=0)) as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(GET)
        await reader.readuntil(b"hello")
        writer.write(b"\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.close()


async def test_a_connection_that_is_idle_between_requests_is_closed() -> None:
    async with serving(Bounds(request_s=600, keep_alive_s=0.05, requests=0)) as server:
        assert (await said(server, GET)).startswith(b"HTTP/1.1 200 ")


async def test_the_last_request_of_a_connection_closes_it() -> None:
    async with serving(Bounds(request_s=600, keep_alive_s=600, requests=3)) as server:
        answers = await said(server, GET * 5)
        assert answers.count(b"HTTP/1.1 200 ") == 3
        assert answers.count(b"connection: close") == 1


async def test_the_next_request_is_the_last_where_the_server_winds_down() -> None:
    async with serving(ROOMY) as server:
        server.wind_down()
        for request in (GET, GET * 5):
            answers = await said(server, request)
            assert (answers.count(b"HTTP/1.1 200 "), answers.count(b"connection: close")) == (1, 1)


async def test_a_head_that_does_not_end_is_refused() -> None:
    async with serving(ROOMY) as server:
        lines = b"x: %s\r\n" % (b"y" * MAX_HEAD_BYTES)
        assert (await said(server, b"GET / HTTP/1.1\r\n", *[lines] * 40)).startswith(b"HTTP/1.1 431 ")


async def test_a_long_body_is_no_head() -> None:
    async with serving(ROOMY) as server:
        body = b"x" * (4 * MAX_HEAD_BYTES)
        head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        assert (await said(server, head, body)).startswith(b"HTTP/1.1 200 ")


class Upgraded(asyncio.Protocol):
    """A WebSocket as far as uvicorn knows: it answers what it gets, and that is all."""

    def __init__(self, config: object, server_state: object, app_state: object) -> None:
        pass

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"upgraded")


async def test_nothing_is_left_of_http_after_an_upgrade() -> None:
    async with serving(ROOMY, Upgraded) as server:
        gc.collect()
        gc.disable()
        try:
            reader, writer = await asyncio.open_connection(HOST, server.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            assert await asyncio.wait_for(reader.read(8), PATIENCE_S) == b"upgraded"
            await asyncio.sleep(0)
            assert not [found for found in gc.get_objects() if isinstance(found, BoundedProtocol)]
        finally:
            gc.enable()
            writer.close()


class Connection:
    def __init__(self) -> None:
        self.transport = self
        self.aborted = False
        self.waiting = 0

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.aborted = True


def test_only_who_is_late_is_cut() -> None:
    clock = Clock()
    arrivals = Arrivals(Bounds(10, 5, 0), clock)
    early, done, late = Connection(), Connection(), Connection()
    for connection in (early, done, late):
        arrivals.begin(connection)  # type: ignore[arg-type]
        clock.now += 4
    arrivals.begin(early)  # type: ignore[arg-type]  # another byte of the same request does not give it more time
    arrivals.end(done)  # type: ignore[arg-type]
    assert arrivals.sweep() == 1
    assert (early.aborted, done.aborted, late.aborted) == (True, False, False)
    clock.now += 10
    assert (arrivals.sweep(), len(arrivals)) == (1, 0)


def test_who_takes_nothing_of_its_answer_is_cut_and_who_takes_a_little_is_not() -> None:
    clock = Clock()
    arrivals = Arrivals(Bounds(10, 5, 0), clock)
    stuck, slow, done = Connection(), Connection(), Connection()
    for connection in (stuck, slow, done):
        connection.waiting = 1_000
        arrivals.stall(connection)  # type: ignore[arg-type]
    arrivals.go_on(done)  # type: ignore[arg-type]
    for _ in range(4):
        clock.now += MAX_STALL_S / 3
        slow.waiting -= 1
        arrivals.sweep()
    assert (stuck.aborted, slow.aborted, done.aborted) == (True, False, False)
    clock.now += 2 * MAX_STALL_S
    assert arrivals.sweep() == 1
    assert slow.aborted


async def test_a_connection_whose_answer_is_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.bounds.MAX_STALL_S", 0.05, raising=False)
    async with serving(ROOMY) as server:
        _, writer = await asyncio.open_connection(HOST, server.port, limit=1)
        writer.write(b"GET /much HTTP/1.1\r\nhost: x\r\n\r\n")
        connections = server._server.server_state.connections
        seen = False
        for _ in range(round(PATIENCE_S / 0.01)):
            await asyncio.sleep(0.01)
            seen = seen or bool(connections)
            if seen and not connections:
                break
        assert seen and not connections
        writer.close()
