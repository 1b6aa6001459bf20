"""The aggregator as a service: the one loop that takes up what `facts` say, folds, commits and merges.

A fault of Redis or Kafka is waited out, and nothing more is read meanwhile than one commit would hold.
"""

import asyncio
import contextlib
import socket
import time
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis

from services.aggregator import metrics
from services.aggregator.facts import RETRY_S, Facts
from services.aggregator.folding import Folding
from services.aggregator.merging import Merging
from services.aggregator.others import Others
from services.aggregator.rests import PATIENCE_S, PAUSE, PORTION_S, Rests
from services.aggregator.retention import judge
from services.aggregator.room import WEIGH_S, Room
from services.aggregator.settings import AggregatorSettings
from services.aggregator.sweeping import SWEEP_S, sweep
from services.aggregator.wanted import Wanted
from services.contract import ownership
from services.contract.history import HistoryError
from services.contract.names import AGGREGATOR_BEATS
from services.contract.partials import PartialsError
from services.contract.views import Beat
from services.runtime.garbage import Garbage
from services.runtime.service import StartupError
from services.transport import lineages
from services.transport.feed import FeedErrors, connect
from services.transport.feed_cluster import Holders
from services.transport.feed_connection import cluster_of
from services.transport.log import LogError
from services.transport.log_configs import retention_ms
from services.transport.membership import Membership, beats
from services.transport.settings import KafkaSettings, RedisSettings

log = structlog.get_logger()

BEAT_MS: Final = 400  # while somebody watches: viewers hear within 2 s that nothing is aggregated any more
IDLE_BEAT_MS: Final = 1_000
LOOK_S: Final = 1.0
SILENT_S: Final = 0.3  # after an answer of the log is due; what stands still may come back within `reach.GRACE_MS` untold
MERGE_S: Final = 0.008
"""What it takes to compute a portion of what a view owes, and to store it."""
RESTFUL_LAG: Final = 200  # records; what came while the last commit was under way is no reason to go on at once
DRAIN_MS: Final = 60  # a little more than the embedded broker holds a fetch that finds nothing
KEEP_LINEAGE_MS: Final = 600_000  # beyond the longest window
STUCK_S: Final = 30.0
IN_PART: Final = ("in part",)  # are facts that never were


