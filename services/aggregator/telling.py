"""Telling: what folds came across beside cells goes to metrics, to the late topic and to the dead letters.

Late samples and records that cannot be read are given to their topics before the commit that passes over them, so that none is missing there after
a crash; some may be there twice. A broken source must not fill them: past a rate they are counted only.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog

from services.aggregator import metrics
from services.aggregator.catchup import Slot
from services.aggregator.fold import Fold
from services.contract.batch import encode
from services.contract.names import LATE_TOPIC, SAMPLES_TOPIC
from services.transport.letters import Letter, LetterBox
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

RATE: Final = 5_000
"""Samples a second that are written, in the long run."""
BURST: Final = 50_000
DEAD_RATE: Final = 10
"""Records a second that cannot be read and are written, in the long run: as many as of a source."""
DEAD_BURST: Final = 600
PATIENCE_S: Final = 0.5
"""How long a commit waits for the topics: what people look at must not wait for what nobody does."""

Counts = dict[str, dict[str, int]]


class Allowance:
    """How much may be written by now: `rate` a second, and `burst` after a rest. Pure: time comes in, in seconds."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        self._left, self._at = min(self._burst, self._left + (now - self._at) * self._rate), now
        if amount > self._left:
            return False
        self._left -= amount
        return True


class Telling:
    """Of the folds of one process."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._dead = LetterBox(kafka)
        self._late = LetterBox(kafka, LATE_TOPIC)
        self._allowance = Allowance(RATE, BURST, time.monotonic())
        self._dead_allowance = Allowance(DEAD_RATE, DEAD_BURST, time.monotonic())
        self._dead_written = 0  # as the metric knows it

    async def before(self, slots: Sequence[Slot]) -> None:
        """What these folds are about to pass over: wait until it is written, but not for long."""
        if not any(slot.fold.late or slot.fold.unread for slot in slots):
            return
        for slot in slots:
            self._take(slot.partition, slot.fold)
            self._take_unread(slot.partition, slot.fold)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(box.settle() for box in (self._late, self._dead) if not box.failing))

    def count(self, slots: Iterable[Slot]) -> None:
        """Bring the metrics up to the folds' tallies and to what was written."""
        for slot in slots:
            tally, partition = slot.fold.tally, slot.partition
            now = (
                tally.samples, tally.records, tally.duplicates, tally.late_lost, tally.poison, tally.not_counters,
                tally.disordered, tally.contested,
            )  # fmt: skip
            for metric, a, b in zip(_TALLY, slot.counted, now, strict=True):
                metric.inc(b - a)
            if tally.poison > slot.counted[4]:
                log.error("a record cannot be read and is left out", partition=partition, record=tally.last_poison)
            slot.counted, slot.late = now, _count_late(slot.late, slot.fold.late_samples)
        self._count_dead()

    async def stop(self) -> None:
        lost = self._dead.lost
        await asyncio.gather(self._dead.stop(), self._late.stop())
        metrics.DEAD_LETTERS.labels("lost").inc(self._dead.lost - lost)
        self._count_dead()

    def _count_dead(self) -> None:
        written, self._dead_written = self._dead_written, self._dead.written
        metrics.DEAD_LETTERS.labels("written").inc(self._dead_written - written)

    def _take_unread(self, partition: int, fold: Fold) -> None:
        found, fold.unread = fold.unread, []
        more, fold.unread_more = fold.unread_more, 0
        metrics.DEAD_LETTERS.labels("withheld").inc(more)
        for record, reason in found:
            if not self._dead_allowance.take(1, time.monotonic()):
                metrics.DEAD_LETTERS.labels("withheld").inc()
                continue
            lost = self._dead.lost
            self._dead.post(Letter(SAMPLES_TOPIC, partition, record.offset, reason, "aggregator", record.value))
            metrics.DEAD_LETTERS.labels("lost").inc(self._dead.lost - lost)

    def _take(self, partition: int, fold: Fold) -> None:
        found, fold.late = fold.late, []
        for late in found:
            samples = len(late.batch.series)
            if not self._allowance.take(samples, time.monotonic()):
                metrics.LATE_NOT_WRITTEN.labels("rate").inc(samples)
                continue
            lost = self._late.lost
            self._late.post(Letter(SAMPLES_TOPIC, partition, late.offset, late.reason, late.batch.source, encode(late.batch)))
            if self._late.lost > lost:
                metrics.LATE_NOT_WRITTEN.labels("log").inc(samples)


def _count_late(before: Counts, now: Mapping[str, Mapping[str, int]]) -> Counts:
    """Bring the metric up to what a fold has counted; what it has by now."""
    for source, reasons in now.items():
        for reason, samples in reasons.items():
            metrics.LATE.labels(source, reason).inc(samples - before.get(source, {}).get(reason, 0))
    return {source: dict(reasons) for source, reasons in now.items()}


_TALLY: Final = (
    metrics.SAMPLES, metrics.RECORDS, metrics.DUPLICATES, metrics.LATE_NOT_WRITTEN.labels("fold"), metrics.POISON,
    metrics.NOT_COUNTERS, metrics.DISORDERED, metrics.CONTESTED,
)  # fmt: skip
