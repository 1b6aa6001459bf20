"""Lanes: the selections of a fold that one pass over the samples serves, because they accumulate alike over buckets of one length. Pure.

A lane knows for every series which of its selections read it, and into which group. So the work on samples is the same for one
selection and for a hundred, and grows with the selections that a sample meets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.aggregator.arena import Arena
from services.aggregator.asked import SelectionCells
from services.aggregator.columns import Column
from services.aggregator.spots import Spots, spots

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Places = I64 | slice
EVERY: Final = slice(None)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples in the order of the log; each of shape (n,). series: its number; ingest: its record's ingest time, as `fold` judges it;
    starts: since when a counter counts, 0 where nobody knows; None where nobody knows of any. ahead: whether some may be of a later time than `ingest`."""

    series: I64
    times: I64
    values: F64
    ingest: I64
    starts: I64 | None = None
    ahead: bool = False

    def of(self, places: Places) -> "Samples":
        """Those at these places."""
        return Samples(self.series[places], self.times[places], self.values[places], self.ingest[places], ahead=self.ahead)


class Routes:
    """By series: the places of the selections in the lane that read it, and its group in each."""

    def __init__(self) -> None:
        self._starts = Column()
        self._counts = Column()
        self._slots = Column()
        self._groups = Column()
        self._new: tuple[list[int], list[int], list[int], list[int]] = (
            [],
            [],
            [],
            [],
        )  # series, counts, slots and groups since somebody looked

    def add(self, series: int, targets: Sequence[tuple[int, int]]) -> None:
        """The (selection's place, group) of a series that was just seen for the first time."""
        numbers, counts, slots, groups = self._new
        numbers.append(series)
        counts.append(len(targets))
        for slot, group in targets:
            slots.append(slot)
            groups.append(group)

    def keep(self, series: I64, known: int) -> None:
        """Forget all series but these, which are numbered anew in this order. known: how many there were."""
        self._take_new(known)
        counts = self._counts.at(series)
        targets = _runs(self._starts.at(series), counts)
        self._slots.keep(targets)
        self._groups.keep(targets)
        self._counts.keep(series)
        self._starts = Column()
        self._starts.extend(np.cumsum(counts) - counts)

    def _take_new(self, known: int) -> None:
        numbers, counts, slots, groups = self._new
        if numbers:
            first = len(self._slots)
            self._starts.put_all(numbers, np.cumsum([first, *counts[:-1]]))
            self._counts.put_all(numbers, counts)
            self._slots.extend(slots)
            self._groups.extend(groups)
            self._new = [], [], [], []
        self._counts.reach(known)
        self._starts.reach(known)

    def of(self, series: I64, known: int) -> tuple[Places, I64, I64]:
        """(sample, selection's place, group) of everything that samples meet, in the order of samples. known: how many series there are."""
        self._take_new(known)
        counts = self._counts.at(series)
        if len(counts) and int(counts.min()) == 1 == int(counts.max()):
            routes = self._starts.at(series)
            return EVERY, self._slots.at(routes), self._groups.at(routes)
        samples = np.flatnonzero(counts)
        routes = self._starts.at(series[samples])
        counts = counts[samples]
        if len(counts) and int(counts.max()) > 1:
            routes = _runs(routes, counts)
            samples = np.repeat(samples, counts)
        return samples, self._slots.at(routes), self._groups.at(routes)


class Lane:
    """Selections of one accumulator, one length of buckets and one retention."""

    def __init__(self, cells: Sequence[SelectionCells]) -> None:
        self.cells = cells
        self.every_ms = cells[0].selection.every_ms
        self.routes = Routes()
        self._retention_ms = cells[0].retention_ms
        self._accumulators = [item.cells for item in cells]
        self._arena = Arena()

    def take(self, series: int, kind: int, key: bytes, labels: Mapping[str, str], targets: Sequence[tuple[int, int]]) -> None:
        """Take a series that was just seen for the first time. targets: (selection's place, group) of those that read it."""
        self.routes.add(series, targets)

    def keep(self, series: I64, known: int) -> None:
        """Forget all series but these, which are numbered anew in this order. known: how many there were."""
        self.routes.keep(series, known)

    def add(self, samples: Samples, buckets: I64, known: int) -> None:
        """Add samples to the cells that they meet, but for those that came too late for them (`late` counts these).

        buckets: by sample, the number of its bucket since 1970. known: how many series there are.
        """
        sample, slots, groups = self.routes.of(samples.series, known)
        if not len(slots):
            return
        buckets = buckets[sample]
        if (int(buckets.min()) + 1) * self.every_ms <= int(samples.ingest.max()) - self._retention_ms:
            # The end of a bucket decides, by the ingest time of the sample's own record.
            fresh = (buckets + 1) * self.every_ms > samples.ingest[sample] - self._retention_ms
            sample = np.flatnonzero(fresh) if isinstance(sample, slice) else sample[fresh]
            slots, groups, buckets = slots[fresh], groups[fresh], buckets[fresh]
            if not len(slots):
                return
        samples = samples.of(sample)
        times = np.minimum(samples.times, samples.ingest) if samples.ahead else samples.times
        where = spots(slots, buckets, times, self.every_ms)
        for (slot, _), newest in zip(where.at, where.newest, strict=True):
            self.cells[slot].saw(newest)
        self._accumulate(where, slots, groups, samples)

    def _accumulate(self, spots: Spots, slots: I64, groups: I64, samples: Samples) -> None:
        """Add samples of which all are in time. slots, groups: by sample."""
        self._accumulators[0].add(self._accumulators, self._arena, spots, groups, samples.times, samples.values)


def _runs(begins: I64, counts: I64) -> I64:
    """Of several runs of numbers, each of which begins at `begins` and has so many, all numbers; both of shape (n,)."""
    ends = np.cumsum(counts)
    found: I64 = np.repeat(begins - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
    return found
