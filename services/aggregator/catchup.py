"""Catching up: what a new dashboard asks for is folded from the past of the log, beside the live folds, until it has reached them.

Live views go on meanwhile. Where a catching fold stands at the very offset of the live one, `folding` lets them join.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from services.aggregator.fold import Fold
from services.aggregator.wanted import missing
from services.contract.partials import Config
from services.transport.lineage import read_lineage
from services.transport.log import LogError, LogReader, OffsetGone
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

LOOKBACK_MS: Final = 420_000
"""How far before the first bucket of interest the log is read: counters look back five minutes, clocks and queues differ."""
RETRY_S: Final = 0.5


@dataclass(slots=True)
class Slot:
    """One owned partition. held: digest of the configuration that lies in Redis, '' where nothing does.

    catching: the fold of what is lacking here; caught_up: it stands where the live one does, or ahead. doubted: what was stored may be gone.
    """

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


def first_time(config: Config) -> int:
    """Epoch ms from which on the log is read for these selections."""
    longest = max((config.retentions[name] + item.every_ms for name, item in config.selections.items()), default=0)
    return int(time.time() * 1000) - longest - LOOKBACK_MS


async def check_lineage(kafka: KafkaSettings, lineage: str) -> None:
    """Offsets of another log mean nothing here. It may have begun anew while it could not be read; who follows the lineage will say so."""
    if (name := await read_lineage(kafka)) != lineage:
        raise LogError(f"the log is {name or 'without a name'} now, not {lineage}")


class CatchUp:
    """The folds that are under way for the slots of one lineage."""

    def __init__(self, kafka: KafkaSettings, lineage: str, slots: Mapping[int, Slot]) -> None:
        self._kafka = kafka
        self._lineage = lineage
        self._slots = slots
        self._task: asyncio.Task[None] | None = None

    async def plan(self, wanted: Config) -> None:
        """Begin folds of what the live ones lack, and forget those that were under way."""
        await self.stop()
        behind: dict[int, Fold] = {}
        for slot in self._slots.values():
            slot.catching, slot.caught_up = None, False
            if slot.fold.config.digest == wanted.digest:
                continue
            lacking = missing(slot.fold.config, wanted)
            slot.catching = Fold(lacking, slot.fold.offset)
            slot.caught_up = not lacking.selections
            if not slot.caught_up:
                behind[slot.partition] = slot.catching
        if behind:
            self._task = asyncio.create_task(self._run(behind))

    def check(self) -> None:
        """Raise what ended the work before its time."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self, behind: Mapping[int, Fold]) -> None:
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
        first = min(first_time(fold.config) for fold in left.values())
        while True:
            try:
                return await reader.offsets_at(first, list(left))
            except LogError as error:
                await self._wait(error)

    def _reached(self, partition: int, fold: Fold) -> bool:
        """Whether a fold has caught up. From here to the live fold's next records nothing awaits: it cannot be overtaken."""
        slot = self._slots.get(partition)
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
                await check_lineage(self._kafka, self._lineage)
                return
