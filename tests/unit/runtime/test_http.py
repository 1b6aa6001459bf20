"""The HTTP server inside our loop."""

import asyncio
from email.utils import parsedate_to_datetime

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.local.asking import ask
from services.runtime.http import HttpServer
from services.runtime.service import StartupError

HOST = "127.0.0.1"


def application(gate: asyncio.Event, asked: asyncio.Event | None = None) -> Starlette:
    async def slow(_: Request) -> Response:
        if asked:
            asked.set()
        await gate.wait()
        return PlainTextResponse("late")

    async def state(request: Request) -> Response:
        return PlainTextResponse(str(request.state.what))

    return Starlette(routes=[Route("/slow", slow), Route("/state", state)])


async def test_it_serves_with_the_state_that_it_was_given() -> None:
    server = HttpServer(application(asyncio.Event()), HOST, 0, state={"what": "this"})
    await server.start()
    try:
        answer = await ask(HOST, server.port, "/state")
        assert (answer.status, answer.body) == (200, "this")
    finally:
        await server.stop()


async def test_a_port_that_is_taken_is_told_in_a_sentence_with_the_setting() -> None:
    first = HttpServer(application(asyncio.Event()), HOST, 0)
    await first.start()
    try:
        second = HttpServer(application(asyncio.Event()), HOST, first.port, setting="TIDEBOARD_X_PORT")
        with pytest.raises(StartupError) as caught:
            await second.start()
        await second.stop()
        assert str(caught.value) == f"port {first.port} on {HOST} is taken by another process; TIDEBOARD_X_PORT chooses another"
    finally:
        await first.stop()


async def test_an_address_that_is_not_ours_is_told_in_a_sentence() -> None:
    server = HttpServer(application(asyncio.Event()), "192.0.2.1", 0)
    with pytest.raises(StartupError, match=r"cannot listen on 192\.0\.2\.1"):
        await server.start()


async def test_a_request_that_is_being_answered_is_finished_before_the_end() -> None:
    gate, asked = asyncio.Event(), asyncio.Event()
    server = HttpServer(application(gate, asked), HOST, 0)
    await server.start()
    asking = asyncio.create_task(ask(HOST, server.port, "/slow", seconds=5))
    await asked.wait()
    stopping = asyncio.create_task(server.stop(5.0))
    await asyncio.sleep(0)
    gate.set()
    assert (await asking).body == "late"
    await stopping
    assert (await ask(HOST, server.port, "/slow")).status == 0


async def test_a_request_that_takes_too_long_is_cut() -> None:
    asked = asyncio.Event()
    server = HttpServer(application(asyncio.Event(), asked), HOST, 0)
    await server.start()
    asking = asyncio.create_task(ask(HOST, server.port, "/slow", seconds=30))
    await asked.wait()
    await server.stop(0.05)
    assert (await asking).status in (0, 500)


async def test_the_date_is_right() -> None:
    server = HttpServer(application(asyncio.Event()), HOST, 0, state={"what": "this"})
    await server.start()
    try:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(b"GET /state HTTP/1.0\r\n\r\n")
        head = (await reader.read()).decode().lower()
        writer.close()
        date = next(line for line in head.splitlines() if line.startswith("date: "))
        assert parsedate_to_datetime(date.removeprefix("date: ")).year >= 2025
        assert "server:" not in head
    finally:
        await server.stop()
