"""The fold: from the records of one partition to absolute partial cells. Pure.

Feed it records in the order of the log, ask it what changed, tell it when that was stored. Its state is a function of the records
alone: no clock, and time moves by what the ingestors wrote. Storing it is services.transport.partials' business; what is
made of the cells of all partitions is `merge`'s.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from services.aggregator import matching
from services.aggregator.accumulators import Accumulator, accumulator
from services.aggregator.counters import Counters, spread
from services.aggregator.serieslist import SeriesList
from services.contract.batch import Batch, decode
from services.contract.partials import (
    COUNTER,
    COUNTERS,
    Config,
    FoldState,
    NewKeys,
    Page,
    Stored,
    pack_page,
    unpack_page,
)
from services.contract.series import Kind, parse_series_key
from services.contract.views import Selection

_I64 = npt.NDArray[np.int64]

SLACK_MS: Final = 60_000
"""How much longer than their retention cells are kept, for ingestors whose clocks or queues differ."""
INSTANCE_MS: Final = 3_600_000
"""How long a silent ingestor's last sequence is remembered."""


class Record(Protocol):
    """A record of the log, as services.transport.log gives it."""

    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes: ...


@dataclass(slots=True)
class Tally:
    """What happened to samples and records, since the process began."""

    samples: int = 0
    records: int = 0
    duplicates: int = 0
    late: int = 0
    poison: int = 0
    not_counters: int = 0
    last_poison: str = ""


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


class _Cells:
    """One selection's cells and groups."""

    def __init__(self, name: str, selection: Selection, retention_ms: int) -> None:
        self.name = name
        self.selection = selection
        self.retention_ms = retention_ms
        self.match = matching.matcher(selection.where)
        self.cells: Accumulator = accumulator(selection.accumulator)
        self.keys: list[bytes] = []
        self.stored_keys = 0
        self._numbers: dict[bytes, int] = {}
        self.groups = np.zeros(0, np.int64)  # by series: the number of its group, -1 where it does not match

    def number(self, key: bytes) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.keys)
            self.keys.append(key)
        return found

    def place(self, series: int, kind: int, key: bytes, labels: dict[str, str]) -> None:
        """Remember the group of a series that was just seen for the first time."""
        if series >= len(self.groups):
            grown = np.full(max(64, 2 * series), -1, np.int64)
            grown[: len(self.groups)] = self.groups
            self.groups = grown
        if self.match(labels):
            self.groups[series] = self.number(matching.group_key(self.selection, kind, key, labels))

    def forget_series(self) -> None:
        self.groups = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Samples of several records, in the order of the log; each of shape (n,). ingest: their record's ingest time."""

    series: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    ingest: npt.NDArray[np.int64]


