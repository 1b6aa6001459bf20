"""Catching up: what a new dashboard asks for is folded from the past of the log, beside the live folds, until it has reached them.

Live views go on meanwhile. Where a catching fold stands at the very offset of the live one, `folding` lets them join.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from services.aggregator.asked import LOOKBACK_MS
from services.aggregator.fold import Fold
from services.aggregator.rests import Headway, Portions, Rests
from services.aggregator.retention import horizon_ms
from services.aggregator.wanted import all_lacking, joined, lacking
from services.contract.partials import Config, FoldState, PartialsError
from services.transport.feed import FeedErrors
from services.transport.lineage import read_lineage
from services.transport.log import LogError, LogReader, OffsetGone, Record
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

RETRY_S: Final = 0.5
READ_BYTES: Final = 256 << 10  # of one partition in one answer
LEAST_BYTES: Final = 4 << 10
PREPARED_BUCKETS: Final = 32
"""Packed in one go."""
MOST_BYTES: Final = 256 << 10
"""Of records that are folded in one go, but for one that is longer."""


@dataclass(slots=True)
class Slot:
    """One owned partition. held: digest of the configuration that lies in Redis, '' where nothing does; stamp: of the commit that lies there.

    catching: the fold of what is lacking here; begun: it is known from where it is read; target: what the live one computes once both have joined;
    caught_up: it stands where the live one does, or ahead. doubted: what was stored may be gone. before: the state of the fold of this partition in the log before this one.
    """

    partition: int
    fold: Fold
    held: str
    stamp: str = ""
    catching: Fold | None = None
    begun: bool = False
    target: Config = field(default_factory=lambda: Config({}, {}))
    caught_up: bool = False
    doubted: bool = False
    before: FoldState | None = None
    counted: tuple[int, ...] = (0,) * 8
    late: dict[str, dict[str, int]] = field(default_factory=dict)  # as the metrics know it

    def __post_init__(self) -> None:
        self.late = {source: dict(reasons) for source, reasons in self.fold.late_samples.items()}

    @property
    def unstored(self) -> bool:
        """What was read is to be stored; of a partition that nothing lies of, even that it is empty: merges wait for it."""
        return self.fold.dirty or not self.held or self.doubted

    @property
    def dirty(self) -> bool:
        """Something is to be stored, if only what is rolled up again."""
        return self.unstored or self.fold.due(int(time.time() * 1000))


def first_time(config: Config) -> int:
    """Epoch ms from which on the log is read for these selections."""
    return int(time.time() * 1000) - horizon_ms(config)


def begin(fold: Fold, offset: int, start: int) -> None:
    """Let a new fold begin at an offset. start: where the log begins, 0 as long as nothing of it was deleted."""
    fold.offset = fold.stored_offset = offset
    if offset > 0:
        fold.begin_at(first_time(fold.config) + LOOKBACK_MS)
        fold.forget_counters()
    if 0 < offset == start:
        fold.cut()


async def check_lineage(kafka: KafkaSettings, lineage: str) -> None:
    """Offsets of another log mean nothing here. It may have begun anew while it could not be read; who follows the lineage will say so."""
    if (name := await read_lineage(kafka)) != lineage:
        raise LogError(f"the log is {name or 'without a name'} now, not {lineage}")


Seed = Callable[[Fold, int], Awaitable[None]]
"""Gives a fold of a partition the counters with which the log before this one ended."""


class CatchUp:
    """The folds that are under way for the slots of one lineage."""

    def __init__(
        self, kafka: KafkaSettings, lineage: str, slots: Mapping[int, Slot], seed: Seed, rests: Rests | None = None
    ) -> None:
        """rests: when there is time for this; without them it goes on slowly."""
        self._seed = seed
        self._rests = rests or Rests()
        self._portions = Portions(LEAST_BYTES, MOST_BYTES)
        self._kafka = kafka
        self._lineage = lineage
        self._slots = slots
        self._task: asyncio.Task[None] | None = None

    async def plan(self, wanted: Config) -> None:
        """Begin folds of what the live ones lack; those that are under way go on where that is what they fold, and are forgotten where not."""
        await self.stop()
        for slot in self._slots.values():
            held = slot.fold.config
            if held.digest == wanted.digest:
                slot.catching, slot.caught_up = None, False
                continue
            parts = lacking(held, wanted), all_lacking(held, wanted)
            fold = slot.catching
            if fold is None or fold.config not in parts:
                fold = await self._begin(slot, parts[0])
            slot.target = joined(held, fold.config, wanted)
        if self._behind():
            self._task = asyncio.create_task(self._run(wanted))

    def _behind(self) -> dict[int, Fold]:
        """By partition the folds that have not caught up."""
        return {p: slot.catching for p, slot in self._slots.items() if slot.catching is not None and not slot.caught_up}

    async def _begin(self, slot: Slot, part: Config) -> Fold:
        fold = Fold(part, slot.fold.offset)
        if slot.before is not None:  # ingestors may have written again what that one has folded
            fold.remember(slot.before)
        if fold.counts:
            await self._seed(fold, slot.partition)
        slot.catching, slot.begun, slot.caught_up = fold, False, not part.selections
        return fold

    def check(self) -> None:
        """Raise what ended the work before its time, once: it is to be planned again then."""
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            task.result()

    @property
    def idle(self) -> bool:
        """Whether nothing is being read."""
        return self._task is None or self._task.done()

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self, wanted: Config) -> None:
        """Read the past for the folds that are behind, one after the other, beside the live ones, until each has reached its partition's live fold."""
        reader = LogReader(self._kafka, partition_bytes=READ_BYTES)
        try:
            await self._begin_reading(reader, wanted)
            behind = self._behind()
            for partition, fold in sorted(behind.items()):
                headway = Headway()
                while not self._is_near(partition, fold):
                    reader.assign({partition: fold.offset})
                    await self._read_on(reader, partition, fold, headway)
                await self._rests.do(fold.prepare(PREPARED_BUCKETS))
                while not self._reached(partition, fold):
                    reader.assign({partition: fold.offset})
                    await self._read_on(reader, partition, fold, headway)
        finally:
            await reader.stop()

    async def _begin_reading(self, reader: LogReader, wanted: Config) -> None:
        """Let new folds begin where what they ask for does.

        Where all that is lacking begins there, too, as of a log that is young, it is folded in one pass.
        """
        new = {p: fold for p, fold in self._behind().items() if not self._slots[p].begun}
        if not new:
            return
        everything = {p: all_lacking(self._slots[p].fold.config, wanted) for p in new}
        where = await self._where_to_begin(reader, {p: fold.config for p, fold in new.items()})
        alike = await self._where_to_begin(reader, everything)
        for partition, fold in new.items():
            slot = self._slots.get(partition)
            if slot is None or slot.catching is not fold:
                continue
            if where[partition] == alike[partition] and fold.config != everything[partition]:
                with contextlib.suppress(*FeedErrors, PartialsError):  # then in two
                    fold = await self._begin(slot, everything[partition])
                    slot.target = joined(slot.fold.config, fold.config, wanted)
            begin(fold, *where[partition])
            slot.begun = True

    async def _where_to_begin(self, reader: LogReader, asked: Mapping[int, Config]) -> dict[int, tuple[int, int]]:
        """By partition the offset to begin at for all of these, and where the log begins."""
        first = min(map(first_time, asked.values()))
        while True:
            try:
                offsets, starts = await reader.offsets_at(first, list(asked)), await reader.start_offsets(list(asked))
                return {partition: (offsets[partition], starts[partition]) for partition in asked}
            except LogError as error:
                await self._wait(error)

    def _distance(self, partition: int, fold: Fold) -> int:
        """How many offsets a fold is behind the live one."""
        slot = self._slots.get(partition)
        return slot.fold.offset - fold.offset if slot else 0

    def _is_near(self, partition: int, fold: Fold) -> bool:
        """Whether a fold is so far on that little of what it holds will change until it joins."""
        slot = self._slots.get(partition)
        return slot is None or slot.catching is not fold or fold.offset >= slot.fold.offset

    def _reached(self, partition: int, fold: Fold) -> bool:
        """Whether a fold has caught up. From here to the live fold's next records nothing awaits: it cannot be overtaken."""
        slot = self._slots.get(partition)
        if slot is None or slot.catching is not fold:
            return True
        if any(other.caught_up and other.catching is not None for other in self._slots.values()):
            return False  # one joins after the other: each costs live views a moment
        slot.caught_up = fold.offset >= slot.fold.offset
        return slot.caught_up

    async def _read_on(self, reader: LogReader, partition: int, fold: Fold, headway: Headway) -> None:
        await self._rests.portion()
        try:
            records = await reader.poll(200)
        except OffsetGone as error:
            await self._skip_past(reader, fold, error)
            return
        except LogError as error:
            await self._wait(error)
            return
        while records:
            some, records = _cut(records, self._portions.size)
            async with self._rests.working(headway.pause(self._distance(partition, fold))):
                began = time.thread_time()
                fold.apply(some)
                fold.sweep()
                self._portions.took(sum(len(record.value) for record in some), time.thread_time() - began)
        fold.pass_over(reader.position(partition) or 0)

    async def _skip_past(self, reader: LogReader, fold: Fold, error: OffsetGone) -> None:
        """The log has dropped what was to be read next: a new view begins where the log does."""
        try:
            starts = await reader.start_offsets([error.partition])
        except LogError as away:
            await self._wait(away)
        else:
            fold.offset = max(starts[error.partition], 0)
            fold.cut()

    async def _wait(self, error: LogError) -> None:
        """Until the log is there again, and the same; while it is another, until whoever follows the lineage ends this."""
        log.warning("a new view waits for the log", reason=str(error))
        while True:
            await asyncio.sleep(RETRY_S)
            with contextlib.suppress(LogError):
                await check_lineage(self._kafka, self._lineage)
                return


def _cut(records: list[Record], size: int) -> tuple[list[Record], list[Record]]:
    """The first of these records, of so many bytes at most or one record, and the rest."""
    left = size
    for at, record in enumerate(records):
        left -= len(record.value)
        if at and left < 0:
            return records[:at], records[at:]
    return records, []
