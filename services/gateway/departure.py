"""Leaving performed: orders come by signal or on the admin port (`orders`), `leaving` says whom to ask when, sockets do the asking.

While the gateway drains it is not ready, and everything else goes on: who comes is served, who stays gets every frame.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from services.gateway import metrics
from services.gateway.leaving import Leaving, Terms, pace
from services.gateway.settings import LeavingSettings
from services.gateway.websocket import Sockets, WebSocket

log = structlog.get_logger()

STEP_S: Final = 0.02


class Departure:
    """clock: monotonic seconds. accepts_per_second: new connections that each gateway takes."""

    def __init__(
        self,
        sockets: Sockets,
        settings: LeavingSettings,
        accepts_per_second: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sockets = sockets
        self._deadline_s = settings.deadline_s
        self._clock = clock
        self._leaving: Leaving[WebSocket] = Leaving(Terms(pace(accepts_per_second), settings.notice_s, settings.deadline_s))
        self._ends = False
        self._ordered = asyncio.Event()

    @property
    def draining(self) -> bool:
        return self._leaving.draining

    def drain(self, *, end: bool = True) -> float:
        """Begin to leave, once; for how many seconds that may last. end: `run` is over then."""
        if not self.draining:
            log.info("draining", viewers=len(self._sockets), deadline_s=self._deadline_s)
        self._leaving.drain(self._clock())
        self._ends = self._ends or end
        self._ordered.set()
        return self._leaving.left_s(self._clock()) or 0.0

    def shed(self, viewers: int, per_second: float | None = None) -> dict[str, Any]:
        """Send some away, as many of each dashboard as is its share; what will be done, for who ordered it."""
        of_dashboards = sorted(self._sockets, key=lambda socket: socket.watches)
        wanted = per_second or self._leaving.terms.per_second
        n, a_second = self._leaving.shed(of_dashboards, viewers, wanted, self._clock())
        log.info("shedding", viewers=n, of=len(of_dashboards), per_second=a_second)
        self._ordered.set()
        return {"viewers": n, "of": len(of_dashboards), "per_second": a_second, "seconds": round(n / a_second, 1)}

    async def run(self) -> None:
        """Until everybody has left who was to leave, and the process is to end."""
        while not (self._ends and self._over()):
            if self._leaving.idle:
                self._ordered.clear()
                await self._ordered.wait()
            for socket, within_ms in self._leaving.step(self._sockets, self._clock(), random.random):
                metrics.MOVED.inc()
                socket.move(within_ms)
            if self._over():
                self._sockets.close_all(self._leaving.terms.per_second)  # nobody, or who is left at the deadline
            await asyncio.sleep(STEP_S)
        log.info("drained", viewers=len(self._sockets), asked=self._leaving.asked)

    def readiness(self) -> str:
        return f"draining, with {len(self._sockets)} viewers left" if self.draining else ""

    def status(self) -> dict[str, Any]:
        """For a person, and for who ordered it."""
        leaving, now = self._leaving, self._clock()
        left_s = leaving.left_s(now)
        state = "draining" if leaving.draining else "shedding" if leaving.queued else "serving"
        return {
            "state": "drained" if self._over() else state,
            "viewers": len(self._sockets),
            "queued": leaving.queued,
            "asked": leaving.asked,
            "per_second": leaving.terms.per_second,
            "deadline_in_s": None if left_s is None else round(left_s, 1),
            "ends": self._ends,
        }

    def _over(self) -> bool:
        return self._leaving.over(len(self._sockets), self._clock())
