"""A viewer's connections: the client's side of a WebSocket, and the way from one gateway to the next as docs/protocol.md has it.

Light enough for thousands in one process: protocols of asyncio, no task and no stream per viewer.
"""

import asyncio
import json
import math
import random
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from tests.audience.viewer import Frame, Viewer, understand

_UPGRADE: Final = (
    "GET /api/v1/live HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: tideboard.v1.json\r\n"
)
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_RETRY_S: Final = 0.25  # after a loss at least; at most twice that, and twice as much again with every attempt
_KEEP: Final = 2_000
_LOOK_S: Final = 0.02
_GIVE_UP_S: Final = 10.0  # on a connection that does not come about


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame of a client. The mask is zero: it protects proxies, and there is none here."""
    size = len(payload)
    head = struct.pack("!BB", 0x80 | opcode, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    return head + bytes(4) + payload


@dataclass(frozen=True, slots=True)
class Wait:
    """How long something took, and for how long of that, altogether and at a stretch, this process had no CPU. Seconds."""

    took: float
    starved: float
    stalled: float


@dataclass
class Audience:
    """All viewers of one balancer. told: when somebody was asked to move, monotonic seconds; refused: handshakes; opened: when one succeeded.

    token: of the viewer with a number, where gateways ask for one. patience_s: for how long a viewer bears that it hears nothing.
    why: of losses and refusals, for whoever reads of them: when, monotonic seconds, and in which way.
    """

    port: int
    dashboard: str
    hz: float = 10
    host: str = "127.0.0.1"
    token: Callable[[int], str] = lambda _: ""
    patience_s: float = math.inf
    told: list[float] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    refused: int = 0
    why: list[tuple[float, str]] = field(default_factory=list)
    frames: int = 0
    seats: list["Seat"] = field(default_factory=list)
    _understood: dict[bytes, Frame] = field(default_factory=dict)

    async def come(self, viewers: int, per_second: float) -> None:
        """So many more, at a steady pace."""
        for _ in range(viewers):
            seat = Seat(self, self.token(len(self.seats)))
            self.seats.append(seat)
            seat.open()
            await asyncio.sleep(1 / per_second)

    @property
    def lost(self) -> int:
        return sum(seat.losses for seat in self.seats)

    @property
    def snapshots(self) -> int:
        return sum(seat.viewer.snapshots for seat in self.seats)

    async def until(self, check: Callable[["Seat"], bool], patience_s: float, what: str) -> "Wait":
        """Wait until it holds of everybody."""
        return await self.until_none(lambda: sum(not check(seat) for seat in self.seats), patience_s, what)

    async def until_none(self, count: Callable[[], int], patience_s: float, what: str) -> "Wait":
        """Wait until there are no viewers of a kind any more. count: how many there are."""
        begun = last = time.monotonic()
        stalls = []
        while missing := count():
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            stalls.append(now - last - _LOOK_S)
            last = now
            assert now - begun < patience_s, f"of {len(self.seats)} viewers {missing} {what}"
        return Wait(last - begun, sum(stalls), max(stalls, default=0.0))

    def refuse(self, how: str) -> None:
        self.refused += 1
        self.tell(f"refused: {how}")

    def tell(self, what: str) -> None:
        self.why.append((time.monotonic(), what))

    def leave(self) -> None:
        for seat in self.seats:
            seat.leave()

    def understand(self, text: bytes) -> Frame:
        frame = self._understood.get(text)
        if frame is None:
            if len(self._understood) > _KEEP:
                self._understood.clear()
            frame = self._understood[text] = understand(text)
        return frame


class Seat:
    """One viewer and its sockets. current: the one that counts; next: the one that will. losses: how often it was without any.

    silence: the longest time without a frame, seconds.
    """

    def __init__(self, audience: Audience, token: str = "") -> None:
        self.audience = audience
        self.token = token
        self.viewer = Viewer()
        self.current: _Socket | None = None
        self.next: _Socket | None = None
        self.heard_at = 0.0
        self.silence = 0.0
        self.moves = self.losses = 0
        self._attempt = 0
        self._moving = False
        self.left = False

    @property
    def live(self) -> bool:
        """Connected and answered, and not on the way elsewhere."""
        return self.current is not None and self.current.answered and not self._moving

    def open(self) -> None:
        """A socket to begin with, or after a loss."""
        if not self.left:
            self.current = self._connect()

    def look(self) -> None:
        """Give up what has been silent for too long, as a browser does."""
        if socket := self.current:
            since = max(self.heard_at, socket.begun_at)
            if time.monotonic() - since > self.audience.patience_s and socket.transport:
                socket.transport.abort()

    def leave(self) -> None:
        self.left = True
        for socket in (self.current, self.next):
            if socket and socket.transport:
                socket.transport.abort()

    def opened(self, socket: "_Socket") -> None:
        self.audience.opened.append(time.monotonic())
        said = {"type": "subscribe", "dashboard": self.audience.dashboard, "hz": self.audience.hz, "since": self.viewer.since}
        socket.say(said)

    def heard(self, socket: "_Socket", text: bytes) -> None:
        self.audience.frames += 1
        frame = self.audience.understand(text)
        if frame.kind == "moved":
            self._move(socket, frame.fields["retry_in_ms"])
            return
        if socket is self.next and frame.answers:
            self._follow()
        if socket is not self.current:
            return
        now = time.monotonic()
        if self.heard_at:
            self.silence = max(self.silence, now - self.heard_at)
        self.heard_at, self._attempt = now, 0
        socket.answered = socket.answered or frame.answers
        self.viewer.take(frame)

    def closed(self, socket: "_Socket", code: int, reason: str) -> None:
        if socket is self.next:
            self.next = None
            self._later(self._open_next)
        elif socket is self.current:
            self.current = None
            if self.next and self.next.opened:
                self._follow()
            elif not self.left:
                self.losses += 1
                self.audience.tell(f"lost {socket}, the next one {self.next}: {code} {reason}")
                self._later(self.open, _wait(code, reason))

    def _connect(self) -> "_Socket":
        socket = _Socket(self)
        socket.task = asyncio.create_task(socket.connect(self.audience.host, self.audience.port))
        return socket

    def _move(self, socket: "_Socket", within_ms: int) -> None:
        if socket is self.current and not self._moving:
            self._moving = True
            self.audience.told.append(time.monotonic())
            asyncio.get_running_loop().call_later(random.random() * within_ms / 1000, self._open_next)

    def _open_next(self) -> None:
        if self._moving and not self.next and not self.left:
            self.next = self._connect()

    def _follow(self) -> None:
        """The next one is the current one from here on."""
        last, self.current, self.next, self._moving = self.current, self.next, None, False
        self.moves += 1
        if last:
            last.close()

    def _later(self, do: Callable[[], None], asked_s: float | None = None) -> None:
        self._attempt += 1
        most = min(10.0, _RETRY_S * 2**self._attempt)
        wait = random.uniform(_RETRY_S, most) if asked_s is None else asked_s + random.random() * _RETRY_S
        asyncio.get_running_loop().call_later(wait, do)


class _Socket(asyncio.Protocol):
    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._buffer = b""
        self._code, self._reason = 1006, ""
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self.opened = self.answered = False
        self.begun_at = time.monotonic()

    def __str__(self) -> str:
        own = self.transport.get_extra_info("sockname") if self.transport else None
        return f"<{time.monotonic() - self.begun_at:.2f} s, from {own}, opened {self.opened}, answered {self.answered}>"

    async def connect(self, host: str, port: int) -> None:
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        except OSError as error:  # of which TimeoutError is one
            self._seat.audience.refuse(repr(error))
            self._seat.closed(self, 1006, "")

    def say(self, message: dict[str, Any]) -> None:
        if self.transport:
            self.transport.write(masked(_TEXT, json.dumps(message).encode()))

    def close(self) -> None:
        if self.transport:
            self.transport.write(masked(_CLOSE, struct.pack("!H", 1000)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        own = f"Authorization: Bearer {self._seat.token}\r\n" if self._seat.token else ""
        self.transport.write(f"{_UPGRADE.format(host=self._seat.audience.host)}{own}\r\n".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened and not self._seat.left:
            self._seat.audience.refuse(f"{self}, {exc!r}, {self._buffer[:80]!r}")
        self._seat.closed(self, self._code, self._reason)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self.opened:
            head, end, rest = buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = buffer
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                if self.transport:
                    self.transport.close()
                return
            self.opened, buffer = True, rest
            self._seat.opened(self)
        self._buffer = self._read(buffer)

    def _read(self, buffer: bytes) -> bytes:
        """Take whole frames out of it; what is left."""
        at, size = 0, len(buffer)
        while size - at >= 2:
            length, begin = buffer[at + 1], at + 2
            if length == 126:
                begin += 2
                length = int.from_bytes(buffer[at + 2 : begin]) if size >= begin else size
            elif length == 127:
                begin += 8
                length = int.from_bytes(buffer[at + 2 : begin]) if size >= begin else size
            if begin + length > size:
                break
            self._frame(buffer[at] & 0x0F, buffer[begin : begin + length])
            at = begin + length
        return buffer[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self._seat.heard(self, payload)
        elif opcode == _PING and self.transport:
            self.transport.write(masked(_PONG, payload))
        elif opcode == _CLOSE and self.transport:
            if len(payload) >= 2:
                self._code, self._reason = int.from_bytes(payload[:2]), payload[2:].decode()
            self.transport.close()


def _wait(code: int, reason: str) -> float | None:
    """What a close asks for, seconds."""
    if not 4000 <= code <= 4499:
        return None
    try:
        asked: float = json.loads(reason)["retry_in_ms"] / 1000
    except (ValueError, KeyError, TypeError):
        return None
    return asked


def peak(times: Sequence[float]) -> int:
    """The most that fall into any second."""
    times, first, most = sorted(times), 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most
