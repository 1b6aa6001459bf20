"""Folding: the shell around the folds of the partitions that are owned here, of one lineage.

It claims partitions, feeds their folds from the log, commits, and lets the selections of a new dashboard catch up beside the
others until they join. What a refused commit means is decided here: load what lies there, and read the log from there again.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis

from services.aggregator import metrics
from services.aggregator.fold import Fold
from services.aggregator.landmark import is_log_of
from services.aggregator.wanted import missing
from services.contract.partials import COUNTERS, Config, Entry
from services.contract.series import partition_of
from services.transport import partials
from services.transport.lineage import read_lineage
from services.transport.log import LogError, LogReader, OffsetGone, Record
from services.transport.partials import Commit, RefusedError
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

LOOKBACK_MS: Final = 420_000
"""How far before the first bucket of interest the log is read: counters look back five minutes, clocks and queues differ."""
MAX_DIRTY_PAGES: Final = 800
"""A fold with more dirty pages commits before its time, so that a log entry can carry them."""
RETRY_S: Final = 0.5
DRAINED_RECORDS: Final = 1_000


@dataclass(slots=True)
class Slot:
    """One owned partition. held: digest of the configuration that lies in Redis, '' where nothing does."""

    partition: int
    fold: Fold
    held: str
    catching: Fold | None = None
    caught_up: bool = False
    doubted: bool = False
    counted: tuple[int, ...] = (0,) * 7

    @property
    def dirty(self) -> bool:
        """Something is to be stored; of a partition that nothing lies of, even that it is empty: merges wait for it."""
        return self.fold.dirty or not self.held or self.doubted


class Folding:
    """The owned partitions of one lineage."""

    def __init__(
        self, redis: Redis, kafka: KafkaSettings, lineage: str, partitions: int, before: Sequence[tuple[str, int]]
    ) -> None:
        self.lineage = lineage
        self.partitions = partitions
        self.slots: dict[int, Slot] = {}
        self._redis = redis
        self._kafka = kafka
        self._before = before
        self._reader = LogReader(kafka)
        self._wanted = Config({}, {})
        self._catch_up: asyncio.Task[None] | None = None
        self._was_away = False

    async def want(self, owned: Iterable[int], config: Config) -> None:
        """Own these partitions and compute this from now on. LogError, redis errors: call again."""
        changed = config.digest != self._wanted.digest
        self._wanted = config
        owned = set(owned)
        for partition in set(self.slots) - owned:
            del self.slots[partition]
        new = sorted(owned - set(self.slots))
        for partition in new:
            self.slots[partition] = await self._claim(partition)
        if new or changed:
            await self._plan_catch_up()
        self._assign()

    async def poll(self, timeout_ms: int) -> None:
        """Read and fold what has come. LogError when the log is away, or another one than before."""
        self._fold(await self._read(timeout_ms))

    async def drain(self, timeout_ms: int) -> None:
        """Read until nothing comes for so long, and fold it in one pass; an answer holds only what was there when it was asked for."""
        records: list[Record] = []
        try:
            while (more := await self._read(timeout_ms)) and len(records) < DRAINED_RECORDS:
                records += more
            records += more
        finally:  # the reader has moved on: what it gave before it failed is not given again
            self._fold(records)

    async def _read(self, timeout_ms: int) -> list[Record]:
        if self._catch_up is not None and self._catch_up.done():
            self._catch_up.result()
        try:
            if self._was_away:
                await self._check_lineage()
                self._was_away = False
            return await self._reader.poll(timeout_ms) if self.slots else await _nothing(timeout_ms)
        except OffsetGone as error:
            await self._check_lineage()
            await self._skip(error)
            return []
        except LogError:
            self._was_away = True
            raise

    def _fold(self, records: Sequence[Record]) -> None:
        by_partition: dict[int, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        for partition, slot in self.slots.items():
            self._feed(slot, by_partition.get(partition, []))

    @property
    def dirty(self) -> bool:
        return any(slot.dirty for slot in self.slots.values())

    @property
    def crowded(self) -> bool:
        """Whether a commit should not wait for its time."""
        return any(
            sum(len(cells.cells.dirty) for cells in slot.fold.cells.values()) > MAX_DIRTY_PAGES for slot in self.slots.values()
        )

    async def commit(self) -> list[tuple[int, Entry | None]]:
        """Store what changed; the entries that were taken, None of a partition that was refused and is claimed again."""
        slots = [slot for slot in self.slots.values() if slot.dirty]
        if not slots:
            return []
        began = time.perf_counter()
        answers = await asyncio.gather(*(self._commit(slot) for slot in slots), return_exceptions=True)
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - began)
        outcomes = [_unless_failed(answer) for answer in answers]
        refused = [slot.partition for slot, outcome in zip(slots, outcomes, strict=True) if outcome is None]
        for partition in refused:
            self.slots[partition] = await self._claim(partition)
        if refused:
            await self._plan_catch_up()
            self._assign()
        self._count()
        return [(slot.partition, outcome) for slot, outcome in zip(slots, outcomes, strict=True)]

    async def check(self) -> None:
        """See whether what was stored still lies there. Else a feed that lost it would show at the next record only, which may be never."""
        slots = [slot for slot in self.slots.values() if not slot.dirty]
        found = await partials.positions(self._redis, self.lineage, [slot.partition for slot in slots])
        for slot, there in zip(slots, found, strict=True):
            slot.doubted = there != (slot.fold.stored_offset, slot.held)

    def caught_up(self, partition: int) -> bool:
        """Whether everything that the log had at the last look is folded."""
        slot, end = self.slots.get(partition), self._reader.highwater(partition)
        return slot is not None and end is not None and slot.fold.offset >= end

    def lag(self) -> int:
        """Records of the owned partitions that are not committed yet."""
        ends = {partition: self._reader.highwater(partition) for partition in self.slots}
        return sum(max(0, (ends[p] or 0) - slot.fold.stored_offset) for p, slot in self.slots.items())

    def status(self) -> dict[str, object]:
        return {
            str(p): {
                "offset": slot.fold.stored_offset,
                "end": self._reader.highwater(p),
                "newest_sample": slot.fold.max_time,
                "catching_up": slot.catching is not None,
            }
            for p, slot in sorted(self.slots.items())
        }

    async def stop(self) -> None:
        await self._stop_catch_up()
        await self._reader.stop()

    async def _claim(self, partition: int) -> Slot:
        """The fold as it was left, or a new one from as far back as the dashboards look."""
        stored = await partials.load(self._redis, self.lineage, partition)
        if stored is not None and await is_log_of(self._kafka, self._reader, partition, stored.state.last):
            log.info("partition claimed", partition=partition, offset=stored.offset)
            return Slot(partition, Fold.load(stored), stored.config.digest)
        offsets = await self._reader.offsets_at(self._first_time(self._wanted), [partition])
        if stored is not None:
            log.error(
                "what lies there was folded from another log, it is folded anew", partition=partition, offset=stored.offset
            )
            return Slot(partition, Fold.instead(stored, self._wanted, offsets[partition]), stored.config.digest)
        fold = Fold(self._wanted, offsets[partition])
        await self._seed(fold, partition)
        log.info("partition begun", partition=partition, offset=fold.offset, lineage=self.lineage)
        return Slot(partition, fold, "")

    async def _seed(self, fold: Fold, partition: int) -> None:
        """Go on from the log before this one: from its counters, so that a log that began anew does not show as a dip, and from the sequences
        of its ingestors, which write again what they had no answer for.
        """
        if not self._before:
            return
        lineage, partitions = self._before[-1]
        for other in range(partitions):
            if (stored := await partials.load(self._redis, lineage, other, [COUNTERS])) is not None:
                if other == partition and partitions == self.partitions:
                    fold.remember(stored.state.sequences)
                for key, (at, value) in Fold.load(stored).counters.last().items():
                    if partition_of(key, self.partitions) == partition:
                        fold.counters.seed(key, at, value)

    def _first_time(self, config: Config) -> int:
        longest = max((config.retentions[name] + item.every_ms for name, item in config.selections.items()), default=0)
        return int(time.time() * 1000) - longest - LOOKBACK_MS

    async def _check_lineage(self) -> None:
        """Offsets of another log mean nothing here. It may have begun anew while it could not be read; who follows the lineage will say so."""
        if (name := await read_lineage(self._kafka)) != self.lineage:
            raise LogError(f"the log is {name or 'without a name'} now, not {self.lineage}")

    async def _skip(self, error: OffsetGone) -> None:
        """The log no longer has what comes next: go on where it begins."""
        starts = await self._reader.start_offsets([error.partition])
        slot = self.slots[error.partition]
        log.error("records were deleted before they were read", partition=error.partition, offset=error.offset, start=starts)
        slot.fold.offset = max(starts[error.partition], 0)
        await self._plan_catch_up()
        self._assign()

    def _assign(self) -> None:
        self._reader.assign({partition: slot.fold.offset for partition, slot in self.slots.items()})

    def _feed(self, slot: Slot, records: Sequence[Record]) -> None:
        """Fold records; when the catching fold stands ahead, let it join at the very offset at which it stands."""
        if slot.catching is None or not slot.caught_up:
            slot.fold.apply(records)
            return
        meeting = slot.catching.offset
        slot.fold.apply(record for record in records if record.offset < meeting)
        later = [record for record in records if record.offset >= meeting]
        if later:  # the offsets just before the meeting may hold no records
            slot.fold.offset = max(slot.fold.offset, meeting)
        if slot.fold.offset == meeting:
            slot.fold.join(slot.catching, self._wanted)
            slot.catching = None
        slot.fold.apply(later)

    async def _commit(self, slot: Slot) -> Entry | None:
        """One commit; None when it was refused."""
        changes = slot.fold.changes()
        step = Commit(
            slot.held, slot.fold.config, changes.from_, changes.to, changes.state,
            changes.pages, changes.keys, changes.gone, changes.reset,
        )  # fmt: skip
        try:
            await partials.commit(self._redis, self.lineage, slot.partition, step)
        except RefusedError as error:
            log.warning("commit refused, partition is read again", reason=str(error))
            metrics.COMMITS.labels("refused").inc()
            return None
        metrics.COMMITS.labels("stored").inc()
        slot.fold.committed(changes)
        slot.held, slot.doubted = slot.fold.config.digest, False
        return step.entry()

    # Catching up

    async def _plan_catch_up(self) -> None:
        """Begin folds of what the stored ones lack."""
        await self._stop_catch_up()
        behind: dict[int, Fold] = {}
        for slot in self.slots.values():
            slot.catching, slot.caught_up = None, False
            if slot.fold.config.digest == self._wanted.digest:
                continue
            lacking = missing(slot.fold.config, self._wanted)
            slot.catching = Fold(lacking, slot.fold.offset)
            slot.caught_up = not lacking.selections
            if not slot.caught_up:
                behind[slot.partition] = slot.catching
        if behind:
            self._catch_up = asyncio.create_task(self._catch_up_with(behind))

    async def _stop_catch_up(self) -> None:
        if self._catch_up is not None:
            self._catch_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._catch_up
            self._catch_up = None

    async def _catch_up_with(self, behind: Mapping[int, Fold]) -> None:
        """Read the past for these folds, beside the live ones, until each has reached its partition's live fold."""
        left = dict(behind)
        reader = LogReader(self._kafka)
        try:
            offsets = await self._where_to_begin(reader, left)
            for partition, fold in left.items():
                fold.offset = fold.stored_offset = offsets[partition]
            while left := {partition: fold for partition, fold in left.items() if not self._reached(partition, fold)}:
                reader.assign({partition: fold.offset for partition, fold in left.items()})
                await self._read_on(reader, left)
        finally:
            await reader.stop()

    async def _where_to_begin(self, reader: LogReader, left: Mapping[int, Fold]) -> dict[int, int]:
        first = min(self._first_time(fold.config) for fold in left.values())
        while True:
            try:
                return await reader.offsets_at(first, list(left))
            except LogError as error:
                await self._wait(error)

    def _reached(self, partition: int, fold: Fold) -> bool:
        """Whether a fold has caught up. From here to the live fold's next records nothing awaits: it cannot be overtaken."""
        slot = self.slots.get(partition)
        if slot is None or slot.catching is not fold:
            return True
        slot.caught_up = fold.offset >= slot.fold.offset
        return slot.caught_up

    async def _read_on(self, reader: LogReader, left: Mapping[int, Fold]) -> None:
        try:
            records = await reader.poll(200)
        except OffsetGone as error:
            await self._skip_past(reader, left[error.partition], error)
            return
        except LogError as error:
            await self._wait(error)
            return
        for partition, fold in left.items():
            fold.apply(record for record in records if record.partition == partition)
            await asyncio.sleep(0)  # live views come first

    async def _skip_past(self, reader: LogReader, fold: Fold, error: OffsetGone) -> None:
        """The log has dropped what was to be read next: a new view begins where the log does."""
        try:
            starts = await reader.start_offsets([error.partition])
        except LogError as away:
            await self._wait(away)
        else:
            fold.offset = max(starts[error.partition], 0)

    async def _wait(self, error: LogError) -> None:
        """Until the log is there again, and the same; while it is another, until whoever follows the lineage ends this."""
        log.warning("a new view waits for the log", reason=str(error))
        while True:
            await asyncio.sleep(RETRY_S)
            with contextlib.suppress(LogError):
                await self._check_lineage()
                return

    def _count(self) -> None:
        """Bring the metrics up to the folds' tallies."""
        for partition, slot in self.slots.items():
            tally = slot.fold.tally
            now = (
                tally.samples, tally.records, tally.duplicates, tally.late, tally.poison, tally.not_counters, tally.disordered,
            )  # fmt: skip
            for metric, a, b in zip(_TALLY, slot.counted, now, strict=True):
                metric.inc(b - a)
            if tally.poison > slot.counted[4]:
                log.error("a record cannot be read and is left out", partition=partition, record=tally.last_poison)
            slot.counted = now


_TALLY: Final = (
    metrics.SAMPLES, metrics.RECORDS, metrics.DUPLICATES, metrics.LATE, metrics.POISON, metrics.NOT_COUNTERS,
    metrics.DISORDERED,
)  # fmt: skip


def _unless_failed(answer: Entry | BaseException | None) -> Entry | None:
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def _nothing(timeout_ms: int) -> list[Record]:
    await asyncio.sleep(timeout_ms / 1000)
    return []
