"""Clients that go, or say nonsense, while they are being answered."""

import asyncio
import logging

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from services.runtime.bounds import Bounds
from services.runtime.http import HttpServer

HOST = "127.0.0.1"
PATIENCE_S = 10.0
BOUNDS = [None, Bounds(request_s=600, keep_alive_s=600, requests=0)]


async def answered(server: HttpServer, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, server.port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.05)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("bounds", BOUNDS, ids=["without bounds", "with bounds"])
def test_an_answer_to_who_asked_for_more_and_is_cut_is_thrown_away(
    bounds: Bounds | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def conversation() -> bytes:
        cut = asyncio.Event()

        async def answer(_: Request) -> Response:
            await cut.wait()
            return PlainTextResponse("late")

        server = HttpServer(Starlette(routes=[Route("/", answer)]), HOST, 0, bounds=bounds)
        await server.start()
        get = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        found = await answered(server, get + get + b"\0nonsense\r\n\r\n")
        cut.set()
        await asyncio.sleep(0.05)
        await server.stop()
        return found

    with caplog.at_level(logging.ERROR), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert b" 400 " in runner.run(asyncio.wait_for(conversation(), PATIENCE_S))
    assert caplog.messages == []


@pytest.mark.parametrize("bounds", BOUNDS, ids=["without bounds", "with bounds"])
async def test_nonsense_does_not_get_into_the_answer_that_is_on_its_way(bounds: Bounds | None) -> None:
    over = asyncio.Event()

    async def slowly(_: Request) -> Response:
        async def parts() -> object:
            yield b"one"
            await over.wait()

        return StreamingResponse(parts())  # type: ignore[arg-type]

    server = HttpServer(Starlette(routes=[Route("/", slowly)]), HOST, 0, bounds=bounds)
    await server.start()
    found = await answered(server, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\0nonsense\r\n\r\n")
    over.set()
    await server.stop()
    assert found.endswith(b"3\r\none\r\n"), "a broken end, as is right: the answer is not whole"
