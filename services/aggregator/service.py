"""The aggregator as a service: what it follows, and the one loop that folds, commits and merges.

Around that loop, small tasks keep facts up to date: the registry, who else is alive, which log it is, who watches. The loop looks at
them at every turn; when they changed, it takes up other partitions and views. A fault of Redis or Kafka is waited out.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis

from services.aggregator import metrics, ownership
from services.aggregator.folding import Folding
from services.aggregator.membership import RENEW_S, Membership
from services.aggregator.merging import Merging
from services.aggregator.reach import Reach
from services.aggregator.settings import AggregatorSettings
from services.aggregator.wanted import Wanted, wanted
from services.contract.history import HistoryError
from services.contract.names import AGGREGATOR_BEATS, AGGREGATORS_CHANNEL, WATCHED, WATCHED_CHANNEL
from services.contract.partials import PartialsError
from services.contract.views import Beat
from services.transport import lineages, registry
from services.transport.feed import FeedErrors, Subscription, connect
from services.transport.lineage import LineageWatch
from services.transport.log import LogError, LogReader
from services.transport.settings import KafkaSettings, RedisSettings

log = structlog.get_logger()

BEAT_S: Final = 1.0
DRAIN_MS: Final = 60  # a little more than the embedded broker holds a fetch that finds nothing
LINEAGE_S: Final = 2.0  # it is looked at at once when the log cannot be read
LINEAGE_FAST_S: Final = 0.1  # while the log is away
RETRY_S: Final = 0.25
KEEP_LINEAGE_MS: Final = 600_000  # beyond the longest window


class Aggregator:
    """One aggregator process."""

    name = "aggregator"

    def __init__(self, settings: AggregatorSettings, kafka: KafkaSettings, redis: RedisSettings) -> None:
        self._settings = settings
        self._kafka = kafka
        self._redis: Redis = connect(redis)
        self._membership = Membership(self._redis, settings.instance or socket.gethostname(), settings.lease_ms)
        self._merging = Merging(self._redis, settings.disorder_ms, settings.idle_ms)
        self._folding: Folding | None = None
        self._watch = LineageWatch(kafka)
        self._wanted: Wanted | None = None
        self._lineage: str | None = None
        self._lineages: list[tuple[str, int]] = []
        self._taken: tuple[object, ...] = ()
        self._watched_until = 0.0
        self._wake = asyncio.Event()
        self._others = asyncio.Event()
        self._log_doubted = asyncio.Event()
        self._reach = Reach()
        self._feed_error = "not reached yet"
        self._last_turn = time.monotonic()
        self._committed_at = 0.0

    async def start(self) -> None:
        """Nothing to wait for: whatever is not there yet is waited for in `run`."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_registry())
            tasks.create_task(self._hold_lease())
            tasks.create_task(self._every(BEAT_S, self._beat))
            tasks.create_task(self._follow_lineage())
            tasks.create_task(self._listen())
            tasks.create_task(self._loop())

    async def stop(self) -> None:
        if self._folding is not None:
            with contextlib.suppress(*FeedErrors, LogError, PartialsError, HistoryError):
                await self._commit()
            await self._folding.stop()
        await self._watch.stop()
        with contextlib.suppress(*FeedErrors):
            await self._membership.leave()
        await self._redis.aclose()

    def readiness(self) -> str:
        if self._feed_error:
            return f"feed: {self._feed_error}"
        if self._reach.error:
            return f"log: {self._reach.error}"
        return "" if self._taken else "partitions are not claimed yet"

    def liveness(self) -> str:
        silent = time.monotonic() - self._last_turn
        return "" if silent < 30 else f"the loop has not turned for {silent:.0f} s"

    def status(self) -> dict[str, object]:
        folding = self._folding
        return {
            "instance": self._membership.instance,
            "members": sorted(self._membership.members),
            "lineage": self._lineage,
            "feed": self._feed_error or "ok",
            "log": self._reach.error or "ok",
            "lag": folding.lag() if folding else None,
            "watched": self._watched,
            "views": self._merging.views,
            "partitions": folding.status() if folding else {},
        }

    # The loop

    async def _loop(self) -> None:
        while True:
            self._last_turn = time.monotonic()
            try:
                await self._turn()
                self._feed_error = ""
            except LogError as error:
                self._log_away(str(error))
                await asyncio.sleep(RETRY_S)
            except (*FeedErrors, PartialsError, HistoryError) as error:
                self._feed_away(error)  # what another version wrote is waited out too: whoever reads it may be on its way
                await asyncio.sleep(RETRY_S)

    async def _turn(self) -> None:
        """Take up what changed, read, fold, and when it is time commit and merge."""
        folding = await self._take_up()
        if folding is None:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._wake.wait()
            return
        due = self._committed_at + self._tick_s
        try:
            if not self._watched and folding.lag() == 0 and not folding.dirty:
                await self._rest(due)
                await folding.drain(DRAIN_MS)
            left = max(0.0, due - time.monotonic()) if folding.dirty else min(self._tick_s, 0.25)
            await folding.poll(int(left * 1000))
            self._log_back()
        except LogError as error:  # what was folded before goes its way nevertheless
            self._log_away(str(error))
            await asyncio.sleep(RETRY_S)
        if time.monotonic() >= due or folding.crowded:
            await self._commit()

    async def _rest(self, until: float) -> None:
        """While nobody watches, what comes in a second is folded at once: a tenth of the passes, and as many cells."""
        self._wake.clear()
        if not self._watched:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    await self._wake.wait()

    async def _commit(self) -> None:
        if (folding := self._folding) is None:
            return
        self._committed_at = time.monotonic()
        readable = not self._reach.error
        try:
            entries = await folding.commit()
            await self._merging.follow(entries)
            await self._merging.step({partition: readable and folding.caught_up(partition) for partition in folding.slots})
        except BaseException:
            self._merging.doubt()
            raise

    async def _take_up(self) -> Folding | None:
        """Follow the facts: the log's lineage, what is asked for, what is ours. None while something is not known yet."""
        lineage, asked, members = self._lineage, self._wanted, self._membership.members
        if lineage is None or asked is None or not members:
            return None
        if self._folding is None or self._folding.lineage != lineage:
            await self._begin(lineage)
        folding = self._folding
        if folding is None:
            return None
        owned = ownership.owned(self._membership.instance, folding.partitions, members)
        facts = (lineage, folding.partitions, owned, asked)
        if facts != self._taken:
            views = {k: v for k, v in asked.views.items() if ownership.merger(k, folding.partitions) in owned}
            await folding.want(owned, asked.config)
            await self._merging.want(self._lineages, owned, views, asked.views)
            self._taken = facts
            metrics.PARTITIONS.set(len(owned))
            log.info("taken up", lineage=lineage, partitions=sorted(owned), views=len(views))
        return folding

    async def _begin(self, lineage: str) -> None:
        """Fold another log from now on; cells of the one before go on to count while they are in the windows."""
        if self._folding is not None:
            await self._commit()  # the log that is over cannot be read again
            await self._folding.stop()
            self._folding = None
            self._taken = ()
        reader = LogReader(self._kafka)
        try:
            partitions = await reader.partitions()
        finally:
            await reader.stop()
        if partitions == 0:
            return
        known = await lineages.enter(self._redis, lineage, partitions, int(time.time() * 1000))
        keep = max(self._wanted.config.retentions.values(), default=0) if self._wanted else 0
        before = [item for item in known[:-1] if await lineages.retire(self._redis, *item, keep + KEEP_LINEAGE_MS)]
        self._lineages = [*before, known[-1]]
        self._folding = Folding(self._redis, self._kafka, lineage, partitions, before)
        log.info("log begun", lineage=lineage, partitions=partitions, before=[name for name, _ in before])

    # The facts

    async def _follow_registry(self) -> None:
        async for entries in registry.watch(self._redis):
            asked = wanted(entries)
            if self._wanted is None or (asked.views, asked.config) != (self._wanted.views, self._wanted.config):
                self._wanted = asked
                self._wake.set()

    async def _follow_lineage(self) -> None:
        while True:
            if not await self._look_at_lineage():
                await asyncio.sleep(LINEAGE_FAST_S)
                continue
            self._log_doubted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINEAGE_S):
                    await self._log_doubted.wait()

    async def _look_at_lineage(self) -> bool:
        """Whether the log says which one it is."""
        try:
            name = await self._watch.current()
        except LogError as error:
            self._log_away(str(error))
            return False
        if name is not None and name != self._lineage:
            self._lineage = name
            self._wake.set()
        return name is not None

    async def _listen(self) -> None:
        """Hear at once what is also checked once a second: that somebody watches, that another aggregator came or left."""
        bells = {WATCHED_CHANNEL: self._somebody_watches, AGGREGATORS_CHANNEL: self._others.set}
        subscription = Subscription(self._redis, _Bells(bells))
        subscription.add(*bells)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(subscription.run())
            tasks.create_task(self._every(1.0, self._check_watched))

    async def _check_watched(self) -> None:
        now = int(time.time() * 1000)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zremrangebyscore(WATCHED, "-inf", now - 60_000)
            pipe.zcount(WATCHED, now, "+inf")
            _, watched = await pipe.execute()
        if watched:
            self._somebody_watches()

    def _somebody_watches(self) -> None:
        if not self._watched:
            self._wake.set()
        self._watched_until = time.monotonic() + 2.5

    @property
    def _watched(self) -> bool:
        return time.monotonic() < self._watched_until

    @property
    def _tick_s(self) -> float:
        return (self._settings.tick_ms if self._watched else self._settings.idle_tick_ms) / 1000

    async def _hold_lease(self) -> None:
        """Renew the lease, at once when another aggregator came or left."""
        while True:
            self._others.clear()
            try:
                before = self._membership.members
                if await self._membership.renew() != before:
                    self._wake.set()
            except FeedErrors as error:
                self._feed_away(error)
                await asyncio.sleep(RETRY_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._others.wait()

    async def _beat(self) -> None:
        lag = self._folding.lag() if self._folding else 0
        metrics.LAG.set(lag)
        owned = sorted(self._folding.slots) if self._folding else []
        now = int(time.time() * 1000)
        beat = Beat(now, *self._reach.told(now), lag, owned)
        await self._redis.hset(AGGREGATOR_BEATS, self._membership.instance, msgspec.json.encode(beat))
        if self._folding:
            await self._folding.check()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except FeedErrors as error:
                self._feed_away(error)
                await asyncio.sleep(min(seconds, RETRY_S))
                continue
            await asyncio.sleep(seconds)

    def _log_away(self, reason: str) -> None:
        if self._reach.away(reason, int(time.time() * 1000)):
            log.warning("the log does not answer", reason=reason)
        self._log_doubted.set()

    def _log_back(self) -> None:
        if self._reach.back(int(time.time() * 1000)):
            log.info("the log answers")

    def _feed_away(self, error: BaseException) -> None:
        if not self._feed_error:
            log.warning("the feed does not answer", reason=str(error))
        self._feed_error = str(error) or type(error).__name__


class _Bells:
    """Rings the channel's bell when something is received on it."""

    def __init__(self, bells: Mapping[str, Callable[[], None]]) -> None:
        self._bells = bells

    def subscribed(self, channel: str) -> None:
        """Nothing was missed that the check once a second would not find."""

    def received(self, channel: str, data: bytes) -> None:
        self._bells[channel]()

    def lost(self, reason: str) -> None:
        """The subscription comes back by itself."""


def create(settings: AggregatorSettings, kafka: KafkaSettings, redis: RedisSettings) -> Aggregator:
    return Aggregator(settings, kafka, redis)
