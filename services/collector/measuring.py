"""Measuring: looks at the machine on a beat of the clock, so that every bucket of a second holds as many readings."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from services.collector import metrics
from services.collector.buffer import Governor
from services.collector.machine import Machine
from services.collector.readings import Reading, Sample, Scan, filesystem_samples, machine_samples, process_samples

FILESYSTEMS_S: Final = 5.0
SCAN_SHARE: Final = 0.01  # of a core, for looking at all processes: where there are thousands it happens every few seconds

Keep = Callable[[Iterable[Sample], int], None]
"""Takes samples of one moment, epoch ms."""


class Measuring:
    """Gives what it measures to `keep`. at_ms: when it measured last, 0 before that."""

    def __init__(self, machine: Machine, interval_ms: int, processes: int, keep: Keep) -> None:
        self._machine = machine
        self._interval_s = interval_ms / 1000
        self._processes = processes
        self._keep = keep
        self._governor = Governor(self._interval_s, SCAN_SHARE)
        self._reading: Reading | None = None
        self._scan: Scan | None = None

    @property
    def at_ms(self) -> int:
        return self._reading.at_ms if self._reading else 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._filesystems())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s - time.time() % self._interval_s)
            before, now = self._reading, self._machine.read()
            self._reading = now
            self._keep(machine_samples(before, now), now.at_ms)
            if self._governor.due(time.monotonic()):
                self._look_at_processes()

    def _look_at_processes(self) -> None:
        began = time.thread_time()
        before, now = self._scan, self._machine.processes()
        self._scan = now
        self._keep(process_samples(before, now, self._processes), now.at_ms)
        cost_s = time.thread_time() - began
        metrics.SCAN_SECONDS.set(cost_s)
        self._governor.spent(now.clock_s, cost_s)

    async def _filesystems(self) -> None:
        """In a thread, since a device that does not answer blocks who asks for its size."""
        while True:
            found = await asyncio.to_thread(self._machine.filesystems)
            self._keep(filesystem_samples(found), int(time.time() * 1000))
            await asyncio.sleep(FILESYSTEMS_S)
