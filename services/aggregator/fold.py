"""The fold: from the records of one partition to absolute partial cells. Pure.

Feed it records in the order of the log, ask it what changed, tell it when that was stored. Its state is a function of the records
alone: no clock, and time moves by what the ingestors wrote. Storing it is services.transport.partials' business; what is
made of the cells of all partitions is `merge`'s.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from operator import itemgetter
from typing import Final, Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt

from services.aggregator.asked import LOOKBACK_MS, NO_NOTES, SLACK_MS, SelectionCells, Tally
from services.aggregator.bucketed import PageAt
from services.aggregator.counters import Counters
from services.aggregator.lanes import Samples
from services.aggregator.late import Lateness, LateSamples, Reason, part_of
from services.aggregator.readers import Readers
from services.aggregator.rollup import RollUps
from services.aggregator.serieslist import room
from services.contract.batch import Batch, decode
from services.contract.partials import (
    COUNTERS,
    Config,
    FoldState,
    NewKeys,
    Page,
    SelectionNotes,
    Stored,
    pack_counters,
    unpack_counters,
)
from services.contract.series import parse_series_key

_I64 = npt.NDArray[np.int64]

EDGE_MS: Final = 60_000
"""What is old is dropped where the clock of the log enters another minute."""
FOLLOWED_MS: Final = 3_600_000
"""How much longer than its selections' cells the last sample of a counter is remembered."""
MAX_LATE_SAMPLES: Final = 20_000
"""Late samples that wait to be taken; more are counted only."""
MAX_SOURCES: Final = 100
OTHER_SOURCES: Final = "others"
"""What the late samples of further sources are counted under."""
INSTANCE_MS: Final = 3_600_000
"""How long a silent ingestor's last sequence is remembered."""
RELEASE_MS: Final = 1_000
"""How often coarse cells that will not change any more are released."""
MAX_UNREAD: Final = 1_000
"""Of more that come between two commits only the count is told: nobody may take them, as of a fold that catches up."""
MARK_MS: Final = 14 * 86_400_000
"""The same of a bridge, which after a crash may have to go back as far as it was away."""


class Record(Protocol):
    """A record of the log, as services.transport.log gives it."""

    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes: ...


@dataclass(slots=True)
class Changes:
    """What a commit stores: the step from one offset to the next."""

    from_: int
    to: int
    state: FoldState
    pages: list[tuple[Page, bytes]] = field(default_factory=list)
    keys: list[NewKeys] = field(default_factory=list)
    gone: list[Page] = field(default_factory=list)
    reset: list[str] = field(default_factory=list)  # selections whose stored cells and groups are dropped first
    notes: dict[str, SelectionNotes] = field(default_factory=dict)  # of selections of which they changed
    sampled: dict[str, int] = field(default_factory=dict)  # the same of times of newest samples


