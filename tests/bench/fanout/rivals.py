"""Servers that send one text to everybody, as each is written by who follows its documentation. Run as a program:

    python -m tests.bench.fanout.rivals NAME PORT HZ COUNT FILE

FILE holds the text, which is sent when COUNT viewers are there; HZ 0: nothing is. All but `websockets` run on uvicorn with its defaults, uvloop among them.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.server import ServerConnection, broadcast, serve

BACKLOG: Final = 4096
Broadcast = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Plan:
    text: str
    hz: float
    count: int


async def _tick(send: Broadcast, active: Sized, plan: Plan) -> None:
    hz, text = plan.hz, plan.text
    loop = asyncio.get_running_loop()
    while len(active) < plan.count:  # noqa: ASYNC110  what grows is a list, a set or a dict of the server
        await asyncio.sleep(0.05)
    due = loop.time()
    while hz:
        due = max(due + 1 / hz, loop.time())
        await asyncio.sleep(due - loop.time())
        await send(text)


async def _on_uvicorn(app: Any, send: Broadcast, active: Sized, port: int, plan: Plan) -> None:
    config = uvicorn.Config(app, "127.0.0.1", port, log_level="warning", access_log=False, lifespan="off", backlog=BACKLOG)
    ticking = asyncio.create_task(_tick(send, active, plan))
    await uvicorn.Server(config).serve()
    ticking.cancel()


async def starlette(port: int, plan: Plan) -> None:
    """The connection manager of FastAPI's tutorial; its WebSocket is Starlette's."""
    active: list[WebSocket] = []

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        active.append(socket)
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            active.remove(socket)

    async def send(message: str) -> None:
        for socket in active:
            await socket.send_text(message)

    await _on_uvicorn(Starlette(routes=[WebSocketRoute("/", endpoint)]), send, active, port, plan)


async def bare(port: int, plan: Plan) -> None:
    """An ASGI application without a framework."""
    active: dict[int, Callable[[dict[str, Any]], Awaitable[None]]] = {}

    async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        active[id(send)] = send
        while (await receive())["type"] != "websocket.disconnect":
            pass
        active.pop(id(send), None)

    async def send(message: str) -> None:
        event = {"type": "websocket.send", "text": message}
        for one in list(active.values()):
            await one(event)

    await _on_uvicorn(app, send, active, port, plan)


async def websockets(port: int, plan: Plan) -> None:
    """`broadcast` of the library websockets."""
    active: set[ServerConnection] = set()

    async def handler(socket: ServerConnection) -> None:
        active.add(socket)
        try:
            await socket.wait_closed()
        finally:
            active.discard(socket)

    async def send(message: str) -> None:
        broadcast(active, message)

    async with serve(handler, "127.0.0.1", port, backlog=BACKLOG):
        await _tick(send, active, plan)
        await asyncio.Event().wait()


SERVERS: Final = {"starlette": starlette, "bare": bare, "websockets": websockets}


def main(name: str, port: str, hz: str, count: str, file: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(SERVERS[name](int(port), Plan(Path(file).read_text(), float(hz), int(count))))


if __name__ == "__main__":
    main(*sys.argv[1:])
