"""A dashboard as server-sent events: the same messages as on a WebSocket, for whatever speaks HTTP only.

The id of an event says what its reader has then; a reader that comes back with it as Last-Event-ID lacks nothing and gets nothing
twice. Unlike a WebSocket, a stream has a task: its request's.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from starlette.responses import Response, StreamingResponse

from services.gateway import metrics
from services.gateway.dashboard import Mark, Position
from services.gateway.hub import Hub
from services.gateway.outgoing import Outgoing
from services.gateway.viewer import Indirect

RETRY_MS: Final = 1_000
MAX_ID: Final = 16_384
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the latter: nginx passes events on at once


class EventStream(Indirect):
    """A viewer. `events` is what its response writes."""

    __slots__ = ("_closed", "_pending", "_wake", "address", "clogged", "deflated", "watches")

    def __init__(self, dashboard: str, address: str = "") -> None:
        self.watches = (dashboard,)
        self.address = address
        self.clogged = False
        self.deflated = False
        self._pending: list[bytes] = [b"retry: %d\n\n" % RETRY_MS]
        self._wake = asyncio.Event()
        self._wake.set()
        self._closed = False

    def send(self, message: Outgoing) -> None:
        if self._closed:
            return
        self._pending.append(encode_event(message))
        self.clogged = True
        self._wake.set()

    def close(self, code: int, reason: str = "") -> None:
        """No event follows; EventSource comes back by itself."""
        self._closed = True
        self._wake.set()

    def go_away(self, retry_in_ms: int) -> None:
        """End it, and say when to come back."""
        if not self._closed:
            self._pending.append(b"retry: %d\n\n" % retry_in_ms)
            self.close(0)

    def move(self, within_ms: int) -> None:
        """Nobody opens a second one first: EventSource comes back with the id that it has."""
        self.go_away(within_ms)

    async def events(self) -> AsyncIterator[bytes]:
        """Bytes to write. An empty one waits until everything before it has been taken: uvicorn writes first, and waits before the next."""
        while self._pending or not self._closed:
            await self._wake.wait()
            self._wake.clear()
            pending, self._pending = self._pending, []
            if pending:
                yield b"".join(pending)
                yield b""
            self.clogged = bool(self._pending)


class EventStreams:
    """The event streams of this process."""

    def __init__(self) -> None:
        self._open: set[EventStream] = set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[EventStream]:
        return iter(self._open)

    def __contains__(self, stream: object) -> bool:
        return stream in self._open

    def open(self, hub: Hub, dashboard: str, position: Position | None, hz: int, address: str = "") -> Response:
        """The response that a stream is. position: what its reader has. address: whose it is, for a person."""
        events = self._events(hub, EventStream(dashboard, address), position, hz)
        return StreamingResponse(events, headers=_HEADERS, media_type="text/event-stream")

    def head(self) -> Response:
        """For who asks with HEAD: nothing is watched."""
        return Response(headers=_HEADERS, media_type="text/event-stream")

    async def _events(self, hub: Hub, stream: EventStream, position: Position | None, hz: int) -> AsyncIterator[bytes]:
        (dashboard,) = stream.watches
        self._open.add(stream)
        metrics.STREAMS.set(len(self._open))
        hub.subscribe(stream, dashboard, position, hz)
        try:
            async for data in stream.events():
                yield data
        finally:
            hub.unsubscribe(stream, dashboard)
            self._open.discard(stream)
            metrics.STREAMS.set(len(self._open))


def encode_event(message: Outgoing) -> bytes:
    """An event of the message's kind; its id where the message says what its reader has then."""
    head = b"id: %s\n" % encode_id(message.mark).encode() if message.mark else b""
    return b"%sevent: %s\ndata: %s\n\n" % (head, message.kind.encode(), message.payload)


def encode_id(mark: Mark) -> str:
    return f"{mark.epoch}:{','.join(format(version, 'x') for version, *_ in mark.views)}"


def decode_id(text: str) -> Position | None:
    """What a Last-Event-ID says; None where it is not one of ours: its reader gets everything."""
    epoch, colon, versions = text.partition(":")
    if not epoch or not colon or len(text) > MAX_ID:
        return None
    try:
        return Position(epoch, tuple(int(version, 16) for version in versions.split(",")))
    except ValueError:
        return None
