"""The collector as a process sees it: measuring and watching fill a buffer, posting empties it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterable
from typing import Final

from services.collector import metrics
from services.collector.buffer import Buffer
from services.collector.machine import Machine
from services.collector.measuring import Measuring
from services.collector.posting import Poster
from services.collector.readings import Sample, encode
from services.collector.settings import CollectorSettings
from services.collector.watching import Watching
from services.runtime.service import StartupError

STALE_S: Final = 10.0
STOP_S: Final = 2.0


def create(settings: CollectorSettings) -> "Collector":
    """The service. StartupError where an address is none."""
    return Collector(settings, Machine())


class Collector:
    """Ready while what it posts is taken."""

    name = "collector"

    def __init__(self, settings: CollectorSettings, machine: Machine) -> None:
        self._settings = settings
        self._common = {"host": settings.host or socket.gethostname()}
        self._buffer = Buffer(settings.buffer_samples)
        try:
            self._poster = Poster(settings.url, settings.gzip, self._buffer)
            self._watching = Watching(settings.scrape, settings.scrape_ms, self._keep)
        except ValueError as error:
            raise StartupError(str(error)) from None
        self._measuring = Measuring(machine, settings.interval_ms, settings.processes, self._keep)
        metrics.BUFFERED.set_function(lambda: self._buffer.samples)
        metrics.DROPPED.set_function(lambda: self._buffer.dropped)

    async def start(self) -> None:
        """Nothing to wait for: without an ingestor the measurements are kept."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            if self._settings.machine:
                group.create_task(self._measuring.run())
            group.create_task(self._watching.run())
            group.create_task(self._poster.run())

    async def stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._poster.finish(), STOP_S)
        self._poster.close()
        self._watching.close()

    def readiness(self) -> str:
        return f"the ingestor does not take samples: {self._poster.fault}" if self._poster.fault else ""

    def liveness(self) -> str:
        measured, late_ms = self._measuring.at_ms, STALE_S * 1000 + self._settings.interval_ms
        return "nothing has been measured for a while" if 0 < measured < time.time() * 1000 - late_ms else ""

    def status(self) -> dict[str, object]:
        return {
            "host": self._common["host"],
            "posts": {"to": self._settings.url, "fault": self._poster.fault, "last": self._poster.posted_ms},
            "samples": {"accepted": self._poster.accepted, "refused": self._poster.refused},
            "buffered": self._buffer.samples,
            "dropped": self._buffer.dropped,
            "targets": self._watching.status(),
        }

    def _keep(self, samples: Iterable[Sample], at_ms: int) -> None:
        self._buffer.add(*encode(samples, at_ms, self._common))
        self._poster.wake()
