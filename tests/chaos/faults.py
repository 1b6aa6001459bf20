"""What each fault of a run does to its world. A fault returns when its work is done, not when the world has recovered."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from tests.chaos import wanted
from tests.chaos.outsiders import add_partitions
from tests.chaos.parts import Part
from tests.chaos.servers import answering
from tests.chaos.world import LEASE_MS, MOST, World

QUIET_S: Final = 20.0
AWAY_S: Final = (60.0, 63.0)
SLEEP_S: Final = (6.5, 9.0)
"""Longer than the lease, and longer than Kafka's least session timeout."""


class Faults:
    """Performs faults by their names. done: how many of each. longest_away_s: how long Kafka may be away, but for the fault that says how long.

    away_s: how long it really was, at most.
    """

    def __init__(self, world: World, longest_away_s: float, say: Callable[[str], None]) -> None:
        self._say = say
        self._world = world
        self._chance = world.chance
        self._longest_away_s = longest_away_s
        self._alone = asyncio.Lock()  # what needs several processes in one state
        self._at_the_log = asyncio.Lock()
        self._sleeping: set[asyncio.Task[None]] = set()
        self.away_s = 0.0
        self.done: dict[str, int] = {}
        self.story: list[str] = []

    async def do(self, kind: str) -> bool:
        """One fault. It counts when it was really done; whether it was."""
        work: Callable[[], Awaitable[str | None]] = getattr(self, f"_{kind}")
        said = await work()
        if said is not None:
            self.done[kind] = self.done.get(kind, 0) + 1
        self.tell(f"{kind}: {'not now' if said is None else said}")
        return said is not None

    def tell(self, text: str) -> None:
        """One line of the run's story, with the time of day, as the services' logs have it."""
        now = datetime.now(UTC)
        self.story.append(f"{now:%H:%M:%S}.{now.microsecond // 1000:03d} {text}")
        self._say(self.story[-1])

    async def end(self) -> None:
        """Wait for sleepers to wake."""
        await asyncio.gather(*self._sleeping)

    # Our processes

    async def _aggregator_kill(self) -> str | None:
        async with self._alone:
            part = self._chance.choice(self._world.awake())
            part.kill()
            await asyncio.sleep(self._chance.choice((0.0, 0.5, LEASE_MS / 1000 + 1.5)))
            part.start()
        return part.name

    async def _aggregator_sleep(self) -> str | None:
        async with self._alone:
            awake = self._world.awake()
            if len(awake) < 2:
                return None
            part = self._chance.choice(awake)
            part.sleep()
        duration = self._chance.uniform(*SLEEP_S)
        task = asyncio.create_task(_wake(part, duration))
        self._sleeping.add(task)
        task.add_done_callback(self._sleeping.discard)
        return f"{part.name} for {duration:.1f} s"

    async def _aggregator_restart(self) -> str | None:
        async with self._alone:
            part = self._chance.choice(self._world.awake())
            await part.stop()
            part.start()
        return part.name

    async def _scale_up(self) -> str | None:
        async with self._alone:
            if len(self._world.aggregators) >= MOST:
                return None
            self._world.add_aggregator()
        return f"{len(self._world.aggregators)} aggregators"

    async def _scale_down(self) -> str | None:
        async with self._alone:
            awake = self._world.awake()
            if len(awake) < 2:
                return None
            part = self._chance.choice(awake)
            self._world.aggregators.remove(part)
            await part.stop()
        return f"{part.name}, {len(self._world.aggregators)} aggregators are left"

    async def _ingestor_kill(self) -> str | None:
        self._world.ingestor.kill()
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        self._world.ingestor.start()
        return "killed"

    async def _dashboard_change(self) -> str | None:
        async with self._alone:
            entry = self._chance.choice(wanted.OTHERS)
            if entry in self._world.entries:
                self._world.entries.remove(entry)
                return f"without {entry.name}"
            self._world.entries.append(entry)
            return f"with {entry.name}"

    async def _yesterdays_dashboards(self) -> str | None:
        """An owner sleeps while another drops a dashboard and dies; the dashboard comes back, and so does the sleeper, with all it knew.

        Nobody says anything meanwhile, so that the offsets are the ones that it knew: only the selections tell.
        """
        world = self._world
        async with self._alone:
            await self.end()
            awake = world.awake()
            if len(awake) < 2:
                return None
            entry = wanted.OTHERS[0]
            await self._show(entry.name, True)
            if not await world.pause.close(QUIET_S):
                world.pause.open()
                return None
            await world.folded(QUIET_S)
            last, *sleepers = awake
            for part in sleepers:
                part.sleep()
            await self._show(entry.name, False)
            seen = await world.folded(QUIET_S)
            last.kill()
            await self._show(entry.name, True)
            for part in sleepers:
                part.wake()
            world.pause.open()
            await asyncio.sleep(1.0)
            last.start()
        return f"{', '.join(part.name for part in sleepers)} slept" if seen else None

    async def _show(self, name: str, shown: bool) -> None:
        entry = next(entry for entry in wanted.OTHERS if entry.name == name)
        if (entry in self._world.entries) != shown:
            (self._world.entries.append if shown else self._world.entries.remove)(entry)
        await asyncio.sleep(0.5)  # until the owner of the dashboards has written it

    # The feed

    async def _feed_kill(self) -> str | None:
        await self._world.feed.kill(away := self._chance.choice((0.0, 0.3, 2.5)), keep=True)
        return f"away for {away} s"

    async def _feed_kill_empty(self) -> str | None:
        await self._world.feed.kill(away := self._chance.choice((0.0, 0.3, 1.0)), keep=False)
        return f"away for {away} s"

    async def _feed_failover(self) -> str | None:
        lost = await self._world.feed.fail_over(self._chance.uniform(0.3, 2.5), self._chance.uniform(0, 1))
        return f"{lost} bytes of changes lost"

    async def _feed_flush(self) -> str | None:
        await self._world.feed.flush()
        return "flushed"

    async def _feed_slow(self) -> str | None:
        door = self._world.feed.door
        door.delay_s = self._chance.choice((0.02, 0.1, 0.4))
        said = f"{door.delay_s} s for every chunk"
        await asyncio.sleep(self._chance.uniform(1.5, 4))
        door.delay_s = 0.0
        return said

    async def _feed_silent(self) -> str | None:
        door = self._world.feed.door
        door.freeze()
        await asyncio.sleep(silent := self._chance.uniform(0.5, 4))
        door.thaw()
        return f"for {silent:.1f} s"

    # The log

    async def _log_kill(self) -> str | None:
        if self._at_the_log.locked():
            return None
        return await self._away(self._chance.uniform(0.5, self._longest_away_s))

    async def _log_away(self) -> str | None:
        return await self._away(self._chance.uniform(*AWAY_S))

    async def _away(self, for_s: float) -> str:
        async with self._at_the_log:
            log, began = self._world.log, time.monotonic()
            log.kill()
            await asyncio.sleep(for_s)
            log.launch()
            await answering(log, 60)
            away = time.monotonic() - began
        self.away_s = max(self.away_s, away)
        return f"away for {away:.1f} s"

    async def _log_grown(self) -> str | None:
        self._world.grown = True
        async with self._at_the_log:
            before, now = await add_partitions(self._world.log.bootstrap, self._chance.randrange(1, 4))
        return f"{now} partitions instead of {before}"

    async def _log_silent(self) -> str | None:
        pid = self._world.log.pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(silent := self._chance.uniform(0.5, 5))
        os.kill(pid, signal.SIGCONT)
        return f"for {silent:.1f} s"

    async def _log_lost(self) -> str | None:
        """The embedded broker forgets: what it had is read first, while nobody writes. Folds need not have come so far."""
        world = self._world
        quiet = await world.pause.close(QUIET_S)
        if quiet:
            world.over.append(await world.whole_log())
            world.log.kill()
            await asyncio.sleep(self._chance.uniform(0, 1))
            world.log.launch()
            await answering(world.log)
        world.pause.open()
        return "a new log begins" if quiet else None


async def _wake(part: Part, after_s: float) -> None:
    await asyncio.sleep(after_s)
    part.wake()
