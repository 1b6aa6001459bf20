"""The WebSockets of a process together: who is there, who is pinged when, and who has had the time that it may take to read or to close."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import structlog

from services.contract.live import CloseCode
from services.gateway import metrics
from services.gateway.access.door import Door
from services.gateway.departure import Connection
from services.gateway.holder import Holder
from services.gateway.settings import LimitSettings
from services.runtime.logs import Collapse

log = structlog.get_logger()

PING_EVERY_S: Final = 20
TOLD_EVERY_S: Final = 5.0  # of the same thing, into the log
CLOSE_S: Final = 2.0  # for the other side to answer a close frame, and then to close
LAST_WORD_S: Final = 10.0  # the same for one that has not read for long: a machine that wakes up finds out why
LAST_READ_S: Final = 60.0  # all of it, for one that reads on: a byte now and then does not keep a socket
_NAMED: Final = frozenset((*range(1000, 1015), *CloseCode))
"""Codes that metrics tell apart: clients may send two thousand others, and each would be a time series for ever."""


class Socket(Connection, Protocol):
    """What is asked of one of them."""

    transport: asyncio.Transport

    def ping(self) -> None: ...

    def drop(self, reason: str) -> None: ...

    def abort(self) -> None: ...


class Sockets:
    """All WebSockets of this process: what they share, and the one task that looks after them."""

    def __init__(
        self,
        door: Door,
        clock: Callable[[], float] = time.monotonic,
        limits: LimitSettings | None = None,
    ) -> None:
        self.door = door
        self.clock = clock
        self.limits = limits or LimitSettings()
        self.ending: dict[Holder, float] = {}
        self.stalled: dict[Socket, tuple[float, int]] = {}  # since when so many bytes have been waiting
        self.closing: dict[Socket, float] = {}  # until when
        self.dropped: dict[Socket, float] = {}  # since when, of those
        self._wheel: list[dict[Socket, None]] = [{} for _ in range(PING_EVERY_S)]
        self.told = Collapse(TOLD_EVERY_S)
        self._made = 0

    def __len__(self) -> int:
        return sum(map(len, self._wheel))

    def __iter__(self) -> Iterator[Socket]:
        return (socket for slot in self._wheel for socket in slot)

    def __contains__(self, socket: object) -> bool:
        return any(socket in slot for slot in self._wheel)

    def add(self, socket: Socket) -> int:
        """The slot of the wheel in which it is pinged."""
        self._made += 1
        slot = self._made % PING_EVERY_S
        self._wheel[slot][socket] = None
        metrics.ACCEPTED.inc()
        metrics.SOCKETS.inc()
        return slot

    def remove(self, socket: Socket, slot: int, code: int) -> None:
        self._wheel[slot].pop(socket, None)
        self.stalled.pop(socket, None)
        self.closing.pop(socket, None)
        self.dropped.pop(socket, None)
        metrics.SOCKETS.dec()
        metrics.CLOSED.labels(str(code) if code in _NAMED else "other").inc()

    async def run(self) -> None:
        """Until cancelled: one slot of the wheel a second."""
        slot = 0
        while True:
            await asyncio.sleep(1)
            slot = (slot + 1) % PING_EVERY_S
            self.turn(slot)

    def turn(self, slot: int) -> None:
        for socket in list(self._wheel[slot]):
            try:
                socket.ping()
            except Exception:  # one socket's trouble is not the others'
                log.exception("a viewer could not be pinged")
                del self._wheel[slot][socket]
        now = self.clock()
        held = 0
        for socket, (since, bytes_) in list(self.stalled.items()):
            waiting = socket.transport.get_write_buffer_size()
            held += waiting
            if waiting < bytes_:
                self.stalled[socket] = now, waiting
                if socket in self.dropped:  # it reads on, and will come to the close frame
                    self.closing[socket] = min(now + LAST_WORD_S, self.dropped[socket] + LAST_READ_S)
            elif now - since > self.limits.stall_s and socket not in self.closing:
                socket.drop("nothing was read for too long")
        metrics.WAITING.set(held)
        for socket in [socket for socket, until in self.closing.items() if now > until]:
            socket.abort()
        at = self.door.now()
        for holder in [holder for holder, ends_at in self.ending.items() if at >= ends_at]:
            del self.ending[holder]
            holder.close(CloseCode.token_ended, "the token has ended")

    async def emptied(self, patience_s: float) -> None:
        """When all have gone, or after a while."""
        for _ in range(round(patience_s / 0.02)):
            if not len(self):
                return
            await asyncio.sleep(0.02)