class Aggregator:
    """One aggregator process. garbage: how Python's collector is set, where the process is this aggregator's alone."""

    name = "aggregator"

    def __init__(
        self, settings: AggregatorSettings, kafka: KafkaSettings, redis: RedisSettings, garbage: Garbage | None = None
    ) -> None:
        self._settings = settings
        self._garbage = garbage
        self._kafka = kafka
        self._redis: Redis = connect(redis)
        self._holders = Holders(cluster_of(self._redis))
        self._membership = Membership(self._redis, settings.instance or socket.gethostname(), settings.lease_ms)
        self._facts = Facts(self._redis, kafka, self._membership)
        self._merging = Merging(self._redis, settings.disorder_ms, settings.idle_ms)
        self._others = Others()
        self._rests = Rests()
        self._folding: Folding | None = None
        self._lineages: list[tuple[str, int]] = []
        self._taken: tuple[object, ...] = ()
        self._judged = ""  # digest of what was asked for when the log's retention was last looked at
        self._retention = ""
        self._room = Room(self._redis, self._facts, settings.memory_budget_mb << 20)
        self._last_turn = time.monotonic()
        self._beaten_at = 0.0
        self._committed_at = 0.0
        self._merged_at = 0.0

    async def start(self) -> None:
        """Nothing to wait for: whatever is not there yet is waited for in `run`."""
        if self._garbage:
            self._garbage.begin()

    async def run(self) -> None:
        try:
            await self._run()
        except BaseExceptionGroup as group:
            refused = group.subgroup(StartupError)
            while refused is not None:
                error = refused.exceptions[0]
                if isinstance(error, StartupError):
                    raise error from None
                refused = error
            raise

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._facts.follow())
            tasks.create_task(self._facts.every(BEAT_MS / 1000, self._beat))
            tasks.create_task(self._facts.every(LOOK_S, self._look))
            tasks.create_task(self._facts.every(SWEEP_S, self._sweep))
            tasks.create_task(self._facts.every(WEIGH_S, self._room.look))
            tasks.create_task(self._loop())

    async def stop(self) -> None:
        with contextlib.suppress(*FeedErrors, LogError, PartialsError, HistoryError):
            await self._commit()
        with contextlib.suppress(*FeedErrors):
            await self._membership.leave()  # before connections are closed: others wait for it
        if self._folding is not None:
            await self._folding.stop()
        await self._facts.stop()
        await self._redis.aclose()
        if self._garbage:
            self._garbage.end()

    def readiness(self) -> str:
        if self._facts.feed_error:
            return f"feed: {self._facts.feed_error}"
        if self._facts.reach.error:
            return f"log: {self._facts.reach.error}"
        if self._room.evicts:
            return f"feed: {self._room.evicts}"
        return "" if self._taken else "partitions are not claimed yet"

    def liveness(self) -> str:
        silent = time.monotonic() - self._last_turn
        return "" if silent < STUCK_S else f"the loop has not turned for {silent:.0f} s"

    def status(self) -> dict[str, object]:
        folding, facts = self._folding, self._facts
        return {
            "instance": self._membership.instance,
            "members": sorted(self._membership.members),
            "lineage": facts.lineage,
            "feed": facts.feed_error or "ok",
            "log": facts.reach.error or "ok",
            "retention": self._retention or "ok",
            "memory": self._room.status(),
            "lag": folding.lag() if folding else None,
            "looked_s_ago": folding.looked_s_ago() if folding else None,
            "watched": facts.watched,
            "views": self._merging.views,
            "notes": self._merging.notes(),
            "partitions": folding.status() if folding else {},
        }

    async def _loop(self) -> None:
        away = False
        while True:
            self._last_turn = time.monotonic()
            try:
                await self._turn()
                self._facts.feed_back()
                if away != (away := self._facts.reach.told(int(time.time() * 1000))[0] is None):
                    self._beaten_at = 0.0  # that is news, and does not wait for its turn
                    await self._beat()
            except LogError as error:
                self._facts.log_away(str(error))
                await asyncio.sleep(RETRY_S)
            except (*FeedErrors, PartialsError, HistoryError) as error:
                self._facts.feed_away(error)  # what another version wrote is waited out too: whoever reads it may be on its way
                await asyncio.sleep(RETRY_S)

    async def _turn(self) -> None:
        """Take up what changed, read, fold, and when it is time commit and merge."""
        folding = await self._take_up()
        if folding is None:
            await self._facts.wait(1.0)
            return
        due = self._committed_at + self._tick_s
        try:
            merged_s = await self._merge_on(due) if self._merging.behind else 0.0
            if not (merged_s or self._facts.watched) and folding.lag() < RESTFUL_LAG and not folding.unstored:
                # While nobody watches, what comes in a second is folded at once: a tenth of the passes, and as many cells.
                with self._rests.until(due):
                    await self._facts.wait(due - time.monotonic())
                await folding.drain(DRAIN_MS)
            if not folding.crowded:  # while the feed takes nothing, nothing more is read than one commit holds
                left = max(0.0, due - time.monotonic()) if folding.dirty else min(self._tick_s, 0.25)
                left = min(left, PAUSE * merged_s) if merged_s else left
                with self._rests.until(time.monotonic() + left):
                    await folding.poll(int(left * 1000))
                if (silent_s := folding.silent_s()) > SILENT_S:
                    self._facts.log_away(f"Kafka has not answered for {silent_s:.1f} s")
                else:
                    self._facts.log_back()
        except LogError as error:  # what was folded before goes its way nevertheless
            self._facts.log_away(str(error))
            await asyncio.sleep(RETRY_S)
        if time.monotonic() >= due or folding.crowded:
            await self._commit()

    async def _merge_on(self, due: float) -> float:
        """Compute some of what views owe, if that holds up no commit, or if none has been computed for long. How many seconds of the processor it took, 0 where it was not done."""
        now, began = time.monotonic(), time.thread_time()
        if due - now < MERGE_S and now - self._merged_at < PATIENCE_S:
            return 0.0
        try:
            await self._merging.go_on(PORTION_S)
        except BaseException:
            self._merging.doubt()
            raise
        self._merged_at = time.monotonic()
        return time.thread_time() - began

    async def _commit(self, *, last: bool = False) -> None:
        if (folding := self._folding) is None:
            return
        self._committed_at = time.monotonic()
        try:
            entries = await folding.commit(last=last)
            await self._merging.follow(entries)
            await self._merging.step(self._caught_up(folding))
        except BaseException:
            self._merging.doubt()
            raise

    def _caught_up(self, folding: Folding) -> dict[int, bool]:
        """Of each partition whether all of it is folded, whoever folds it."""
        readable, now = not self._facts.reach.error, int(time.time() * 1000)
        return {
            partition: readable and folding.caught_up(partition)
            if partition in folding.slots
            else self._others.caught_up(partition, now)
            for partition in range(folding.partitions)
        }

    async def _take_up(self) -> Folding | None:
        """Follow the facts: the log's lineage, what is asked for, what is ours. None while something is not known yet."""
        lineage, asked, members = self._facts.lineage, self._facts.wanted, self._membership.members
        if lineage is None or asked is None or not members:
            return None
        if self._folding is None or self._folding.lineage != lineage:
            await self._begin(lineage)
        folding = self._folding
        if folding is None:
            return None
        if (partitions := self._facts.partitions) > folding.partitions:
            await self._grow(folding, partitions)
        owned = ownership.owned(self._membership.instance, folding.partitions, members)
        facts = (lineage, folding.partitions, owned, asked)
        if facts != self._taken:
            await self._check_retention(asked)
            views = {k: v for k, v in asked.views.items() if ownership.merger(k, folding.partitions) in owned}
            if self._taken:  # what fails half-way is taken up again, also where the facts are by then what they were before
                self._taken = IN_PART
            await folding.want(owned, asked.config)
            await self._merging.want(self._lineages, owned, views, asked.views)
            self._taken = facts
            metrics.PARTITIONS.set(len(owned))
            log.info("taken up", lineage=lineage, partitions=sorted(owned), views=len(views))
        return folding

    async def _begin(self, lineage: str) -> None:
        """Fold another log from now on; cells of the one before go on to count while they are in the windows."""
        if self._folding is not None:
            await self._commit(last=True)
            await self._folding.stop()
            self._folding = None
            self._taken = ()
        if (partitions := self._facts.partitions) == 0:
            return
        known = await lineages.enter(self._redis, lineage, partitions, int(time.time() * 1000))
        asked = self._facts.wanted
        keep = max(asked.config.retentions.values(), default=0) if asked else 0
        before = [item for item in known[:-1] if await lineages.retire(self._redis, *item, keep + KEEP_LINEAGE_MS)]
        self._lineages = [*before, known[-1]]
        self._folding = Folding(self._redis, self._kafka, lineage, partitions, before, self._rests)
        log.info("log begun", lineage=lineage, partitions=partitions, before=[name for name, _ in before])

    async def _check_retention(self, asked: Wanted) -> None:
        """StartupError where the log keeps too little for what is asked at the start; of what is asked later, a warning."""
        if self._judged == asked.config.digest:
            return
        verdict = judge(await retention_ms(self._kafka), asked.config, self._settings.outage_ms)
        if verdict.refusal and not self._judged:
            raise StartupError(verdict.refusal)
        self._judged = asked.config.digest
        if (said := verdict.refusal or verdict.warning) != self._retention:
            self._retention = said
            if said:
                log.warning("the log keeps too little", reason=said)

    async def _grow(self, folding: Folding, partitions: int) -> None:
        """The log has more partitions than before. What the old ones hold stays and goes on, and cells add up over all."""
        log.info("the log has more partitions", before=folding.partitions, now=partitions)
        present = (await lineages.enter(self._redis, folding.lineage, partitions, int(time.time() * 1000)))[-1]
        self._lineages = [*folding.before, present]
        folding.partitions = partitions

    @property
    def _tick_s(self) -> float:
        return (self._settings.tick_ms if self._facts.watched else self._settings.idle_tick_ms) / 1000

    async def _beat(self) -> None:
        every_ms = BEAT_MS if self._facts.watched else IDLE_BEAT_MS
        if time.monotonic() - self._beaten_at < (every_ms - BEAT_MS) / 1000:
            return
        self._beaten_at = time.monotonic()
        folding = self._folding
        owned = sorted(folding.slots) if folding else []
        caught_up = [partition for partition in owned if folding and folding.caught_up(partition, stored=True)]
        now = int(time.time() * 1000)
        told = self._facts.reach.told(now)
        lag = sum((folding.lags() if folding else {}).values())
        beat = Beat(now, *told, lag, owned, [] if self._facts.reach.error else caught_up, every_ms)
        await self._redis.hset(AGGREGATOR_BEATS, self._membership.instance, msgspec.json.encode(beat))

    async def _look(self) -> None:
        """See how far it is, and what the others say."""
        if await self._holders.changed():
            log.warning("other servers hold what lies in the feed, it is read again")
            self._merging.doubt()
        folding = self._folding  # another log may begin while this waits for Redis
        lags = folding.lags() if folding else {}
        metrics.LOG_PARTITIONS.set(self._facts.partitions)
        metrics.LAG.set(sum(lags.values()))
        metrics.PARTITION_LAG.clear()  # others have those that went
        for partition, behind in lags.items():
            metrics.PARTITION_LAG.labels(str(partition)).set(behind)
        if folding and len(folding.slots) < folding.partitions:
            self._others.heard(await beats(self._redis), int(time.time() * 1000))
        if folding:
            await lineages.keep(self._redis, self._lineages, int(time.time() * 1000))
            await folding.check()
            await folding.look()

    async def _sweep(self) -> None:
        """One of all aggregators does it: whoever has the first partition."""
        while self._folding is None or not self._taken:  # noqa: ASYNC110, once, at the beginning
            await asyncio.sleep(RETRY_S)
        if 0 in self._folding.slots:
            await sweep(self._redis, self._facts.wanted.views if self._facts.wanted else ())


def create(settings: AggregatorSettings, kafka: KafkaSettings, redis: RedisSettings) -> Aggregator:
    return Aggregator(settings, kafka, redis, Garbage(metrics.GC_PAUSE))
