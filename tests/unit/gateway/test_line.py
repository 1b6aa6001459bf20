"""A viewer at 56 kbit/s among a thousand fast ones, in a time that the test makes: how old its numbers are, and what it costs the others.

Everything between the commit of a view and the socket is the gateway's own. The line is a model of what TCP does with a socket whose unsent
bytes are kept below NOTSENT_BYTES. tests/pipeline/test_gateway_slow.py has the same over real ones, where the clock is the machine's.
"""

import json
import random
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from services.contract.live import SUBPROTOCOL
from services.contract.views import Beat
from services.gateway.access.door import Door
from services.gateway.endpoints import LiveEndpoint
from services.gateway.frames import encode_text
from services.gateway.hub import QUIET_S, TICK_S, Hub
from services.gateway.sockets import Sockets
from services.gateway.websocket import NOTSENT_BYTES, WebSocket, protocol
from services.transport.feed import connect
from tests.unit.gateway.masked import frame
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.test_stage import NOWHERE, entry
from tests.unit.gateway.test_websocket import State, Wire
from tests.unit.gateway.worlds import document, panel

START = 1_795_385_000_000
BOARD = document(panel("cpu", "cpu_busy"))
REQUEST = (
    "GET /api/v1/live HTTP/1.1\r\nhost: here\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: permessage-deflate\r\n"
    f"sec-websocket-protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()
SUBSCRIBE = b'{"type":"subscribe","dashboard":"host","hz":10}'
FAST = 1_000
STEP_MS = 5
BYTES_A_MS = 7  # 56 kbit/s
LATENCY_MS = 100
LINES = 250
SETTLE_MS, WATCH_MS = 15_000, 30_000


class Line(Wire):
    """A modem. What the kernel does not take waits here, and whoever writes is told to pause as long as anything does."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__()
        self._clock = clock
        self._kernel = b""
        self._way: deque[tuple[int, bytes]] = deque()  # when it arrives
        self._left = self._arrived = b""
        self.protocol: WebSocket | None = None
        self.frames: list[tuple[int, int, dict[str, Any]]] = []  # when it was whole, its bytes, what it says

    def write(self, data: Any) -> None:
        self._left += bytes(data)
        self._fill()

    def get_write_buffer_size(self) -> int:
        return len(self._left)

    def pass_(self, ms: int) -> None:
        """So much later."""
        sent, self._kernel = self._kernel[: ms * BYTES_A_MS], self._kernel[ms * BYTES_A_MS :]
        if sent:
            self._way.append((self._clock() + LATENCY_MS, sent))
        self._fill()
        while self._way and self._way[0][0] <= self._clock():
            self._arrive(self._way.popleft()[1])

    def _fill(self) -> None:
        room = max(0, NOTSENT_BYTES - len(self._kernel))
        self._kernel, self._left = self._kernel + self._left[:room], self._left[room:]
        if self.protocol and bool(self._left) != self.protocol.clogged:
            (self.protocol.pause_writing if self._left else self.protocol.resume_writing)()

    def _arrive(self, data: bytes) -> None:
        self._arrived += data
        if self._arrived.startswith(b"HTTP"):
            _, end, rest = self._arrived.partition(b"\r\n\r\n")
            if not end:
                return
            self._arrived = rest
        while (found := split(self._arrived)) is not None:
            payload, size = found
            self._arrived = self._arrived[size:]
            self.frames.append((self._clock(), size, json.loads(payload)))


def split(data: bytes) -> tuple[bytes, int] | None:
    """The text of the first frame, and its bytes on the line."""
    if len(data) < 4:
        return None
    at, size = (4, int.from_bytes(data[2:4], "big")) if data[1] == 126 else (2, data[1])
    if data[1] == 127:
        at, size = 10, int.from_bytes(data[2:10], "big")
    if len(data) < at + size:
        return None
    payload = data[at : at + size]
    return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff") if data[0] & 0x40 else payload, at + size


@dataclass
class Town:
    """A gateway without sockets. slow: whether somebody has a modem."""

    slow: bool
    now: int = START
    fast: list[Wire] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hub = Hub(connect(NOWHERE), clock=lambda: self.now)
        self.hub.entries = {"host": entry(BOARD)}
        self.sockets = Sockets(Door(), lambda: self.now / 1_000)
        self.line = Line(lambda: self.now)
        self.state = State()
        self._ticked_at = 0
        self._chance = random.Random(1)

    def connect(self, wire: Wire) -> WebSocket:
        socket = protocol(self.sockets, {"/api/v1/live": LiveEndpoint(self.hub)})(
            config=None, server_state=self.state, app_state={}
        )  # type: ignore[call-arg]
        assert isinstance(socket, WebSocket)
        socket.connection_made(wire)
        socket.data_received(REQUEST)
        return socket

    async def run(self) -> None:
        """Everybody comes, and numbers change ten times a second."""
        for _ in range(FAST):
            wire = Wire()
            self.connect(wire).data_received(frame(1, SUBSCRIBE))
            self.fast.append(wire)
        if self.slow:
            self.line.protocol = self.connect(self.line)
            self.line.protocol.data_received(frame(1, SUBSCRIBE))
        (self.held,) = next(iter(self.hub._stages.values())).held
        self.merge = Merge(version=START * 1_000)
        while self.now < START + SETTLE_MS + WATCH_MS:
            self.now += STEP_MS
            if self.now % 400 == 0:
                self.hub.health.beats({"one": Beat(self.now, 1, "", 0, [0])}, self.now)
            if self.now % 100 == 0:
                self.write()
            if self.slow:
                self.line.pass_(STEP_MS)
            await self.look()

    async def look(self) -> None:
        """As the hub does it, which waits for changes and for the time of a tier, and rests between two ticks."""
        rested = self.now - self._ticked_at
        if rested < TICK_S * 1_000:
            return
        due = self.hub._due_in_s()
        self.hub._changed.hush()
        if (due is not None and due <= 0) or rested >= (TICK_S + QUIET_S) * 1_000:
            self._ticked_at = self.now
            await self.hub._tick()

    def write(self) -> None:
        """A new value of each line."""
        bucket = self.now // 1_000 * 1_000
        change = self.merge.write({(bucket, line): round(self._chance.random() * 100, 3) for line in range(LINES)}, bucket)
        if self.held.loaded:
            self.held.state.apply(change)
        else:
            self.held.state.load(self.merge.history(), -1)
            self.held.loaded, self.held.whole = True, False
        self.hub.views.on_changed()

    def shown(self, since: int) -> list[tuple[int, int, int]]:
        """What had cells: when it was whole, the gateway's time in it, its bytes."""
        return [
            (at, said["now"], size)
            for at, size, said in self.line.frames
            if at >= since and (said["type"] == "snapshot" or said.get("views"))
        ]


async def test_a_slow_viewer_sees_numbers_that_are_at_most_two_seconds_old_and_the_others_notice_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[bytes] = []

    def counted(payload: bytes, deflated: bool = False) -> bytes:
        made.append(payload)
        return encode_text(payload, deflated)

    monkeypatch.setattr("services.gateway.outgoing.encode_text", counted)
    alone, together = Town(slow=False), Town(slow=True)
    await alone.run()
    made_alone, made[:] = len(made), []
    await together.run()

    shown = together.shown(START + SETTLE_MS)
    assert max(size for _, _, size in shown) <= 4_096, "what the promise is about"
    assert max(after - told for (_, told, _), (after, _, _) in pairwise(shown)) <= 2_000
    assert len(shown) >= 0.9 * WATCH_MS / 1_000
    assert [said["type"] for _, _, said in together.line.frames].count("snapshot") == 1
    assert any(said.get("limit") == "reader" for _, _, said in together.line.frames), "it cannot have ten a second"

    first = together.fast[0].written[1:]
    assert len(first) >= 9 * (SETTLE_MS + WATCH_MS) / 1_000, "the fast ones keep their rate"
    for wire in together.fast:
        assert all(one is another for one, another in zip(wire.written[1:], first, strict=True)), "one frame for all"
    assert first == alone.fast[0].written[1:], "the same frames at the same times as without the slow one"
    assert len(made) - made_alone <= len(together.line.frames), "nothing is composed or packed beside what the slow one reads"
