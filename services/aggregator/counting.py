"""Counting: from the samples of counters and deltas to the cells of the selections that ask what they grew by. Pure.

A counter advances once, for all selections that read it; how is `counters`' business.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.aggregator.asked import SelectionCells, Tally
from services.aggregator.columns import Column
from services.aggregator.counters import Counters, Increases, spread
from services.aggregator.itemlane import lanes
from services.aggregator.lanes import Lane, Samples
from services.contract.series import Kind

I64 = npt.NDArray[np.int64]


class Counting:
    """The selections of a fold that count."""

    def __init__(self, cells: Sequence[SelectionCells], counters: Counters, tally: Tally) -> None:
        self.lanes: list[Lane] = lanes(cells)
        self._counters = counters
        self._tally = tally
        self._numbers = Column()  # by series: 1 + its number among the counters, 0 of one that is not counted
        self._wrong = Column()  # by series: how many selections read it in vain, since it is no counter and no delta
        self._deltas = Column()  # by series: whether it is a delta that is read

    def number(self, series: int, kind: int, key: bytes, reading: Sequence[SelectionCells]) -> None:
        """Take a series that was just seen for the first time. reading: the selections that count and read it."""
        if kind == Kind.counter:
            if (number := self._counters.number(key)) is not None:
                self._numbers.put(series, 1 + number)
                return
            for cells in reading:
                cells.leave_out(key)
        elif kind == Kind.delta:
            self._deltas.put(series, 1)
        else:
            self._wrong.put(series, len(reading))

    def keep(self, series: I64, known: int) -> None:
        """Forget all series but these, which are numbered anew in this order. known: how many there were."""
        for lane in self.lanes:
            lane.keep(series, known)
        for column in (self._numbers, self._wrong, self._deltas):
            column.keep(series)

    def add(self, samples: Samples, known: int) -> None:
        """Add what samples tell. known: how many series there are."""
        for column in (self._numbers, self._wrong, self._deltas):
            column.reach(known)
        self._tally.not_counters += int(self._wrong.at(samples.series).sum())
        numbers = self._numbers.at(samples.series)
        places = np.flatnonzero(numbers)
        deltas = np.flatnonzero(self._deltas.at(samples.series))
        if not len(places) and not len(deltas):
            return
        ignored = self._counters.ignored
        starts = None if samples.starts is None else samples.starts[places]
        grown = self._counters.advance(numbers[places] - 1, samples.times[places], samples.values[places], starts)
        self._tally.disordered += self._counters.ignored - ignored
        if len(self._counters.contested):
            self._report(samples.series[places[self._counters.contested]], known)
        shares: dict[int, tuple[Samples, I64]] = {}
        for lane in self.lanes:
            every = lane.every_ms
            if every not in shares:
                shares[every] = _shares(samples, grown, places[grown.sample], deltas, every)
            if len(shares[every][1]):
                lane.add(*shares[every], known)

    def _report(self, series: I64, known: int) -> None:
        """Let selections take note of samples that were passed over for another writer's. series: of each."""
        self._tally.contested += len(series)
        for lane in self.lanes:
            _, slots, _ = lane.routes.of(series, known)
            for slot, count in zip(*np.unique(slots, return_counts=True), strict=True):
                lane.cells[int(slot)].was_contested(int(count))


def _shares(samples: Samples, grown: Increases, told: I64, deltas: I64, every_ms: int) -> tuple[Samples, I64]:
    """Increases and deltas as samples, and the number of each one's bucket; in the order of the log whatever the kind, so that sums add up in one order only.

    told: the sample that told each increase; deltas: the samples that are deltas.
    """
    index, buckets, amounts = spread(grown, every_ms)
    source = np.concatenate((told[index], deltas))
    order = np.argsort(source, kind="stable")
    source = source[order]
    buckets = np.concatenate((buckets // every_ms, samples.times[deltas] // every_ms))[order]
    amounts = np.concatenate((amounts, samples.values[deltas]))[order]
    return Samples(samples.series[source], samples.times[source], amounts, samples.ingest[source], ahead=samples.ahead), buckets
