"""A real gateway under any bytes, over TCP, and a viewer that must not notice: no 5xx, nothing in the log that is worse than a warning."""

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Final

from tests.conformance.peer import PING, PONG, Peer, request
from tests.conformance.talk import SMALL, text
from tests.fuzz.answers import Answer, NoAnswerError, answers
from tests.fuzz.mutation import pieces
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.masked import frame

AT_ONCE: Final = 32
IDLE_S: Final = 0.05
END_S: Final = 20.0
_REQUESTS: Final = re.compile(rb" HTTP/1\.")


class BrokenError(AssertionError):
    """The gateway did what it must not do."""


async def say_all(gateway: GatewayProcess, inputs: Sequence[bytes], upgrade: bool) -> None:
    """Each on a connection of its own, some at a time. upgrade: after an opening handshake, as frames. BrokenError."""
    waiting = iter(list(enumerate(inputs)))

    async def some() -> None:
        for number, data in waiting:
            try:
                await _say(gateway.port, data, Random(number), upgrade)
            except BrokenError as error:
                raise BrokenError(f"{error}, for {data!r}") from None

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())


async def _say(port: int, data: bytes, chance: Random, upgrade: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):  # it may close whenever it likes
            if upgrade:
                offer = {"sec_websocket_extensions": "permessage-deflate"} if chance.random() < 0.6 else {}
                path = "/api/v1/live" if chance.random() < 0.8 else f"/api/v1/plotly?dashboard={SMALL}&panel=rx"
                writer.write(request(path, **offer))
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 101 "):
                    raise BrokenError(f"a good handshake was answered with {head!r}")
            for piece in pieces(chance, data) if chance.random() < 0.3 else (data,):
                writer.write(piece)
                await writer.drain()
            await _hear(reader, writer, 0 if upgrade else max(1, len(_REQUESTS.findall(data))))
    finally:
        writer.transport.abort()


async def _hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: int) -> None:
    """What is answered, to the end. requests: how many there may have been, 0 on a WebSocket.

    A request that is not whole is answered by nothing: then the client says no more.
    """
    heard = bytearray()
    if requests:  # a WebSocket hears the end of what is said after all that was said before; HTTP gives up
        with contextlib.suppress(TimeoutError):
            async for data in _parts(reader, IDLE_S):
                heard += data
                if sum(answer.whole for answer in _answers(heard)) >= requests:
                    break
    with contextlib.suppress(OSError):
        writer.write_eof()
    try:
        async for data in _parts(reader, END_S):
            heard += data
    except TimeoutError:
        raise BrokenError("the connection was left open after the client had said all") from None
    if requests and (failed := [answer.line for answer in _answers(heard) if answer.status >= 500]):
        raise BrokenError(f"it was answered with {failed[0]}")


async def _parts(reader: asyncio.StreamReader, patience_s: float) -> AsyncIterator[bytes]:
    """What comes until the end; TimeoutError where nothing comes for so long."""
    while data := await asyncio.wait_for(reader.read(1 << 16), patience_s):
        yield data


def _answers(heard: bytearray) -> list[Answer]:
    """BrokenError where that is not what it was answered with."""
    try:
        return list(answers(bytes(heard)))
    except NoAnswerError as error:
        raise BrokenError(str(error)) from None


class Bystander:
    """A viewer on the same gateway, which hears something at least once a second when the machine has time. longest_s: between two frames."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._heard = threading.Event()
        self.longest_s = 0.0

    async def __aenter__(self) -> "Bystander":
        self._peer = Peer(self._port)
        self._peer.open()
        self._peer.send(text(b'{"type":"subscribe","dashboard":"%b"}' % SMALL.encode()))
        self._watching = asyncio.create_task(asyncio.to_thread(self._watch))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._peer.say_no_more()
        await self._watching

    async def hears(self) -> None:
        """BrokenError where it hears nothing any more."""
        self._heard.clear()
        if not await asyncio.to_thread(self._heard.wait, END_S):
            raise BrokenError("the other viewer hears nothing any more")

    def _watch(self) -> None:
        last = time.monotonic()
        for heard in self._peer.everything():
            if heard.opcode == PING:
                self._peer.send(frame(PONG, heard.payload))
            now = time.monotonic()
            self.longest_s, last = max(self.longest_s, now - last), now
            self._heard.set()
        self._peer.__exit__()
