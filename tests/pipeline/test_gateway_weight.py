"""What a connection is made of: objects of its own and nothing that the loop or the collector would have to look at."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.service import Gateway
from services.gateway.websocket import WebSocket
from services.transport.registry import write_entry
from tests.conformance.peer import PATH, TEXT, Peer
from tests.pipeline.gateway_world import desk, document, entry, eventually, panel, serving
from tests.servers import Valkey
from tests.unit.gateway.masked import frame

HOST = document("host", panel("cpu", "cpu_busy"))
SUBSCRIBE = b'{"type":"subscribe","dashboard":"host","hz":10}'
PLOTLY = "/api/v1/plotly?dashboard=host&panel=cpu"
MORE = 49


@pytest.fixture
async def gateway(valkey: Valkey) -> AsyncIterator[Gateway]:
    async with desk(valkey.url) as redis:
        await write_entry(redis, entry(HOST))
        async with serving(valkey.url) as found:
            await eventually(lambda: not found.readiness())
            yield found


def come(port: int, path: str) -> Peer:
    """A viewer in nobody's loop, which has been answered."""
    peer = Peer(port)
    peer.open(path, sec_websocket_extensions="permessage-deflate")
    if path == PATH:
        peer.send(frame(TEXT, SUBSCRIBE))
    said = peer.hear().message
    assert "snapshot" in said.values() or "react" in said.values()
    return peer


def tasks() -> Counter[str]:
    """By what they do."""
    return Counter(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())


def timers() -> int:
    loop: Any = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is freed by a collection."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def requests() -> int:
    """Connections that are still held as what they were before they became WebSockets."""
    return sum(isinstance(one, HttpToolsProtocol) for one in gc.get_objects())


@pytest.mark.parametrize("path", [PATH, PLOTLY], ids=["live", "plotly"])
async def test_fifty_sockets_have_as_many_tasks_and_timers_as_one(gateway: Gateway, path: str) -> None:
    with ExitStack() as stack, uncollected():
        stack.enter_context(await asyncio.to_thread(come, gateway.port, path))
        await eventually(lambda: all(held.settled for stage in gateway.hub._stages.values() for held in stage.held))
        working, waiting, parsing = tasks(), timers(), requests()
        for _ in range(MORE):
            stack.enter_context(await asyncio.to_thread(come, gateway.port, path))
        assert len(gateway.sockets) == MORE + 1
        await eventually(lambda: tasks() == working)
        assert timers() - waiting < MORE / 2, "some come and go"
        assert requests() == parsing, "parsers and heads are freed with the upgrade"


@pytest.mark.parametrize("path", [PATH, PLOTLY], ids=["live", "plotly"])
async def test_nothing_of_a_socket_has_a_dictionary(gateway: Gateway, path: str) -> None:
    with await asyncio.to_thread(come, gateway.port, path):
        (socket,) = gateway.sockets
        assert isinstance(socket, WebSocket) and socket._conversation
        parts = (socket, socket._session, socket._conversation, socket._conversation._reader, socket.guest)
        assert [type(part).__name__ for part in parts if hasattr(part, "__dict__")] == []
