"""Accumulators: the cells of one selection in one partition, by bucket and group. Pure.

Each adds columns of samples to its cells in the order of the log, says which pages changed, and forgets old buckets.
Those of several selections do it together. Cells are absolute, and a function of the samples alone: how the log was cut into polls
does not show in them. Those of fixed rows are here, sketches are in `sketches`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from services.aggregator.arena import Arena, Place
from services.aggregator.bucketed import Accumulator, ByBucket, PageAt
from services.aggregator.sketches import Sketches
from services.aggregator.spots import Spots
from services.contract.partials import INCREASE, MOMENTS, PAGE, Rows, pack_page, unpack_page

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_NO_TIME: Final = np.iinfo(np.int64).min
EMPTY_MOMENTS: Final = np.array((0, 0.0, np.inf, -np.inf, _NO_TIME, np.nan), MOMENTS)


class Dense(ByBucket[Rows]):
    """Rows of fixed size: one array of rows per bucket, indexed by group. Those of buckets that samples fall into lie in an arena."""

    dtype: np.dtype[np.void]
    empty: npt.NDArray[np.void]

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[int, Place] = {}
        self._touched: set[int] = set()  # buckets whose places may have dirty pages

    @staticmethod
    def fold(rows: Rows, index: I64, times: I64, values: F64) -> None:
        """Add samples in log order. index: the row of each."""
        raise NotImplementedError

    @property
    def dirty(self) -> set[PageAt]:
        for bucket in self._touched:
            self._dirty.update((bucket, page) for page in self._places[bucket].take_dirty())
        self._touched.clear()
        return self._dirty

    def add(self, beside: Sequence["Dense"], arena: Arena, spots: Spots, groups: I64, times: I64, values: F64) -> None:
        highest = np.zeros(len(spots.at), np.int64)
        np.maximum.at(highest, spots.of, groups)
        places = [
            beside[slot].place(bucket, group, arena) for (slot, bucket), group in zip(spots.at, highest.tolist(), strict=True)
        ]
        index = np.array([place.start for place in places])[spots.of] + groups
        chunks = list({id(place.chunk): place.chunk for place in places}.values())
        if len(chunks) == 1:
            self.fold(chunks[0].rows, index, times, values)
            chunks[0].dirty[index // PAGE] = True
            return
        owner = np.array([chunks.index(place.chunk) for place in places])[spots.of]
        for number, chunk in enumerate(chunks):
            mine = np.flatnonzero(owner == number)
            self.fold(chunk.rows, index[mine], times[mine], values[mine])
            chunk.dirty[index[mine] // PAGE] = True

    def blob(self, bucket: int, page: int) -> bytes:
        rows = self._buckets[bucket][page * PAGE : (page + 1) * PAGE]
        held = np.flatnonzero(rows["count"])
        return pack_page(rows[: held[-1] + 1] if len(held) else rows[:0])

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        rows = unpack_page(blob, self.dtype)
        self._rows(bucket, page * PAGE + len(rows) - 1)[page * PAGE : page * PAGE + len(rows)] = rows

    def put(self, bucket: int, rows: Rows) -> None:
        """Hold these rows, by group, instead of what is there. Pages that differ count as changed; no group may be lost."""
        if not rows["count"].any():
            return
        held = self._rows(bucket, int(np.flatnonzero(rows["count"])[-1]))
        after = np.full(len(held), self.empty, self.dtype)
        after[: len(rows)] = rows[: len(held)]
        differs = held.view(np.uint8).reshape(-1, PAGE * held.itemsize) != after.view(np.uint8).reshape(
            -1, PAGE * held.itemsize
        )
        self.dirty.update((bucket, page) for page in np.flatnonzero(differs.any(axis=1)).tolist())
        held[:] = after

    def rows(self, bucket: int) -> Rows | None:
        """The rows of a bucket by group, None where it has none."""
        return self._buckets.get(bucket)

    def _live(self, held: Rows) -> I64:
        return np.flatnonzero(held["count"])

    def _kept(self, held: Rows, groups: I64) -> Rows:
        return held[groups[groups < len(held)]]

    def _pages(self, held: Rows) -> Iterable[int]:
        return sorted({group // PAGE for group in np.flatnonzero(held["count"]).tolist()})

    def _drop(self, bucket: int) -> None:
        super()._drop(bucket)
        self._places.pop(bucket, None)
        self._touched.discard(bucket)

    def _rows(self, bucket: int, highest: int) -> Rows:
        """The rows of a bucket, long enough for the highest group; whole pages, so that they seldom grow."""
        rows = self._buckets.get(bucket)
        if rows is None or highest >= len(rows):
            grown = np.full((highest // PAGE + 1) * PAGE, self.empty, self.dtype)
            rows = self._moved(bucket, grown)
            self._places.pop(bucket, None)
        return rows

    def place(self, bucket: int, highest: int, arena: Arena) -> Place:
        """Where in the arena the rows of a bucket lie from now on, which is about to be written."""
        place = self._places.get(bucket)
        if place is None or highest >= place.size:
            held = self._buckets.get(bucket)
            size = highest + 1 if held is None else max(highest + 1, len(held))
            place = arena.take(-(-size // PAGE) * PAGE, self.empty)
            self._moved(bucket, place.rows)
            self._places[bucket] = place
        self._touched.add(bucket)
        return place

    def _moved(self, bucket: int, to: Rows) -> Rows:
        if (held := self._buckets.get(bucket)) is not None:
            to[: len(held)] = held
            if bucket in self._touched:
                self._dirty.update((bucket, page) for page in self._places[bucket].take_dirty())
                self._touched.discard(bucket)
        return self._hold(bucket, to)


class Moments(Dense):
    """count, sum, min, max and last of the samples of each cell."""

    dtype = MOMENTS
    empty = EMPTY_MOMENTS

    @staticmethod
    def fold(rows: Rows, index: I64, times: I64, values: F64) -> None:
        np.add.at(rows["count"], index, 1)
        np.add.at(rows["sum"], index, values)  # one after the other: sums do not depend on how polls were cut
        np.minimum.at(rows["min"], index, values)
        np.maximum.at(rows["max"], index, values)
        np.maximum.at(rows["last_time"], index, times)
        newest = np.flatnonzero(times == rows["last_time"][index])  # of equal times the later one in the log is written last
        rows["last"][index[newest]] = values[newest]


class Increase(Dense):
    """What counters grew by; count says by how many samples."""

    dtype = INCREASE
    empty = np.array((0, 0.0), INCREASE)

    @staticmethod
    def fold(rows: Rows, index: I64, times: I64, values: F64) -> None:
        np.add.at(rows["count"], index, 1)
        np.add.at(rows["sum"], index, values)


def accumulator(name: str) -> Accumulator:
    """A fresh accumulator by the name that a Selection gives it."""
    match name:
        case "moments" | "series":
            return Moments()
        case "increase":
            return Increase()
        case "sketch":
            return Sketches()
    raise ValueError(f"{name!r} is not an accumulator")
