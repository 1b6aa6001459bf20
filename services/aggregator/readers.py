"""Readers: what reads the samples of a fold, and which of it each series meets. Pure.

A series is matched against the selections of its metric when it is first seen, and again when it was forgotten meanwhile, to the same end:
`serieslist` says which are remembered, `lanes` what is done with their samples.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.aggregator.asked import SelectionCells, Tally
from services.aggregator.counters import Counters
from services.aggregator.counting import Counting
from services.aggregator.itemlane import lanes
from services.aggregator.lanes import Lane, Samples
from services.aggregator.serieslist import SeriesList
from services.contract.batch import Batch
from services.contract.series import parse_series_key

I64 = npt.NDArray[np.int64]


class Readers:
    """cells: of the selections that take samples. most: how many series are remembered, but for those of one record."""

    def __init__(self, cells: Sequence[SelectionCells], counters: Counters, tally: Tally, most: int) -> None:
        self._lanes = lanes([item for item in cells if not item.counts])
        self._counting = Counting([item for item in cells if item.counts], counters, tally)
        self._asked: dict[str, list[tuple[Lane, list[tuple[int, SelectionCells]]]]] = {}
        for lane in (*self._lanes, *self._counting.lanes):
            by_metric: dict[str, list[tuple[int, SelectionCells]]] = {}
            for slot, item in enumerate(lane.cells):
                by_metric.setdefault(item.selection.metric, []).append((slot, item))
            for metric, items in by_metric.items():
                self._asked.setdefault(metric, []).append((lane, items))
        self._series = SeriesList(self._meet, most)
        self._ingest = 0  # of the record that is being read

    def __len__(self) -> int:
        """How many series are remembered."""
        return len(self._series)

    @property
    def full(self) -> bool:
        """Whether too many series are remembered; see `make_room`."""
        return self._series.full

    def remember(self, most: int) -> None:
        """Remember so many series from now on."""
        self._series.most = most

    def make_room(self) -> None:
        """Forget some series. Numbers that were given before say nothing any more."""
        known = len(self._series)
        kept = self._series.forget()
        for lane in self._lanes:
            lane.keep(kept, known)
        self._counting.keep(kept, known)

    def numbers(self, batch: Batch) -> I64:
        """The number of each series of a batch's dictionary; not to be written to. ValueError where one is not a series."""
        self._ingest = batch.ingest_ms
        return self._series.numbers(batch)

    def add(self, samples: Samples) -> None:
        """Give samples to all that reads them."""
        known = len(self._series)
        buckets: dict[int, I64] = {}
        for lane in self._lanes:
            if lane.every_ms not in buckets:
                buckets[lane.every_ms] = samples.times // lane.every_ms
            lane.add(samples, buckets[lane.every_ms], known)
        if self._counting.lanes:
            self._counting.add(samples, known)

    def _meet(self, number: int, kind: int, key: bytes) -> None:
        """Match a series against every selection of its metric."""
        metric, labels = parse_series_key(key)
        counting: list[SelectionCells] = []
        for lane, items in self._asked.get(metric, ()):
            targets = []
            for slot, cells in items:
                if (group := cells.place(kind, key, labels, self._ingest)) is not None:
                    targets.append((slot, group))
                    if cells.counts:
                        counting.append(cells)
            if targets:
                lane.take(number, kind, key, labels, targets)
        if counting:
            self._counting.number(number, kind, key, counting)
