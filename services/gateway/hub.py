"""The hub of a gateway: the stages that somebody watches, the clock that ticks for them, and the registry that they follow.

The only task that writes to viewers is `run`: ten times a second at most, and never while nobody watches. A tick comes as
soon as there is a change and the last one is long enough ago, so that frames fall into step with the commits of the
aggregator instead of waiting for a clock of their own. What is written, stages and streams decide.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from services.contract.history import ViewHistory
from services.contract.live import Since, Snapshot
from services.contract.registry import Entry
from services.contract.views import View
from services.gateway import metrics
from services.gateway.dashboard import HZ
from services.gateway.health import Health
from services.gateway.outgoing import Outgoing
from services.gateway.past import MAX_CELLS, ParameterError
from services.gateway.pulse import Pulse
from services.gateway.stage import LINGER_MS, Out, Stage, Viewer
from services.gateway.streams import PanelStream
from services.gateway.views import Views
from services.transport import registry
from services.transport.history import read_range

log = structlog.get_logger()

TICK_S: Final = 1 / HZ  # between two ticks, at least
SETTLE_S: Final = 0.005  # after a change: others of the same commit come along
QUIET_S: Final = 0.25  # without a change: time for signs of life, and for what is away
LOOK_S: Final = 0.02
PAST_READERS: Final = 2  # at once: who looks back waits, who watches does not
SLICE: Final = 200  # sends before others get their turn, about 2 ms


def wall_clock() -> int:
    """Now, epoch ms."""
    return time.time_ns() // 1_000_000


class Hub:
    def __init__(self, redis: Redis, clock: Callable[[], int] = wall_clock) -> None:
        self._redis = redis
        self._clock = clock
        self.health = Health(clock())
        self.views = Views(redis, clock, self._feed)
        self._pulse = Pulse(redis, self.views, self.health, clock, self._feed)
        self.entries: dict[str, Entry] | None = None
        self.registry_away = ""
        self._stages: dict[str, Stage] = {}
        self._streams: dict[tuple[str, str, int], PanelStream] = {}
        self._watched = asyncio.Event()
        self._changed = asyncio.Event()
        self._readers = asyncio.Semaphore(PAST_READERS)
        self.views.on_changed = self._changed.set

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.views.run())
            tasks.create_task(self._pulse.run())
            tasks.create_task(self._follow())
            tasks.create_task(self._tick_on())

    # For viewers.

    def subscribe(self, viewer: Viewer, dashboard: str, since: Since | None) -> None:
        self._stage(dashboard).subscribe(viewer, since, self._clock())

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
        self._changed.set()

    def depart(self, viewer: Viewer, dashboard: str, panel: str, max_points: int) -> None:
        if stream := self._streams.get((dashboard, panel, max_points)):
            stream.leave(viewer)

    @asynccontextmanager
    async def snapshot(self, dashboard: str, patience_s: float) -> AsyncIterator[tuple[Stage, Snapshot | None]]:
        """The stage, and its snapshot when it could be read in time."""
        stage = self._stage(dashboard)
        stage.holders += 1
        try:
            for _ in range(round(patience_s / LOOK_S)):
                if stage.ready or stage.fault:
                    break
                await asyncio.sleep(LOOK_S)
            yield stage, stage.message(self._clock()) if stage.ready else None
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
        return {
            "registry": None if self.entries is None else {name: _described(entry) for name, entry in self.entries.items()},
            "feed": {"away": self.health.feed_away or None, "views": len(self.views)},
            "watched": {
                stage.name: {
                    "viewers": len(stage.viewers) + len(stage.waiting),
                    "ready": stage.ready,
                    "epoch": stage.picture.epoch if stage.picture else None,
                    "versions": {held.view: held.state.version for held in stage.held},
                    "away": [{"part": part.part, "since": part.since, "reason": part.reason} for part in stage.parts],
                }
                for stage in self._stages.values()
            },
            "plotly": {" ".join(map(str, key)): len(stream.viewers) for key, stream in self._streams.items()},
        }

    # Inside.

    def _stage(self, name: str) -> Stage:
        stage = self._stages.get(name)
        if stage is None:
            stage = self._stages[name] = Stage(name, self.views, self.health, self._clock())
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
                stage.show(entries.get(stage.name), self._clock())
            self._changed.set()

    async def _tick_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._stages:
                self._watched.clear()
                await self._watched.wait()
            begun = loop.time()
            self._changed.clear()
            await self._tick()
            took = loop.time() - begun
            metrics.TICKS.inc()
            metrics.TICK_SECONDS.observe(took)
            await asyncio.sleep(max(TICK_S - took, TICK_S / 10))
            await self._something_to_say()

    async def _something_to_say(self) -> None:
        if self._changed.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await self._changed.wait()
                await asyncio.sleep(SETTLE_S)

    async def _tick(self) -> None:
        now = self._clock()
        for stage in list(self._stages.values()):
            for message, viewers in self._guarded(stage.name, stage.tick(now)):
                await self._write(message, viewers)
                if message.kind == "delta":
                    stage.written(self._clock())
        for (name, _, _), stream in list(self._streams.items()):
            for message, viewers in self._guarded(name, stream.tick(now)):
                await self._write(message, viewers)
        self._sweep(now)
        self._count()

    def _guarded(self, name: str, outs: Iterable[Out]) -> Iterable[Out]:
        """One dashboard's trouble is not the others'."""
        try:
            yield from outs
        except Exception:
            log.exception("a tick of a dashboard failed", dashboard=name)

    async def _write(self, message: Outgoing, viewers: list[Viewer]) -> None:
        for at in range(0, len(viewers), SLICE):
            if at:
                await asyncio.sleep(0)
            for viewer in viewers[at : at + SLICE]:
                viewer.send(message)
        metrics.FRAMES.labels(message.kind).inc(len(viewers))
        metrics.BYTES.inc(len(message) * len(viewers))

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

    def _count(self) -> None:
        stages, streams = self._stages.values(), self._streams.values()
        metrics.DASHBOARDS.set(len(stages))
        viewers = [*(stage.viewers for stage in stages), *(stream.viewers for stream in streams)]
        metrics.VIEWERS.set(sum(map(len, viewers)) + sum(len(stage.waiting) for stage in stages))
        away = [part.part for stage in stages for part in stage.parts]
        for part in ("feed", "aggregator", "log", "samples"):
            metrics.PARTS_AWAY.labels(part).set(away.count(part))


def _described(entry: Entry) -> dict[str, Any]:
    return {"revision": entry.revision, "source": entry.source, "fault": entry.fault.reason if entry.fault else None}
