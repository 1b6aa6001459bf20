"""Servers that send one text to everybody, as each is written by who follows its documentation. Run as a program:

    python -m tests.bench.fanout.rivals NAME PORT HZ FILE

FILE holds the text; HZ 0: nothing is sent. All but `websockets` run on uvicorn with its defaults, uvloop among them.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
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


async def _tick(send: Broadcast, text: str, hz: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while hz:
        due = max(due + 1 / hz, loop.time())
        await asyncio.sleep(due - loop.time())
        await send(text)


async def _on_uvicorn(app: Any, send: Broadcast, text: str, port: int, hz: float) -> None:
    config = uvicorn.Config(app, "127.0.0.1", port, log_level="warning", access_log=False, lifespan="off", backlog=BACKLOG)
    ticking = asyncio.create_task(_tick(send, text, hz))
    await uvicorn.Server(config).serve()
    ticking.cancel()


async def starlette(text: str, port: int, hz: float) -> None:
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

    await _on_uvicorn(Starlette(routes=[WebSocketRoute("/", endpoint)]), send, text, port, hz)


async def bare(text: str, port: int, hz: float) -> None:
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

    await _on_uvicorn(app, send, text, port, hz)


async def websockets(text: str, port: int, hz: float) -> None:
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
        await _tick(send, text, hz)
        await asyncio.Event().wait()


SERVERS: Final = {"starlette": starlette, "bare": bare, "websockets": websockets}


def main(name: str, port: str, hz: str, file: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(SERVERS[name](Path(file).read_text(), int(port), float(hz)))


if __name__ == "__main__":
    main(*sys.argv[1:])
