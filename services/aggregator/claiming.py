"""Claiming: the fold with which a partition is taken over. As it was left, or new, from as far back as the dashboards look.

A new one goes on from the log before this one: from its counters, so that a log that began anew does not show as a dip, and from the sequences of
its ingestors, which write again what they had no answer for.
"""

from collections.abc import Sequence

import structlog
from redis.asyncio import Redis

from services.aggregator.catchup import Slot, check_lineage, first_time
from services.aggregator.fold import Fold
from services.aggregator.landmark import is_log_of
from services.aggregator.wanted import sampled
from services.contract.partials import COUNTERS, Config, FoldState
from services.contract.series import partition_of
from services.transport import partials
from services.transport.log import LogReader
from services.transport.settings import KafkaSettings

log = structlog.get_logger()


class Claiming:
    """Of one lineage. before: the logs before it, (name, partitions), the newest last."""

    def __init__(self, redis: Redis, kafka: KafkaSettings, lineage: str, before: Sequence[tuple[str, int]]) -> None:
        self._redis = redis
        self._kafka = kafka
        self._lineage = lineage
        self._before = before

    async def claim(self, partition: int, partitions: int, wanted: Config, questions: LogReader) -> Slot:
        """partitions: of the log; questions: a reader of it. LogError, redis errors: nothing is claimed."""
        slot = await self._slot(partition, partitions, wanted, questions)
        slot.before = await self._state_before(partition, partitions)
        return slot

    async def _slot(self, partition: int, partitions: int, wanted: Config, questions: LogReader) -> Slot:
        stored = await partials.load(self._redis, self._lineage, partition)
        if stored is not None and await is_log_of(self._kafka, questions, partition, stored.state.last):
            log.info("partition claimed", partition=partition, offset=stored.offset)
            return Slot(partition, Fold.load(stored), stored.config.digest, stored.stamp)
        live = sampled(wanted)  # what is rolled up is filled from further back, beside what is live
        if stored is not None:  # what lies there stays right when it is another log by its name, too
            await check_lineage(self._kafka, self._lineage)
        offset = (await questions.offsets_at(first_time(live), [partition]))[partition]
        if stored is not None:
            log.error(
                "what lies there was folded from another log, it is folded anew", partition=partition, offset=stored.offset
            )
            return Slot(partition, Fold.instead(stored, live, offset), stored.config.digest, stored.stamp)
        fold = Fold(live, offset)
        await self.go_on(fold, partition, partitions)
        log.info("partition begun", partition=partition, offset=fold.offset, lineage=self._lineage)
        return Slot(partition, fold, "")

    async def go_on(self, fold: Fold, partition: int, partitions: int) -> None:
        """Let a fold that has not begun yet go on from the log before this one."""
        if (state := await self._state_before(partition, partitions)) is not None:
            fold.remember(state)
        await self.seed(fold, partition, partitions)

    async def seed(self, fold: Fold, partition: int, partitions: int) -> None:
        """The counters of the log before, where they are still there."""
        if not self._before:
            return
        lineage, count = self._before[-1]
        same = count == partitions
        for other in [partition] if same else range(count):
            if (stored := await partials.load(self._redis, lineage, other, [COUNTERS])) is not None:
                for key, last in Fold.load(stored).counters.last().items():
                    if same or partition_of(key, partitions) == partition:
                        fold.counters.seed(key, last)

    async def _state_before(self, partition: int, partitions: int) -> FoldState | None:
        """How far the same partition of the log before was folded, where its partitions were these."""
        if not self._before or self._before[-1][1] != partitions:
            return None
        stored = await partials.load(self._redis, self._before[-1][0], partition, [])
        return stored.state if stored is not None else None