class Fold:
    """One partition under one set of selections."""

    def __init__(self, config: Config, offset: int) -> None:
        self.config = config
        self.offset = offset
        self.stored_offset = offset
        self.tally = Tally()
        self.counters = Counters()
        self._stored_counters = 0
        self._reset: list[str] = []
        self._state = FoldState()
        self.cells = {name: _Cells(name, selection, config.retentions[name]) for name, selection in config.selections.items()}
        self._series = SeriesList(self._place)
        self._by_metric: dict[str, list[_Cells]] = {}
        self._index()

    @classmethod
    def load(cls, stored: Stored) -> "Fold":
        """The fold that was stored, at its offset."""
        fold = cls(stored.config, stored.offset)
        fold._state = stored.state
        for name, cells in fold.cells.items():
            for key in stored.keys.get(name, []):
                cells.number(key)
            cells.stored_keys = len(cells.keys)
            for (bucket, page), blob in stored.pages.get(name, {}).items():
                cells.cells.load(bucket, page, blob)
        pages = {page: unpack_page(blob, COUNTER) for (_, page), blob in stored.pages.get(COUNTERS, {}).items()}
        fold.counters.load(stored.keys.get(COUNTERS, []), pages)
        fold._stored_counters = len(fold.counters.keys)
        return fold

    @property
    def clock(self) -> int:
        """The newest ingest time folded, epoch ms."""
        return self._state.clock

    @property
    def max_time(self) -> int:
        """The newest sample time folded, but never later than its ingest time; epoch ms."""
        return self._state.max_time

    @property
    def dirty(self) -> bool:
        return self.offset != self.stored_offset or bool(self._reset)

    def apply(self, records: Iterable[Record]) -> None:
        """Fold records, in the order of the log, from `offset` on; older ones are passed over."""
        if self._series.full:
            self._forget_series()
        parts = []
        for record in records:
            if record.offset < self.offset:
                continue
            self.offset = record.offset + 1
            if (accepted := self._accept(record)) is not None and len(accepted[0].series):
                parts.append(self._columns(*accepted))
        if parts:
            self._add(parts)

    def changes(self) -> Changes:
        """What changed since the last commit. Old cells are dropped by it."""
        changes = Changes(self.stored_offset, self.offset, self._state, reset=list(self._reset))
        for name, cells in self.cells.items():
            gone = cells.cells.forget(self._state.clock - cells.retention_ms - SLACK_MS)
            changes.gone += (Page(name, *at) for at in gone)
            changes.pages += ((Page(name, *at), cells.cells.blob(*at)) for at in sorted(cells.cells.dirty))
            if cells.stored_keys < len(cells.keys):
                changes.keys.append(NewKeys(name, cells.stored_keys, cells.keys[cells.stored_keys :]))
        for page, rows in self.counters.dirty_pages().items():
            changes.pages.append((Page(COUNTERS, 0, page), pack_page(rows)))
        if self._stored_counters < len(self.counters.keys):
            new = self.counters.keys[self._stored_counters :]
            changes.keys.append(NewKeys(COUNTERS, self._stored_counters, new))
        return changes

    def committed(self, changes: Changes) -> None:
        """The changes are stored. Nothing may have been folded in between."""
        self.stored_offset = changes.to
        self._reset.clear()
        for cells in self.cells.values():
            cells.cells.dirty.clear()
            cells.stored_keys = len(cells.keys)
        self.counters.committed()
        self._stored_counters = len(self.counters.keys)

    def join(self, other: "Fold", config: Config) -> None:
        """Go on under `config`: take over the selections of a fold that was fed the same records up to the same offset, drop what `config` lacks."""
        if other.offset != self.offset:
            raise ValueError(f"folds at offsets {self.offset} and {other.offset} cannot join")
        joined = self.cells | other.cells
        self._reset = sorted(set(other.cells) | (set(self.cells) - set(config.selections)))
        self.cells = {name: joined[name] for name in config.selections}
        for name, cells in self.cells.items():
            cells.retention_ms = config.retentions[name]
            if name in other.cells:
                cells.stored_keys = 0
                cells.cells.dirty.update(cells.cells.pages())
        known = self.counters.last()
        for key, (time, value) in other.counters.last().items():
            if key not in known:
                self.counters.seed(key, time, value)
        self.config = config
        self._forget_series()

    def _accept(self, record: Record) -> tuple[Batch, _I64] | None:
        """The batch of a record and the numbers of its series, or None of one that cannot be read or was folded before."""
        self.tally.records += 1
        try:
            batch = decode(record.value)
            numbers = self._series.numbers(batch)
        except ValueError as error:
            self.tally.poison += 1
            self.tally.last_poison = f"offset {record.offset}: {error}"
            return None
        state = self._state
        sequence, _ = state.sequences.get(batch.instance, (-1, 0))
        if batch.sequence <= sequence:
            self.tally.duplicates += 1
            return None
        state.clock = max(state.clock, batch.ingest_ms)
        state.sequences[batch.instance] = (batch.sequence, batch.ingest_ms)
        if len(state.sequences) > 16:
            state.sequences = {k: v for k, v in state.sequences.items() if v[1] > state.clock - INSTANCE_MS}
        return batch, numbers

    def _columns(self, batch: Batch, numbers: _I64) -> _Columns:
        self.tally.samples += len(batch.series)
        newest = min(int(batch.times.max()), batch.ingest_ms)
        self._state.max_time = max(self._state.max_time, newest)
        ingest = np.full(len(batch.series), batch.ingest_ms, np.int64)
        return _Columns(numbers[batch.series], batch.times, batch.values, ingest)

    def _place(self, number: int, kind: int, key: bytes) -> int:
        """Match a new series against every selection of its metric; the number of its counter, -1 where none reads it as one."""
        metric, labels = parse_series_key(key)
        counted = False
        for cells in self._by_metric.get(metric, ()):
            cells.place(number, kind, key, labels)
            counted |= cells.selection.accumulator == "increase" and cells.groups[number] >= 0
        return self.counters.number(key) if counted and kind == Kind.counter else -1

    def _add(self, parts: Sequence[_Columns]) -> None:
        series = np.concatenate([part.series for part in parts])
        times = np.concatenate([part.times for part in parts])
        values = np.concatenate([part.values for part in parts])
        ingest = np.concatenate([part.ingest for part in parts])
        columns = _Columns(series, times, values, ingest)
        counted: list[_Cells] = []
        for cells in self.cells.values():
            if len(cells.groups) == 0:
                continue
            groups = _lookup(cells.groups, series)
            if not (groups >= 0).any():
                continue
            if cells.selection.accumulator == "increase":
                counted.append(cells)
            else:
                mine = np.flatnonzero(groups >= 0)
                self._add_samples(cells, groups[mine], times[mine], values[mine], ingest[mine])
        if counted:
            self._add_increases(counted, columns)

    def _add_samples(
        self,
        cells: _Cells,
        groups: _I64,
        times: _I64,
        values: npt.NDArray[np.float64],
        ingest: _I64,
    ) -> None:
        every = cells.selection.every_ms
        buckets = times // every * every
        fresh = buckets + every > ingest - cells.retention_ms
        if not fresh.all():
            self.tally.late += int((~fresh).sum())
            groups, times, values, buckets = groups[fresh], times[fresh], values[fresh], buckets[fresh]
        if len(groups):
            cells.cells.add(buckets, groups, times, values)

    def _add_increases(self, counted: list[_Cells], columns: _Columns) -> None:
        """Counters advance once, for all selections that read them; deltas are increases at their own time."""
        kinds = self._series.kinds[columns.series]
        numbers = self._series.counters[columns.series]
        counters = np.flatnonzero(numbers >= 0)
        grown = self.counters.advance(numbers[counters], columns.times[counters], columns.values[counters])
        sample = counters[grown.sample]
        for cells in counted:
            groups = _lookup(cells.groups, columns.series)
            every = cells.selection.every_ms
            index, buckets, amounts = spread(grown, every)
            source = sample[index]
            deltas = np.flatnonzero((groups >= 0) & (kinds == Kind.delta))
            self.tally.not_counters += int(((groups >= 0) & ((kinds == Kind.gauge) | (kinds == Kind.distribution))).sum())
            # In the order of the log, whatever the kind, so that sums add up in one order only.
            all_source = np.concatenate((source, deltas))
            order = np.argsort(all_source, kind="stable")
            all_source = all_source[order]
            all_buckets = np.concatenate((buckets, columns.times[deltas] // every * every))[order]
            all_amounts = np.concatenate((amounts, columns.values[deltas]))[order]
            mine = groups[all_source] >= 0
            mine &= all_buckets + every > columns.ingest[all_source] - cells.retention_ms
            if mine.any():
                where = all_source[mine]
                cells.cells.add(all_buckets[mine], groups[where], columns.times[where], all_amounts[mine])

    def _index(self) -> None:
        self._by_metric = {}
        for cells in self.cells.values():
            self._by_metric.setdefault(cells.selection.metric, []).append(cells)

    def _forget_series(self) -> None:
        self._series.clear()
        for cells in self.cells.values():
            cells.forget_series()
        self._index()


def _lookup(groups: _I64, series: _I64) -> _I64:
    """The group of each sample; -1 also of series that came after the last one that matched."""
    return np.where(series < len(groups), groups[np.minimum(series, len(groups) - 1)], -1)
