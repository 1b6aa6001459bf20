"""Leaving performed: orders come by signal or on the admin port (`orders`), `leaving` says whom to ask when, connections do the asking.

While the gateway drains it is not ready, and everything else goes on: who comes is served, who stays gets every frame.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Any, Final, Protocol

import structlog

from services.gateway import metrics
from services.gateway.leaving import Leaving, Terms, pace, returns
from services.gateway.settings import LeavingSettings
from services.runtime.settings import SettingsError

log = structlog.get_logger()

STEP_S: Final = 0.02


def check(settings: LeavingSettings) -> None:
    """SettingsError where nobody could be asked to leave before the deadline."""
    if 0 < settings.deadline_s <= settings.notice_s:
        raise SettingsError(
            f"TIDEBOARD_GATEWAY_DRAIN_DEADLINE: {settings.deadline_s:g} s are over before viewers are asked to leave, which is "
            f"{settings.notice_s:g} s after the order (TIDEBOARD_GATEWAY_DRAIN_NOTICE); 0 stops at once"
        )


class Connection(Hashable, Protocol):
    """A connection that is there to stay. watches: the names of what it shows."""

    @property
    def watches(self) -> tuple[str, ...]: ...

    def move(self, within_ms: int) -> None:
        """Ask the other side to go on elsewhere, within so many ms."""
        ...

    def go_away(self, retry_in_ms: int) -> None:
        """End it, and say in how many ms to come back."""
        ...


class Connections(Collection[Connection]):
    """All of a gateway, whatever the door."""

    def __init__(self, *doors: Collection[Connection]) -> None:
        self._doors = doors

    def __len__(self) -> int:
        return sum(map(len, self._doors))

    def __iter__(self) -> Iterator[Connection]:
        for door in self._doors:
            yield from door

    def __contains__(self, connection: object) -> bool:
        return any(connection in door for door in self._doors)


class Departure:
    """accepts_per_second: new connections that each gateway takes. on_drain: called when a drain begins. clock: monotonic seconds."""

    def __init__(
        self,
        connections: Connections,
        settings: LeavingSettings,
        accepts_per_second: float,
        on_drain: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._on_drain = on_drain
        self._deadline_s = settings.deadline_s
        self._clock = clock
        self._leaving: Leaving[Connection] = Leaving(Terms(pace(accepts_per_second), settings.notice_s, settings.deadline_s))
        self._ends = False
        self._ordered = asyncio.Event()

    @property
    def draining(self) -> bool:
        return self._leaving.draining

    def drain(self, *, end: bool = True) -> float:
        """Begin to leave, once; for how many seconds that may last. end: `run` is over then."""
        if not self.draining:
            log.info("draining", viewers=len(self._connections), deadline_s=self._deadline_s)
            metrics.DRAINING.set(1)
            self._on_drain()
        self._leaving.drain(self._clock())
        self._ends = self._ends or end
        self._ordered.set()
        return self._leaving.left_s(self._clock()) or 0.0

    def shed(self, viewers: int, per_second: float | None = None) -> dict[str, Any]:
        """Send some away, as many of each dashboard as is its share; what will be done, for who ordered it."""
        of_dashboards = sorted(self._connections, key=lambda connection: connection.watches)
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
            for connection, within_ms in self._leaving.step(self._connections, self._clock(), random.random):
                metrics.MOVED.inc()
                connection.move(within_ms)
            if self._over():
                self.dismiss()
            await asyncio.sleep(STEP_S)
        log.info("drained", left=len(self._connections), asked=self._leaving.asked)
        self.dismiss()

    def dismiss(self) -> None:
        """End what is left, now: everybody comes back at a moment of their own, elsewhere or here."""
        connections = list(self._connections)
        for connection, wait_ms in zip(
            connections, returns(len(connections), self._leaving.terms.per_second, random.random), strict=True
        ):
            connection.go_away(wait_ms)

    def readiness(self) -> str:
        return f"draining, with {len(self._connections)} viewers left" if self.draining else ""

    def status(self) -> dict[str, Any]:
        """For a person, and for who ordered it."""
        leaving, now = self._leaving, self._clock()
        left_s = leaving.left_s(now)
        state = "draining" if leaving.draining else "shedding" if leaving.queued else "serving"
        return {
            "state": "drained" if self._over() else state,
            "viewers": len(self._connections),
            "queued": leaving.queued,
            "asked": leaving.asked,
            "per_second": leaving.terms.per_second,
            "deadline_in_s": None if left_s is None else round(left_s, 1),
            "ends": self._ends,
        }

    def _over(self) -> bool:
        return self._leaving.over(len(self._connections), self._clock())