class Fold:
    """One partition under one set of selections."""

    def __init__(self, config: Config, offset: int, state: FoldState | None = None) -> None:
        self.config = config
        self.offset = offset
        self.stored_offset = offset
        self.tally = Tally()
        self.counters = Counters()
        self.unread: list[tuple[Record, str]] = []  # records that cannot be read, and why; whoever tells of them takes them
        self.unread_more = 0  # such records that are not among these, as they were too many
        self._stored_counters = 0
        self._reset: list[str] = []
        self._whole: set[str] = set()  # selections of which every page is to be stored
        self.prepared: dict[str, dict[PageAt, bytes]] = {}  # pages that are packed, and have not changed since
        self._gone: list[Page] = []
        self._told: dict[str, SelectionNotes] = {}
        self._told_sampled: dict[str, int] = {}
        self.late: list[LateSamples] = []  # whoever writes them down takes them away
        self._state = FoldState() if state is None else state
        notes = self._state.notes
        self.cells = {
            name: SelectionCells(item, config.retentions[name], notes.get(name, NO_NOTES))
            for name, item in config.selections.items()
        }
        self._cut = False
        self.rollups = RollUps(self.cells)
        self._cold_after = config.cold_after()
        self._released_at = 0  # the clock when cells were last released that are stored and will not change
        self._most_series = room(1)
        self._begin_series()

    @classmethod
    def load(cls, stored: Stored) -> "Fold":
        """The fold that was stored, at its offset."""
        fold = cls(stored.config, stored.offset, stored.state)
        for name, cells in fold.cells.items():
            cells.load(stored.keys.get(name, []))
            for (bucket, page), blob in stored.pages.get(name, {}).items():
                cells.cells.load(bucket, page, blob)
        pages = {page: unpack_counters(blob) for (_, page), blob in stored.pages.get(COUNTERS, {}).items()}
        fold.counters.load(stored.keys.get(COUNTERS, []), pages)
        fold._stored_counters = len(fold.counters.keys)
        for name, cells in fold.cells.items():
            cells.dropped_to = cells.oldest(stored.state.edge)
            cold = fold.clock - fold._cold_after[name] if name in fold._cold_after else 0
            cells.whole_from = max(stored.state.begun.get(name, 0), cells.dropped_to, cold)
            cells.released = name in fold._cold_after
            cells.saw(_newest_stored(stored, name, cells.selection.every_ms))
        fold.rollups.touch_all()
        return fold

    @classmethod
    def instead(cls, stored: Stored, config: Config, offset: int) -> "Fold":
        """A new fold where another lies whose log is not the one that is read now: its first commit drops all of that."""
        fold = cls(config, offset)
        fold.stored_offset = stored.offset
        fold._reset = sorted({COUNTERS, *stored.config.selections})
        return fold

    def remember(self, state: FoldState) -> None:
        """What ingestors wrote up to the sequences of this state was folded already, in the log before this one."""
        self._state.sequences = dict(state.sequences)
        self._state.marks = dict(state.marks)

    def share_room(self, folds: int) -> None:
        """Remember as many series as is the share of one of so many folds in a process."""
        self._most_series = room(folds)
        self._readers.remember(self._most_series)

    @property
    def remembered(self) -> int:
        """How many series it has matched and not forgotten."""
        return len(self._readers)

    @property
    def counts(self) -> bool:
        """Whether it follows counters."""
        return any(cells.counts for cells in self.cells.values())

    @property
    def clock(self) -> int:
        """The newest ingest time folded, epoch ms."""
        return self._state.clock

    @property
    def max_time(self) -> int:
        """The newest sample time folded, but never later than its ingest time; epoch ms."""
        return self._state.max_time

    @property
    def late_samples(self) -> Mapping[str, Mapping[str, int]]:
        """Samples that came too late: source -> reason -> how many, since the fold began."""
        return self._state.late

    def begin_at(self, time: int) -> None:
        """Of buckets before this epoch ms samples may be lacking: they are not rolled up."""
        self._state.begun = dict.fromkeys(self.cells, time)
        for cells in self.cells.values():
            cells.whole_from = max(cells.whole_from, time)

    def forget_counters(self) -> None:
        """It begins in the middle of its log: what counters were in the log before does not lead up to there."""
        self.counters = Counters()
        self._begin_series()

    def cut(self) -> None:
        """Records before the next one were deleted before they could be read: what is rolled up begins after them."""
        self._cut = True

    def due(self, now_ms: int) -> bool:
        """Whether it is time to roll something up. now_ms: epoch ms."""
        return self.rollups.due(now_ms)

    def crowded(self) -> list[str]:
        """Coarse selections that are to be held whole from now on; see `refill`."""
        return [name for name in self._cold_after if self.cells[name].crowded]

    def refill(self, name: str, stored: Stored) -> None:
        """Hold all of a coarse selection, as it is stored at the offset up to which this fold is stored."""
        self.cells[name].refill(stored.pages.get(name, {}))

    def sweep(self) -> None:
        """Forget which pages changed, of a fold that is stored only when it has joined another."""
        self.rollups.note()
        self._gone.clear()
        for name, cells in self.cells.items():
            if (packed := self.prepared.get(name)) is not None:
                for at in cells.cells.dirty:
                    packed.pop(at, None)
            cells.cells.dirty.clear()

    def prepare(self, buckets: int) -> Iterator[None]:
        """Roll up and pack what is to be stored when this has joined another, since that takes longer than live views should wait: so many buckets at
        a step.

        Nothing may be folded in between.
        """
        yield from self.rollups.settle(self._state.edge)
        self.sweep()
        for name, cells in self.cells.items():
            packed = self.prepared.setdefault(name, {})
            left = groupby(sorted(set(cells.cells.pages()) - packed.keys() - cells.cells.dirty), itemgetter(0))
            while some := [(bucket, [page for _, page in at]) for bucket, at in islice(left, buckets)]:
                for bucket, pages in some:
                    packed.update(zip([(bucket, page) for page in pages], cells.cells.blobs(bucket, pages), strict=True))
                yield

    @property
    def dirty(self) -> bool:
        return self.offset != self.stored_offset or bool(self._reset)

    def apply(self, records: Iterable[Record]) -> None:
        """Fold records, in the order of the log, from `offset` on; older ones are passed over."""
        parts: list[Samples] = []
        last = None
        for record in records:
            if record.offset < self.offset:
                continue
            if self._readers.full:
                if parts:
                    self._add(parts)
                parts = []
                self._readers.make_room()
            self.offset = record.offset + 1
            last = record
            if (accepted := self._accept(record)) is not None and len(accepted[0].series):
                parts.append(self._columns(record.offset, *accepted))
            if self._state.clock // EDGE_MS > self._state.edge // EDGE_MS:
                if parts:
                    self._add(parts)
                parts = []
                self._pass_edge()
        if last is not None:
            self._state.last = last.offset, crc32(last.value)
        if parts:
            self._add(parts)

    def pass_over(self, offset: int) -> None:
        """Before this offset the log has no more records with a value: what lies there, such as ends of transactions, says nothing."""
        self.offset = max(self.offset, offset)

    def changes(self, now_ms: int | None = None) -> Changes:
        """What changed since the last commit. What is due by now (epoch ms; None: everything) is rolled up."""
        self.rollups.roll(now_ms, self._state.edge)
        changes = Changes(self.stored_offset, self.offset, self._state, reset=list(self._reset))
        for name, cells in self.cells.items():
            if name in self._whole:
                changes.pages += self._unchanged(name, cells)
            for bucket, at in groupby(sorted(cells.cells.dirty), itemgetter(0)):
                pages = [page for _, page in at]
                changes.pages += zip(
                    [Page(name, bucket, page) for page in pages], cells.cells.blobs(bucket, pages), strict=True
                )
            if cells.stored_keys < len(cells.keys):
                changes.keys.append(NewKeys(name, cells.stored_keys, cells.keys[cells.stored_keys :]))
        for page, rows in self.counters.dirty_pages().items():
            changes.pages.append((Page(COUNTERS, 0, page), pack_counters(rows)))
        if self._stored_counters < len(self.counters.keys):
            new = self.counters.keys[self._stored_counters :]
            changes.keys.append(NewKeys(COUNTERS, self._stored_counters, new))
        changes.gone += self._gone
        notes = {name: held for name, cells in self.cells.items() if (held := cells.notes) is not NO_NOTES and held != NO_NOTES}
        names = notes.keys() | self._state.notes.keys()
        changes.notes = {name: notes.get(name, NO_NOTES) for name in names if notes.get(name) != self._told.get(name)}
        self._state.notes = notes
        sampled = self._state.sampled = {name: cells.newest for name, cells in self.cells.items() if cells.newest}
        changes.sampled = {name: newest for name, newest in sampled.items() if newest != self._told_sampled.get(name)}
        return changes

    def _unchanged(self, name: str, cells: SelectionCells) -> list[tuple[Page, bytes]]:
        """Of a selection of which every page is to be stored: those that are packed. All others count as changed."""
        packed = self.prepared.get(name, {})
        rest = set(cells.cells.pages()) - cells.cells.dirty
        cells.cells.dirty.update(rest - packed.keys())
        return [(Page(name, *at), packed[at]) for at in sorted(rest & packed.keys())]

    def committed(self, changes: Changes) -> None:
        """The changes are stored. Nothing may have been folded in between."""
        self.stored_offset = changes.to
        self._whole.clear()
        self.prepared.clear()
        self._reset.clear()
        self._gone.clear()
        for cells in self.cells.values():
            cells.cells.dirty.clear()
            cells.stored_keys = len(cells.keys)
        if self._state.clock - self._released_at >= RELEASE_MS:
            self._released_at = self._state.clock
            for name, after in self._cold_after.items():
                self.cells[name].release(self._state.clock - after)
        self.counters.committed()
        self._stored_counters = len(self.counters.keys)
        self._told, self._told_sampled = dict(self._state.notes), changes.state.sampled or {}

    def join(self, other: "Fold", config: Config) -> None:
        """Go on under `config`: take over the selections of a fold that was fed the same records up to the same offset, drop what `config` lacks."""
        if other.offset != self.offset:
            raise ValueError(f"folds at offsets {self.offset} and {other.offset} cannot join")
        joined = self.cells | other.cells
        self._reset = sorted({COUNTERS, *self._reset, *other.cells, *(set(self.cells) - set(config.selections))})
        self._gone = [page for page in self._gone if page.selection not in self._reset]
        self.cells = {name: joined[name] for name in config.selections}
        for name, cells in self.cells.items():
            cells.retention_ms = config.retentions[name]
            if name in other.cells:
                cells.stored_keys = 0
        self._whole = (self._whole | other.cells.keys()) & self.cells.keys()
        self.prepared |= {name: other.prepared.get(name, {}) for name in other.cells}
        self.config = config
        self._state.begun = {name: cells.whole_from for name, cells in self.cells.items() if cells.whole_from}
        self.rollups = self.rollups.joined(other.rollups, self.cells)
        self._cold_after = config.cold_after()
        self._join_counters(other.counters)
        self._begin_series()

    def _pass_edge(self) -> None:
        """Drop what is old, and forget groups and counters that have come and gone. Where that is, the records alone say."""
        self.rollups.roll(None, self._state.edge)
        self.prepared.clear()
        clock = self._state.edge = self._state.clock
        for name, cells in self.cells.items():
            self._gone += (Page(name, *at) for at in cells.forget(clock))
        done = [name for name, cells in self.cells.items() if cells.compact()]
        counting = [cells for cells in self.cells.values() if cells.counts and cells.selection.finer is None]
        longest = max((cells.retention_ms for cells in counting), default=0)
        if self.counters.forget(clock - longest - FOLLOWED_MS):
            done.append(COUNTERS)
            self._stored_counters = 0
            for cells in counting:
                cells.forget_left_out()
        if done:
            self._reset = sorted({*self._reset, *done})
            self._begin_series()

    def _accept(self, record: Record) -> tuple[Batch, _I64] | None:
        """The batch of a record and the numbers of its series, or None of one that cannot be read or was folded before."""
        self.tally.records += 1
        try:
            batch = decode(record.value)
            numbers = self._readers.numbers(batch)
        except ValueError as error:
            self.tally.poison += 1
            self.tally.last_poison = f"offset {record.offset}: {error}"
            if len(self.unread) < MAX_UNREAD:
                self.unread.append((record, str(error)))
            else:
                self.unread_more += 1
            return None
        state = self._state
        known = state.sequences if batch.sequences is None else state.marks
        sequence, _ = known.get(batch.instance, (-1, 0))
        if batch.sequence <= sequence:
            self.tally.duplicates += 1
            return None
        state.clock = max(state.clock, batch.ingest_ms)
        if self._cut:
            self._cut = False
            self.begin_at(batch.ingest_ms + LOOKBACK_MS)
        known[batch.instance] = (batch.sequence, batch.ingest_ms)
        if len(state.sequences) > 16:
            state.sequences = {k: v for k, v in state.sequences.items() if v[1] > state.clock - INSTANCE_MS}
        if len(state.marks) > 16:
            state.marks = {k: v for k, v in state.marks.items() if v[1] > state.clock - MARK_MS}
        return _after(batch, sequence), numbers

    def _columns(self, offset: int, batch: Batch, numbers: _I64) -> Samples:
        self.tally.samples += len(batch.series)
        # Of an ingestor whose clock is behind, what was dropped at the last edge is late too.
        judged = max(batch.ingest_ms, self._state.edge - SLACK_MS)
        for reason, places in self._lateness.judge(batch, judged).items():
            self._note_late(offset, reason, batch, places)
        newest = int(batch.times.max())
        self._state.max_time = max(self._state.max_time, min(newest, batch.ingest_ms))
        ingest = np.full(len(batch.series), judged, np.int64)
        return Samples(numbers[batch.series], batch.times, batch.values, ingest, batch.starts, newest > judged)

    def _note_late(self, offset: int, reason: Reason, batch: Batch, places: _I64) -> None:
        held = self._state.late
        source = batch.source if batch.source in held or len(held) < MAX_SOURCES else OTHER_SOURCES
        by_reason = held.setdefault(source, {})
        by_reason[reason] = by_reason.get(reason, 0) + len(places)
        self.tally.late += len(places)
        if sum(len(late.batch.series) for late in self.late) + len(places) <= MAX_LATE_SAMPLES:
            self.late.append(LateSamples(offset, reason, part_of(batch, places)))
        else:
            self.tally.late_lost += len(places)

    def _add(self, parts: Sequence[Samples]) -> None:
        """Give the samples of several records to what is asked for, in the order of the log."""
        samples = Samples(
            np.concatenate([part.series for part in parts]), np.concatenate([part.times for part in parts]),
            np.concatenate([part.values for part in parts]), np.concatenate([part.ingest for part in parts]), _starts(parts),
            any(part.ahead for part in parts),
        )  # fmt: skip
        self._readers.add(samples)

    def _begin_series(self) -> None:
        """Forget which series there are: they are matched anew when they are next seen."""
        sampled = [cells for cells in self.cells.values() if cells.selection.finer is None]
        self._readers = Readers(sampled, self.counters, self.tally, self._most_series)
        self._lateness = Lateness(sampled)

    def _join_counters(self, other: Counters) -> None:
        """Of each counter that is still asked for, the newer of what both folds know: one may have stopped to follow it."""
        counting = [cells for cells in self.cells.values() if cells.counts]
        mine, theirs = self.counters.last(), other.last()
        self.counters, self._stored_counters = Counters(), 0
        for key in mine | theirs:
            metric, labels = parse_series_key(key)
            if any(cells.selection.metric == metric and cells.match(labels) for cells in counting):
                found = [known[key] for known in (mine, theirs) if key in known]
                self.counters.seed(key, max(found, key=lambda row: (row["time"], row["value"])))


def _starts(parts: Sequence[Samples]) -> _I64 | None:
    if all(part.starts is None for part in parts):
        return None
    return np.concatenate([np.zeros(len(part.series), np.int64) if part.starts is None else part.starts for part in parts])


def _after(batch: Batch, sequence: int) -> Batch:
    """The samples that come after this sequence of their instance: a writer that began anew may have cut its records elsewhere."""
    if batch.sequences is None or not len(batch.sequences) or int(batch.sequences[0]) > sequence:
        return batch
    new = batch.sequences > np.uint64(sequence)
    return replace(
        batch, series=batch.series[new], times=batch.times[new], values=batch.values[new], sequences=batch.sequences[new],
        starts=None if batch.starts is None else batch.starts[new],
    )  # fmt: skip


def _newest_stored(stored: Stored, name: str, every_ms: int) -> int:
    """Time of the newest sample of a selection, 0 for none. Of what an older version stored no later one is possible: the end of its newest bucket."""
    if stored.state.sampled is not None:
        return stored.state.sampled.get(name, 0)
    buckets = [bucket for bucket, _ in stored.pages.get(name, {})]
    return min(max(buckets) + every_ms, stored.state.max_time) if buckets else 0
