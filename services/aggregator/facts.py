"""The facts that an aggregator goes by: what is asked for, which log it is, who else is alive, who watches. Kept up to date by small tasks.

The loop in `service` looks at them at every turn, and is woken when one changes. A fault of Redis or Kafka is told and waited out.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from redis.asyncio import Redis

from services.aggregator.lingering import Lingering
from services.aggregator.reach import Reach
from services.aggregator.wanted import Wanted, wanted
from services.contract.names import AGGREGATORS_CHANNEL, WATCHED, WATCHED_CHANNEL
from services.contract.registry import Entry
from services.runtime.logs import Reasons
from services.transport import registry
from services.transport.feed import FeedErrors, Subscription
from services.transport.lineage import LineageWatch
from services.transport.log import LogError
from services.transport.membership import RENEW_S, Membership
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

LINEAGE_S: Final = 2.0  # it is looked at at once when the log cannot be read
LINEAGE_FAST_S: Final = 0.1  # while the log is away
RETRY_S: Final = 0.25
WATCHED_S: Final = 2.5


class Facts:
    """changed: something is to be taken up, or somebody began to watch. None and empty: not known yet."""

    def __init__(self, redis: Redis, kafka: KafkaSettings, membership: Membership) -> None:
        self.changed = asyncio.Event()
        self.wanted: Wanted | None = None
        self.lineage: str | None = None
        self.partitions = 0
        self.membership = membership
        self.reach = Reach()
        self.feed_error = "not reached yet"
        self._feed_reasons, self._log_reasons = Reasons(), Reasons()
        self._redis = redis
        self._watch = LineageWatch(kafka)
        self._watched_until = 0.0
        self._entries: Mapping[str, Entry] | None = None
        self._cap_ms = 0
        self._lingering = Lingering()
        self._others = asyncio.Event()
        self._log_doubted = asyncio.Event()

    async def follow(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_registry())
            tasks.create_task(self._hold_lease())
            tasks.create_task(self._follow_lineage())
            tasks.create_task(self._listen())

    async def stop(self) -> None:
        await self._watch.stop()

    @property
    def watched(self) -> bool:
        return time.monotonic() < self._watched_until

    async def wait(self, seconds: float) -> None:
        """Until something changes, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self.changed.wait()
        self.changed.clear()

    async def every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Do something now and then, over every fault of Redis."""
        while True:
            try:
                await work()
            except FeedErrors as error:
                self.feed_away(error)
                await asyncio.sleep(min(seconds, RETRY_S))
                continue
            await asyncio.sleep(seconds)

    def log_away(self, reason: str) -> None:
        self.reach.away(reason, int(time.time() * 1000))
        if self._log_reasons.new(reason):
            log.warning("the log does not answer", reason=reason)
        self._log_doubted.set()

    def log_back(self) -> None:
        if self.reach.back(int(time.time() * 1000)):
            self._log_reasons.over()
            log.info("the log answers")

    def feed_away(self, error: BaseException) -> None:
        """Why is told once, until it is back."""
        self.feed_error = str(error) or type(error).__name__
        if self._feed_reasons.new(self.feed_error):
            log.warning("the feed does not answer", reason=self.feed_error)

    def feed_back(self) -> None:
        """It answers; where it never did, there is nothing that it would be asked for yet."""
        if self.membership.members:
            self.feed_error = ""

    async def _follow_registry(self) -> None:
        async for entries in registry.watch(self._redis):
            self._entries = entries
            before = self.wanted.views if self.wanted else {}
            self._lingering.leave(before, wanted(entries, self._cap_ms).views, time.monotonic())
            try:
                await self._let_go()
            except FeedErrors as error:
                self.feed_away(error)  # it is looked at again, every second
            self._ask()

    async def _let_go(self) -> bool:
        """Of what nobody watches any more; whether there was something."""
        if not (lingering := list(self._lingering.views)):
            return False
        now = int(time.time() * 1000)
        until = await self._redis.zmscore(WATCHED, lingering)
        watched = {view_id for view_id, at in zip(lingering, until, strict=True) if at is not None and at >= now}
        return self._lingering.keep(watched, time.monotonic())

    def keep_coarse(self, cap_ms: int) -> None:
        """For how long coarse data is kept at most from now on, 0: for as long as dashboards say."""
        if cap_ms != self._cap_ms:
            self._cap_ms = cap_ms
            self._ask()

    def _ask(self) -> None:
        if self._entries is None:
            return
        asked = wanted(self._entries, self._cap_ms, self._lingering.views)
        if self.wanted is None or (asked.views, asked.config) != (self.wanted.views, self.wanted.config):
            self.wanted = asked
            self.changed.set()

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
            self.log_away(str(error))
            return False
        if name is not None and (name != self.lineage or self._watch.partitions > self.partitions):
            self.lineage, self.partitions = name, self._watch.partitions  # of one log there are never fewer than before
            self.changed.set()
        return name is not None

    async def _listen(self) -> None:
        """Hear at once what is also checked once a second: that somebody watches, that another aggregator came or left."""
        bells = {WATCHED_CHANNEL: self._somebody_watches, AGGREGATORS_CHANNEL: self._others.set}
        subscription = Subscription(self._redis, _Bells(bells))
        subscription.add(*bells)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(subscription.run())
            tasks.create_task(self.every(1.0, self._check_watched))

    async def _check_watched(self) -> None:
        now = int(time.time() * 1000)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zremrangebyscore(WATCHED, "-inf", now - 60_000)
            pipe.zcount(WATCHED, now, "+inf")
            _, watched = await pipe.execute()
        if watched:
            self._somebody_watches()
        if await self._let_go():
            self._ask()

    def _somebody_watches(self) -> None:
        if not self.watched:
            self.changed.set()
        self._watched_until = time.monotonic() + WATCHED_S

    async def _hold_lease(self) -> None:
        """Renew the lease, at once when another aggregator came or left."""
        while True:
            self._others.clear()
            try:
                before = self.membership.members
                if await self.membership.renew() != before:
                    self.changed.set()
            except FeedErrors as error:
                self.feed_away(error)
                await asyncio.sleep(RETRY_S)
                continue
            self._feed_reasons.over()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._others.wait()


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
