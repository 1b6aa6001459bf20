"""The hub of a gateway: the stages that somebody watches, the clock that ticks for them, and the registry that they follow.

The only task that writes to viewers (by its `writer`) is `run`: twenty times a second at most, and never while nobody watches. A tick comes as
soon as there is something to say to viewers whose last frame is long enough ago, so that frames fall into step with the commits
of the aggregator instead of waiting for a clock of their own. What is written, stages and streams decide.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from services.contract.history import ViewHistory
from services.contract.live import Since
from services.contract.registry import Entry
from services.contract.views import View
from services.gateway import metrics, outside
from services.gateway.alarm import Alarm
from services.gateway.dashboard import Position
from services.gateway.faults import Faults
from services.gateway.health import Health
from services.gateway.outgoing import Outgoing
from services.gateway.past import MAX_CELLS, ParameterError
from services.gateway.pulse import Pulse
from services.gateway.rates import FASTEST, Throttle
from services.gateway.recipients import Out
from services.gateway.relay import Relay
from services.gateway.stage import LINGER_MS, Stage
from services.gateway.streams import PanelStream
from services.gateway.tier import SLACK_MS
from services.gateway.viewer import Viewer
from services.gateway.views import Views
from services.gateway.writer import Writer
from services.transport import registry
from services.transport.history import read_range

log = structlog.get_logger()

TICK_S: Final = 1 / FASTEST  # between two ticks, at least
SETTLE_S: Final = 0.005  # after a change: others of the same commit come along
QUIET_S: Final = 0.25  # without a change: time for signs of life, and for what is away
LOOK_S: Final = 0.02
PAST_READERS: Final = 2  # at once: who looks back waits, who watches does not


def wall_clock() -> int:
    """Now, epoch ms."""
    return time.time_ns() // 1_000_000


class Hub:
    def __init__(self, redis: Redis, clock: Callable[[], int] = wall_clock) -> None:
        self._redis = redis
        self._clock = clock
        self.health = Health(clock())
        self.throttle = Throttle(clock())
        self.views = Views(redis, clock, self._feed)
        self._relay = Relay(redis, self.views)
        self._pulse = Pulse(redis, self.views, self.health, clock, self._feed)
        self.entries: dict[str, Entry] | None = None
        self.registry_away = ""
        self._stages: dict[str, Stage] = {}
        self._streams: dict[tuple[str, str, int], PanelStream] = {}
        self._gauges = outside.Gauges()
        self._faults = Faults()
        self._watched = asyncio.Event()
        self._changed = Alarm()
        self._readers = asyncio.Semaphore(PAST_READERS)
        self.writer = Writer(clock, self._faults, self._lost)
        self.views.on_changed = self._changed.ring

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.views.run())
            tasks.create_task(self._pulse.run())
            tasks.create_task(self._relay.run())
            tasks.create_task(self._follow())
            tasks.create_task(self._tick_on())

    # For viewers.

    def subscribe(self, viewer: Viewer, dashboard: str, since: Since | Position | None, hz: int) -> None:
        """hz: one of the rates, or PAUSED."""
        self._stage(dashboard).subscribe(viewer, since, hz, self._clock())
        self._changed.ring()

    def rate(self, viewer: Viewer, dashboard: str, hz: int) -> None:
        if stage := self._stages.get(dashboard):
            stage.rate(viewer, hz)
            self._changed.ring()

    def unsubscribe(self, viewer: Viewer, dashboard: str) -> None:
        if stage := self._stages.get(dashboard):
            stage.leave(viewer, self._clock())

    def join(self, viewer: Viewer, dashboard: str, panel: str, max_points: int) -> None:
        """Watch one panel as Plotly reads it."""
        stream = self._streams.get((dashboard, panel, max_points))
        if stream is None:
            stage = self._stage(dashboard)
            stage.holders += 1
            stream = self._streams[dashboard, panel, max_points] = PanelStream(stage, panel, max_points, self._clock())
        stream.join(viewer)
        self._changed.ring()

    def depart(self, viewer: Viewer, dashboard: str, panel: str, max_points: int) -> None:
        if stream := self._streams.get((dashboard, panel, max_points)):
            stream.leave(viewer)

    @asynccontextmanager
    async def snapshot(self, dashboard: str, patience_s: float) -> AsyncIterator[tuple[Stage, Outgoing | None]]:
        """The stage, and its snapshot when it could be read in time."""
        stage = self._stage(dashboard)
        stage.holders += 1
        try:
            for _ in range(round(patience_s / LOOK_S)):
                if stage.ready or stage.fault:
                    break
                await asyncio.sleep(LOOK_S)
            yield stage, stage.snapshot(self._clock()) if stage.ready else None
        finally:
            stage.holders -= 1
            stage.idle_since = self._clock()

    async def past(self, views: Iterable[tuple[View, int, int]]) -> dict[View, ViewHistory]:
        """The histories of views between two times (epoch ms), straight from Redis: nothing of it stays in memory. FeedErrors, HistoryError."""
        found: dict[View, ViewHistory] = {}
        async with self._readers:
            cells = 0
            for view, first, last in views:
                if (held := await read_range(self._redis, view.id, first, last)) is not None:
                    found[view] = held
                    cells += sum(len(rows) for rows in held.rows.values())
                    if cells > MAX_CELLS:
                        raise ParameterError(
                            "from", f"the answer has more than {MAX_CELLS:,} cells; ask for less at a time, or a longer step"
                        )
        return found

    def now(self) -> int:
        """Epoch ms."""
        return self._clock()

    def status(self) -> dict[str, Any]:
        """For a person."""
        now, stages = self._clock(), list(self._stages.values())
        return {
            "registry": outside.registry(self.entries),
            "feed": {"away": self.health.feed_away or None, "views": len(self.views)},
            "sends": self.writer.way,
            "pace": {"busy": round(self.throttle.busy, 3), "times_slower": self.throttle.factor},
            "watched": outside.dashboards(stages, now),
            "slowest": outside.slowest(stages, now),
            "plotly": {" ".join(map(str, key)): len(stream.viewers) for key, stream in self._streams.items()},
        }

    # Inside.

    def _stage(self, name: str) -> Stage:
        stage = self._stages.get(name)
        if stage is None:
            stage = self._stages[name] = Stage(name, self.views, self.health, self.throttle, self._clock())
            if self.entries is not None:
                stage.show(self.entries.get(name), self._clock())
            self._watched.set()
        return stage

    def _feed(self, reason: str) -> None:
        if reason:
            self.health.lost(reason, self._clock())
        else:
            self.health.back(self._clock())

    async def _follow(self) -> None:
        def away(reason: str) -> None:
            self.registry_away = reason

        async for entries in registry.watch(self._redis, away):
            self.entries = entries
            log.info("the registry has been read", dashboards=len(entries))
            for stage in self._stages.values():
                try:
                    stage.show(entries.get(stage.name), self._clock())
                except Exception as error:
                    self._faults.caught("dashboard", "a dashboard could not be shown", error, dashboard=stage.name)
            self._changed.ring()

    async def _tick_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._stages:
                self._rest()
                self._watched.clear()
                await self._watched.wait()
            begun = loop.time()
            self._changed.hush()
            try:
                await self._tick()
            except Exception as error:  # the next one is not worse for it
                self._faults.caught("tick", "a tick failed", error)
            took = loop.time() - begun
            metrics.TICKS.inc()
            metrics.TICK_SECONDS.observe(took)
            if took > TICK_S:
                metrics.OVERRUNS.inc()
            await asyncio.sleep(max(TICK_S - took, TICK_S / 10))
            self._observe(took)
            try:
                await self._something_to_say()
            except Exception as error:  # what a tick would stumble over, too: it comes in its time
                self._faults.caught("tick", "nobody knows when the next tick is due", error)

    def _rest(self) -> None:
        """Whoever comes after all have left is not told of what was too much before, nor kept away by it."""
        self.throttle.rest(self._clock())
        metrics.THROTTLE.set(self.throttle.factor)
        metrics.BUSY.set(self.throttle.busy)

    def _observe(self, took_s: float) -> None:
        before = self.throttle.factor
        if self.throttle.observe(took_s * 1_000, self._clock()):
            metrics.PACES.labels("down" if self.throttle.factor > before else "up", "gateway").inc()
            metrics.THROTTLE.set(self.throttle.factor)
            log.warning("all viewers get another rate", times_slower=self.throttle.factor, busy=round(self.throttle.busy, 2))
        metrics.BUSY.set(self.throttle.busy)

    async def _something_to_say(self) -> None:
        """Wait until a viewer is due something, or QUIET_S."""
        loop = asyncio.get_running_loop()
        until = loop.time() + QUIET_S
        while (left := until - loop.time()) > 0:
            due = self._due_in_s()
            if due is not None and due <= 0:
                return
            self._changed.hush()
            if await self._changed.wait(left if due is None else min(due, left)):
                await asyncio.sleep(SETTLE_S)

    def _due_in_s(self) -> float | None:
        """When a tick has something to say; None where nothing has changed.

        A tier that is due goes along with a change, also a little early. Without one it has its full time: the next change may be
        about to come, for it and for faster tiers, which would have to wait until they may be written to again.
        """
        times = [due for stage in self._stages.values() if (due := stage.due_at()) is not None]
        changed = self._changed.rung
        if self._streams and changed:
            times.append(0)
        return (min(times) + (0 if changed else SLACK_MS) - self._clock()) / 1_000 if times else None

    async def _tick(self) -> None:
        now = self._clock()
        self.writer.begin()
        for stage in list(self._stages.values()):
            for out in self._guarded(stage.name, stage.tick(now)):
                await self.writer.write(out)
                if out.message.kind == "delta":
                    stage.written(self._clock())
        for (name, _, _), stream in list(self._streams.items()):
            for out in self._guarded(name, stream.tick(now)):
                await self.writer.write(out)
        self._sweep(now)
        self._gauges.set(self._stages.values(), self._streams.values(), now)

    def _guarded(self, name: str, outs: Iterable[Out]) -> Iterable[Out]:
        """One dashboard's trouble is not the others'."""
        try:
            yield from outs
        except Exception as error:
            self._faults.caught("dashboard", "a tick of a dashboard failed", error, dashboard=name)

    def _lost(self, viewer: Viewer) -> None:
        for stage in self._stages.values():
            stage.leave(viewer, self._clock())
        for stream in self._streams.values():
            stream.leave(viewer)

    def _sweep(self, now: int) -> None:
        """Let go of what nobody has watched for a while."""
        for key, stream in list(self._streams.items()):
            if stream.idle:
                del self._streams[key]
                stream.stage.holders -= 1
                stream.stage.idle_since = now
        for stage in list(self._stages.values()):
            if stage.idle and now - stage.idle_since > LINGER_MS:
                stage.close()
                del self._stages[stage.name]
