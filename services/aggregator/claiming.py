"""Claiming: the fold with which a partition is taken over. As it was left, or new, from as far back as the dashboards look.

A new one goes on from the log before this one: from its counters, so that a log that began anew does not show as a dip, and from the sequences of
its ingestors, which write again what they had no answer for. That log is closed first: an owner that slept must not add to what is gone on from.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import structlog
from redis.asyncio import Redis

from services.aggregator.catchup import Slot, check_lineage, first_time
from services.aggregator.fold import Changes, Fold
from services.aggregator.landmark import is_log_of
from services.aggregator.wanted import sampled
from services.contract.partials import COUNTERS, Config, FoldState, PartialsError, Stored
from services.contract.series import partition_of
from services.transport import lineages, partials
from services.transport.log import LogReader
from services.transport.partials import Commit, RefusedError
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

CLOSE_TRIES: Final = 20


class Claiming:
    """Of one lineage. before: the logs before it, (name, partitions), the newest last."""

    def __init__(self, redis: Redis, kafka: KafkaSettings, lineage: str, before: Sequence[tuple[str, int]]) -> None:
        self._redis = redis
        self._kafka = kafka
        self._lineage = lineage
        self._before = before

    async def claim(self, partition: int, partitions: int, wanted: Config, questions: LogReader) -> Slot:
        """partitions: of the log; questions: a reader of it. LogError, redis errors: nothing is claimed."""
        await self.close_before(partition, partitions, wanted)
        slot = await self._slot(partition, partitions, wanted, questions)
        slot.before = await self._state_before(partition, partitions)
        return slot

    async def _slot(self, partition: int, partitions: int, wanted: Config, questions: LogReader) -> Slot:
        stored = await partials.load(self._redis, self._lineage, partition)
        if stored is not None and await is_log_of(self._kafka, questions, partition, stored.state.last):
            if stored.state.last is None or lineages.closed(stored.stamp):  # the next log may look the same
                await check_lineage(self._kafka, self._lineage)
            log.info("partition claimed", partition=partition, offset=stored.offset)
            return Slot(partition, Fold.load(stored), stored.config.digest, stored.stamp)
        live = sampled(wanted)  # what is rolled up is filled from further back, beside what is live
        offset = (await questions.offsets_at(first_time(live), [partition]))[partition]
        await check_lineage(self._kafka, self._lineage)  # where it begins anew after this, the reader's connection ends
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
        same, found = await self._ended(partition, partitions, [COUNTERS])
        for stored in found:
            for key, last in Fold.load(stored).counters.last().items():
                if same or partition_of(key, partitions) == partition:
                    fold.counters.seed(key, last)

    async def _state_before(self, partition: int, partitions: int) -> FoldState | None:
        """How far the same partition of the log before was folded, where its partitions were these."""
        same, found = await self._ended(partition, partitions, [])
        return found[0].state if same and found else None

    async def close_before(self, partition: int, partitions: int, wanted: Config) -> None:
        """Let nothing be added any more to the folds of the log before this one from which a fold of this partition goes on."""
        for lineage, those, _ in self._folds_before(partition, partitions):
            if any([await self._close(lineage, other, wanted) for other in those]):
                return

    async def _ended(self, partition: int, partitions: int, selections: Sequence[str]) -> tuple[bool, list[Stored]]:
        """The folds of the newest log before this one that had this partition's series, with these selections; they are closed.

        Whether its partitions were these, so that it is one fold. A log that was over before it was folded has none.
        """
        for lineage, those, same in self._folds_before(partition, partitions):
            loaded = [await partials.load(self._redis, lineage, other, selections) for other in those]
            if found := [stored for stored in loaded if stored is not None]:
                return same, found
        return False, []

    def _folds_before(self, partition: int, partitions: int) -> Iterator[tuple[str, Sequence[int], bool]]:
        """Lineages, the newest first, with the partitions that may have had this partition's series, and whether it is just this one."""
        for lineage, count in reversed(self._before):
            same = count == partitions
            yield lineage, [partition] if same else range(count), same

    async def _close(self, lineage: str, partition: int, wanted: Config) -> bool:
        """Whether anything lies of this fold. What an owner has folded of it and not stored by now does not count.

        All that is wanted is rolled up with its last commit, for nobody else will do that. PartialsError where others go on to commit.
        """
        for _ in range(CLOSE_TRIES):
            head = await partials.load(self._redis, lineage, partition, [])
            if head is None and await lineages.close_nothing(self._redis, lineage, partition):
                return False
            if head is not None and lineages.closed(head.stamp):
                return True
            if (stored := await partials.load(self._redis, lineage, partition)) is not None:
                fold = whole(stored, wanted)
                step = step_of(fold.config, fold.changes(), stored.config.digest, stored.stamp, lineages.last_stamp())
                with contextlib.suppress(RefusedError):
                    await partials.commit(self._redis, lineage, partition, step)
                    await lineages.expire_alike(self._redis, lineage, partition, fold.config)
        raise PartialsError(f"partition {partition} of {lineage}, which is over, is still committed to")


def whole(stored: Stored, wanted: Config) -> Fold:
    """The fold that lies there, with the coarser resolutions that are wanted and that it has the cells for: it may have ended before it got them."""
    held = stored.config
    new = {
        name: item for name, item in wanted.selections.items() if item.finer is not None and item.sampled.id in held.selections
    }
    kept = {name: wanted.retentions[name] for name in new} | held.retentions
    return Fold.load(replace(stored, config=Config(new | held.selections, kept)))


def step_of(config: Config, changes: Changes, held: str, after: str, stamp: str) -> Commit:
    """The commit of these changes. held: digest of what lies there, '' where nothing does; after, stamp: of the commit before, and of this one."""
    return Commit(
        held, config, changes.from_, changes.to, changes.state,
        changes.pages, changes.keys, changes.gone, changes.reset, changes.notes, after, stamp, changes.sampled,
    )  # fmt: skip
