"""Asked: what is asked of one metric. Its series, the selections that read them, and their cells in one partition. Pure.

A sample meets only the selections of its own metric. Which records count, and what a commit holds, is `fold`'s business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.aggregator import matching
from services.aggregator.accumulators import Accumulator, accumulator
from services.aggregator.columns import Column
from services.aggregator.counters import Counters, Increases, spread
from services.contract.series import Kind
from services.contract.views import Selection

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

SLACK_MS: Final = 60_000
"""How much longer than their retention cells are kept, for ingestors whose clocks or queues differ."""

MIN_COMPACTED: Final = 128
"""With fewer groups than this, dead ones are not worth the trouble."""


@dataclass(slots=True)
class Tally:
    """What happened to samples and records, since the process began."""

    samples: int = 0
    records: int = 0
    duplicates: int = 0
    late: int = 0
    poison: int = 0
    not_counters: int = 0
    disordered: int = 0
    last_poison: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one metric, in the order of the log; each of shape (n,). series: its number; ingest: its record's ingest time."""

    series: I64
    times: I64
    values: F64
    ingest: I64


class SelectionCells:
    """One selection's cells and groups."""

    def __init__(self, selection: Selection, retention_ms: int) -> None:
        self.selection = selection
        self.retention_ms = retention_ms
        self.match = matching.matcher(selection.where)
        self.cells: Accumulator = accumulator(selection.accumulator)
        self.keys: list[bytes] = []
        self.stored_keys = 0
        self._numbers: dict[bytes, int] = {}
        self.groups = Column()  # by series of the metric: the number of its group, -1 where it does not match

    @property
    def counts(self) -> bool:
        return self.selection.accumulator == "increase"

    def number(self, key: bytes) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.keys)
            self.keys.append(key)
        return found

    def place(self, kind: int, key: bytes, labels: Mapping[str, str]) -> bool:
        """Find the group of a series that was just seen for the first time; whether it has one."""
        matches = self.match(labels)
        self.groups.append(self.number(matching.group_key(self.selection, kind, key, labels)) if matches else -1)
        return matches

    def compact(self) -> bool:
        """Forget groups that have no cell any more, where most have none; the others are numbered anew. Whether it was done."""
        if len(self.keys) < MIN_COMPACTED or 2 * len(live := self.cells.live()) > len(self.keys):
            return False
        self.cells.keep(live)
        self.keys = [self.keys[group] for group in live.tolist()]
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self.stored_keys = 0
        return True

    def oldest(self, clock: int) -> int:
        """Buckets that start before this epoch ms have ended so long ago that nobody is shown them."""
        return clock - self.retention_ms - SLACK_MS - self.selection.every_ms

    def fresh(self, buckets: I64, ingest: I64) -> npt.NDArray[np.bool_]:
        """Which samples' buckets are still kept, by the ingest time of their own record; shape (n,)."""
        return buckets + self.selection.every_ms > ingest - self.retention_ms


class Asked:
    """The series of one metric, numbered as they appear, and the selections that read them."""

    def __init__(self, cells: Sequence[SelectionCells], counters: Counters, tally: Tally) -> None:
        self._sampled = [item for item in cells if not item.counts]
        self._counted = [item for item in cells if item.counts]
        self._counters = counters
        self._tally = tally
        self._kinds = Column()
        self._numbers = Column()  # by series: its number among the counters, -1 of one that is not counted
        for item in cells:
            item.groups = Column()

    def number(self, kind: int, key: bytes, labels: Mapping[str, str]) -> int:
        """The number of a series that was just seen for the first time."""
        for item in self._sampled:
            item.place(kind, key, labels)
        counted = [item.place(kind, key, labels) for item in self._counted]
        self._kinds.append(kind)
        self._numbers.append(self._counters.number(key) if any(counted) and kind == Kind.counter else -1)
        return len(self._kinds) - 1

    def add(self, samples: Samples) -> None:
        """Add samples to the cells of every selection that they meet."""
        for item in self._sampled:
            groups = item.groups.at(samples.series)
            mine: npt.NDArray[np.intp] | slice = slice(None) if (groups >= 0).all() else np.flatnonzero(groups >= 0)
            self._add_samples(item, groups[mine], samples.times[mine], samples.values[mine], samples.ingest[mine])
        if self._counted:
            self._add_increases(samples)

    def _add_samples(self, item: SelectionCells, groups: I64, times: I64, values: F64, ingest: I64) -> None:
        every = item.selection.every_ms
        buckets = times // every * every
        fresh = item.fresh(buckets, ingest)
        if not fresh.all():
            self._tally.late += int((~fresh).sum())
            groups, times, values, buckets = groups[fresh], times[fresh], values[fresh], buckets[fresh]
        if len(groups):
            item.cells.add(buckets, groups, times, values)

    def _add_increases(self, samples: Samples) -> None:
        """Counters advance once, for all selections that read them; deltas are increases at their own time."""
        kinds, numbers = self._kinds.at(samples.series), self._numbers.at(samples.series)
        places = np.flatnonzero(numbers >= 0)
        ignored = self._counters.ignored
        grown = self._counters.advance(numbers[places], samples.times[places], samples.values[places])
        self._tally.disordered += self._counters.ignored - ignored
        for item in self._counted:
            self._spread(item, samples, kinds, grown, places[grown.sample])

    def _spread(self, item: SelectionCells, samples: Samples, kinds: I64, grown: Increases, sample: I64) -> None:
        """Add to one selection what its counters grew by. sample: index of the sample that told each increase."""
        groups, every = item.groups.at(samples.series), item.selection.every_ms
        wrong = (groups >= 0) & ((kinds == Kind.gauge) | (kinds == Kind.distribution))
        self._tally.not_counters += int(wrong.sum())
        index, buckets, amounts = spread(grown, every)
        deltas = np.flatnonzero(kinds == Kind.delta)
        # In the order of the log, whatever the kind, so that sums add up in one order only.
        source = np.concatenate((sample[index], deltas))
        order = np.argsort(source, kind="stable")
        source = source[order]
        buckets = np.concatenate((buckets, samples.times[deltas] // every * every))[order]
        amounts = np.concatenate((amounts, samples.values[deltas]))[order]
        mine = (groups[source] >= 0) & item.fresh(buckets, samples.ingest[source])
        if mine.any():
            source = source[mine]
            item.cells.add(buckets[mine], groups[source], samples.times[source], amounts[mine])
