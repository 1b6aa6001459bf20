"""Folding: the shell around the folds of the partitions that are owned here, of one lineage.

It feeds their folds from the log and commits. With which fold a partition is taken over is in `claiming`. How the selections of a new dashboard reach the others is `catchup`'s
business; they join here. What a refused commit means is decided here: load what lies there, and read the log from there again.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from redis.asyncio import Redis

from services.aggregator import metrics
from services.aggregator.catchup import CatchUp, Slot, check_lineage
from services.aggregator.claiming import Claiming, step_of
from services.aggregator.rests import Rests
from services.aggregator.telling import Telling
from services.aggregator.watchdog import Watchdog
from services.contract.partials import Config, Entry
from services.transport import partials
from services.transport.log import LogError, LogReader, OffsetGone, Record
from services.transport.log_group import GroupOffsets
from services.transport.partials import RefusedError
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

MAX_DIRTY_PAGES: Final = 800
"""A fold with more dirty pages commits before its time, so that a log entry can carry them."""
DRAINED_RECORDS: Final = 1_000
DRAINING_S: Final = 0.25  # at most: where records keep coming there is no end of them, and somebody may watch by now
CLAIMS: Final = 8  # at once
ENDS_EVERY_S: Final = 4.0


class Folding:
    """The owned partitions of one lineage."""

    def __init__(
        self,
        redis: Redis,
        kafka: KafkaSettings,
        lineage: str,
        partitions: int,
        before: Sequence[tuple[str, int]],
        rests: Rests | None = None,
    ) -> None:
        """rests: when there is time for what new dashboards ask of the past."""
        self.lineage = lineage
        self.partitions = partitions
        self.slots: dict[int, Slot] = {}
        self._redis = redis
        self._kafka = kafka
        self.before = before
        self._claiming = Claiming(redis, kafka, lineage, before)
        self._reader = LogReader(kafka)
        self._wanted = Config({}, {})
        self._telling = Telling(kafka)
        self._catch_up = CatchUp(
            kafka, lineage, self.slots, lambda fold, partition: self._claiming.seed(fold, partition, self.partitions), rests
        )
        self._was_away = False
        self._joined = False  # some fold has been joined since the last plan
        self._planned = True  # what is wanted is there, or under way
        self._watchdog = Watchdog()
        self._stuck = False
        self._group = GroupOffsets(kafka)
        self._ends: dict[int, int] = {}  # of the log, asked for apart from reading it
        self._ends_at = 0.0

    async def want(self, owned: Iterable[int], config: Config) -> None:
        """Own these partitions and compute this from now on. LogError, redis errors: call again."""
        self._planned = self._planned and config.digest == self._wanted.digest
        self._wanted = config
        owned = set(owned)
        for partition in set(self.slots) - owned:
            del self.slots[partition]
        new = sorted(owned - set(self.slots))
        self._planned = self._planned and not new
        for some in (new[at : at + CLAIMS] for at in range(0, len(new), CLAIMS)):
            self.slots.update(zip(some, await asyncio.gather(*map(self._claim, some)), strict=True))
        for slot in self.slots.values():
            slot.fold.share_room(len(self.slots))
        if not self._planned:
            await self._plan()
        self._assign()

    async def poll(self, timeout_ms: int) -> None:
        """Read and fold what has come. LogError when the log is away, or another one than before."""
        self._fold(await self._read(timeout_ms))

    async def drain(self, timeout_ms: int) -> None:
        """Read until nothing comes for so long, for DRAINING_S at most, and fold it in one pass; an answer holds only what was there when it was asked for."""
        records: list[Record] = []
        until = time.monotonic() + DRAINING_S
        try:
            while (more := await self._read(timeout_ms)) and len(records) < DRAINED_RECORDS and time.monotonic() < until:
                records += more
            records += more
        finally:  # the reader has moved on: what it gave before it failed is not given again
            self._fold(records)

    async def _read(self, timeout_ms: int) -> list[Record]:
        try:
            self._catch_up.check()
        except BaseException:
            self._planned = False
            raise
        joined = self._joined and self._catch_up.idle and all(slot.catching is None for slot in self.slots.values())
        if joined or not self._planned:  # what is made of samples is there: now what is rolled up from it
            await self._plan()
        if self._stuck:
            await self._replace_reader()
        try:
            if self._was_away:
                await check_lineage(self._kafka, self.lineage)
                self._was_away = False
            return await self._reader.poll(timeout_ms) if self.slots else await _nothing(timeout_ms)
        except OffsetGone as error:
            await check_lineage(self._kafka, self.lineage)
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
            self._feed(slot, by_partition.get(partition, []), self._reader.position(partition) or 0)

    @property
    def unstored(self) -> bool:
        """Whether something was read that is not stored yet."""
        return any(slot.unstored for slot in self.slots.values())

    @property
    def dirty(self) -> bool:
        return any(slot.dirty for slot in self.slots.values())

    @property
    def crowded(self) -> bool:
        """Whether a commit should not wait for its time."""
        return any(_crowded(slot) for slot in self.slots.values())

    async def commit(self, *, last: bool = False) -> list[tuple[int, Entry | None]]:
        """Store what changed; the entries that were taken, None of a partition that was refused and is claimed again.

        last: the log is over and cannot be read again, so that what another has stored of it stays as it is; and all is rolled up that ever will be.
        """
        slots = [slot for slot in self.slots.values() if slot.dirty or last]
        if not slots:
            return []
        await self._telling.before(slots)
        began = time.perf_counter()
        now = None if last else int(time.time() * 1000)
        answers = await asyncio.gather(*(self._commit(slot, now) for slot in slots), return_exceptions=True)
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - began)
        outcomes = [_unless_failed(answer) for answer in answers]
        refused = [slot.partition for slot, outcome in zip(slots, outcomes, strict=True) if outcome is None]
        if last:
            for partition in refused:
                del self.slots[partition]
        elif refused:
            await self._claim_again(refused)
        self._telling.count(self.slots.values())
        return [(slot.partition, outcome) for slot, outcome in zip(slots, outcomes, strict=True)]

    async def _claim_again(self, refused: Sequence[int]) -> None:
        try:
            for partition in refused:
                self.slots[partition] = await self._claim(partition)
            await self._plan()
        finally:  # where only some were claimed, these must not be fed from where the folds before them stood
            self._assign()

    async def check(self) -> None:
        """See whether what was stored still lies there. Else a feed that lost it would show at the next record only, which may be never."""
        slots = [slot for slot in self.slots.values() if not slot.dirty]
        found = await partials.positions(self._redis, self.lineage, [slot.partition for slot in slots])
        for slot, there in zip(slots, found, strict=True):
            slot.doubted = there != (slot.fold.stored_offset, slot.held, slot.stamp)

    async def look(self) -> None:
        """Ask for the ends of the log, apart from reading it; see whether the reader gets there, and publish where the folds stand."""
        if time.monotonic() - self._ends_at < ENDS_EVERY_S:
            return
        self._ends_at = time.monotonic()
        try:
            self._ends = await self._reader.end_offsets(list(self.slots))
        except LogError:  # whoever reads it will say so
            self._watchdog.forget()
            return
        now = time.monotonic()
        standing = {p: (slot.fold.offset, self._ends.get(p, 0)) for p, slot in self.slots.items()}
        self._stuck = bool(self._watchdog.stuck(now, standing))
        await self._group.publish({p: slot.fold.stored_offset for p, slot in self.slots.items() if slot.held})

    async def _replace_reader(self) -> None:
        log.error("the log is not read on though it has more, the reader is replaced", lag=self.lag())
        metrics.READERS_REPLACED.inc()
        self._stuck = False
        self._watchdog.forget()
        await self._reader.stop()
        self._reader = LogReader(self._kafka)
        self._assign()

    def caught_up(self, partition: int, *, stored: bool = False) -> bool:
        """Whether everything that the log had at the last look is folded; stored: and committed."""
        slot, end = self.slots.get(partition), self._reader.highwater(partition)
        if slot is None or end is None:
            return False
        return (slot.fold.stored_offset if stored else slot.fold.offset) >= end

    def silent_s(self) -> float:
        """For how long a log of which everything was read has not answered, 0 while it does."""
        return self._reader.overdue_s() if self.lag() == 0 else 0.0

    def lag(self) -> int:
        """Records of the owned partitions that are not committed yet."""
        return sum(self.lags().values())

    def lags(self) -> dict[int, int]:
        """The same by partition."""
        return {p: max(0, self._end(p) - slot.fold.stored_offset) for p, slot in self.slots.items()}

    def looked_s_ago(self) -> float | None:
        """For how long lags may be out of date: what came to the log since then may be unread. None where that is not known."""
        at = self._reader.looked_at()
        return None if at is None else time.monotonic() - at

    def _end(self, partition: int) -> int:
        return max(self._reader.highwater(partition) or 0, self._ends.get(partition, 0))

    def status(self) -> dict[str, object]:
        return {
            str(p): {
                "offset": slot.fold.stored_offset,
                "folded": slot.fold.offset,
                "paused": _crowded(slot),
                "end": self._reader.highwater(p),
                "newest_sample": slot.fold.max_time,
                "catching_up": slot.catching is not None,
                "late_samples": slot.fold.late_samples,
            }
            for p, slot in sorted(self.slots.items())
        }

    async def stop(self) -> None:
        await self._telling.stop()
        await self._catch_up.stop()
        await self._group.stop()
        await self._reader.stop()

    async def _claim(self, partition: int) -> Slot:
        return await self._claiming.claim(partition, self.partitions, self._wanted, self._reader)

    async def _skip(self, error: OffsetGone) -> None:
        """The log no longer has what comes next: go on where it begins."""
        starts = await self._reader.start_offsets([error.partition])
        slot = self.slots[error.partition]
        log.error("records were deleted before they were read", partition=error.partition, offset=error.offset, start=starts)
        slot.fold.offset = max(starts[error.partition], 0)
        slot.fold.cut()
        slot.catching, slot.caught_up = None, False  # it may be about to join where the live one has just passed
        await self._plan()
        self._assign()

    async def _plan(self) -> None:
        self._planned = self._joined = False
        await self._catch_up.plan(self._wanted)
        self._planned = True

    def _assign(self) -> None:
        self._reader.assign({partition: slot.fold.offset for partition, slot in self.slots.items()})

    def _feed(self, slot: Slot, records: Sequence[Record], read_to: int = 0) -> None:
        """Fold records; when the catching fold stands ahead, let it join at the very offset at which it stands.

        read_to: the offset up to which these are all the records with a value.
        """
        if slot.catching is None or not slot.caught_up:
            slot.fold.apply(records)
            slot.fold.pass_over(read_to)
            return
        meeting = slot.catching.offset
        slot.fold.apply(record for record in records if record.offset < meeting)
        later = [record for record in records if record.offset >= meeting]
        # The offsets just before the meeting may hold no records.
        slot.fold.pass_over(meeting if later else min(read_to, meeting))
        if slot.fold.offset == meeting:
            slot.fold.join(slot.catching, slot.target)
            slot.catching, self._joined = None, True
        slot.fold.apply(later)
        slot.fold.pass_over(read_to)

    async def _refill(self, slot: Slot) -> None:
        """Hold coarse cells again that were left to Redis, where there are too many groups by now."""
        if slot.held and (names := slot.fold.crowded()):
            stored = await partials.load(self._redis, self.lineage, slot.partition, names, dict.fromkeys(names, 0))
            if stored is not None and (stored.offset, stored.config.digest) == (slot.fold.stored_offset, slot.held):
                for name in names:
                    slot.fold.refill(name, stored)

    async def _commit(self, slot: Slot, now_ms: int | None) -> Entry | None:
        """One commit; None when it was refused. now_ms: what is due then is rolled up, None: everything."""
        await self._refill(slot)
        changes = slot.fold.changes(now_ms)
        step = step_of(slot.fold.config, changes, slot.held, slot.stamp, secrets.token_hex(8))
        try:
            await partials.commit(self._redis, self.lineage, slot.partition, step)
        except RefusedError as error:
            log.warning("commit refused, partition is read again", reason=str(error))
            metrics.COMMITS.labels("refused").inc()
            return None
        metrics.COMMITS.labels("stored").inc()
        slot.fold.committed(changes)
        slot.held, slot.stamp, slot.doubted = slot.fold.config.digest, step.stamp, False
        return step.entry()


def _crowded(slot: Slot) -> bool:
    return sum(len(cells.cells.dirty) for cells in slot.fold.cells.values()) > MAX_DIRTY_PAGES


def _unless_failed(answer: Entry | BaseException | None) -> Entry | None:
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def _nothing(timeout_ms: int) -> list[Record]:
    await asyncio.sleep(timeout_ms / 1000)
    return []
