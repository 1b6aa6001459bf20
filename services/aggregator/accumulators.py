"""Accumulators: the cells of one selection in one partition, by bucket and group. Pure.

Each adds columns of samples to its cells in the order of the log, says which pages changed, and forgets old buckets.
Those of several selections do it together. Cells are absolute, and a function of the samples alone: how the log was cut into polls
does not show in them. Those of fixed rows are here, sketches are in `sketches`, items in `itemcells`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from services.aggregator.arena import Arena, Place
from services.aggregator.bucketed import Accumulator, ByBucket, PageAt
from services.aggregator.itemcells import Distinct, Top
from services.aggregator.rows import EDGES_LAYOUT, INCREASE_LAYOUT, MOMENTS_LAYOUT, VARIANCE_LAYOUT, Layout
from services.aggregator.sketches import Sketches
from services.aggregator.spots import Spots
from services.contract.partials import PAGE, Rows, pack_content, unpack_page

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


class Dense(ByBucket[Rows]):
    """Rows of fixed size: one array of rows per bucket, indexed by group. Those of buckets that samples fall into lie in an arena."""

    layout: ClassVar[Layout]

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[int, Place] = {}
        self._touched: set[int] = set()  # buckets whose places may have dirty pages

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
            self.layout.add(chunks[0].rows, index, times, values)
            chunks[0].dirty[index // PAGE] = True
            return
        owner = np.array([chunks.index(place.chunk) for place in places])[spots.of]
        for number, chunk in enumerate(chunks):
            mine = np.flatnonzero(owner == number)
            self.layout.add(chunk.rows, index[mine], times[mine], values[mine])
            chunk.dirty[index[mine] // PAGE] = True

    def blobs(self, bucket: int, pages: Sequence[int]) -> list[bytes]:
        rows = self._buckets[bucket]
        size = rows.itemsize
        held = rows["count"].reshape(-1, PAGE) != 0
        # Of each page, how many rows are left once empty ones at the end are cut off.
        lengths = np.where(held.any(axis=1), PAGE - np.argmax(held[:, ::-1], axis=1), 0).tolist()
        content = rows.tobytes()
        return [pack_content(content[page * PAGE * size : (page * PAGE + lengths[page]) * size]) for page in pages]

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        rows = unpack_page(blob, self.layout.dtype)
        self._rows(bucket, page * PAGE + len(rows) - 1)[page * PAGE : page * PAGE + len(rows)] = rows

    def put(self, bucket: int, content: Any) -> None:
        rows: Rows = content
        if not rows["count"].any():
            return
        held = self._rows(bucket, int(np.flatnonzero(rows["count"])[-1]))
        after = self.layout.rows(len(held))
        after[: len(rows)] = rows[: len(held)]
        differs = held.view(np.uint8).reshape(-1, PAGE * held.itemsize) != after.view(np.uint8).reshape(
            -1, PAGE * held.itemsize
        )
        self.dirty.update((bucket, page) for page in np.flatnonzero(differs.any(axis=1)).tolist())
        held[:] = after

    def _live(self, held: Rows) -> I64:
        return np.flatnonzero(held["count"])

    def _kept(self, held: Rows, groups: I64) -> Rows:
        kept = held[groups[groups < len(held)]]
        rows = self.layout.rows(-(-len(kept) // PAGE) * PAGE)
        rows[: len(kept)] = kept
        return rows

    def _pages(self, held: Rows) -> Iterable[int]:
        return sorted({group // PAGE for group in np.flatnonzero(held["count"]).tolist()})

    def _drop(self, bucket: int) -> None:
        super()._drop(bucket)
        self._places.pop(bucket, None)
        self._touched.discard(bucket)

    def _rows(self, bucket: int, highest: int) -> Rows:
        """The rows of a bucket, long enough for the highest group; whole pages, and twice as many where there were some, so that they seldom grow."""
        rows = self._buckets.get(bucket)
        if rows is None or highest >= len(rows):
            grown = self.layout.rows(max((highest // PAGE + 1) * PAGE, 0 if rows is None else 2 * len(rows)))
            rows = self._moved(bucket, grown)
            self._places.pop(bucket, None)
        return rows

    def place(self, bucket: int, highest: int, arena: Arena) -> Place:
        """Where in the arena the rows of a bucket lie from now on, which is about to be written."""
        place = self._places.get(bucket)
        if place is None or highest >= place.size:
            held = self._buckets.get(bucket)
            size = highest + 1 if held is None else max(highest + 1, len(held))
            place = arena.take(-(-size // PAGE) * PAGE, self.layout.empty)
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

    layout = MOMENTS_LAYOUT


class Edges(Dense):
    """count, first and last of the samples of each cell."""

    layout = EDGES_LAYOUT


class Variance(Dense):
    """count, sum and sum of squares of the samples of each cell, counted from the first of them."""

    layout = VARIANCE_LAYOUT


class Increase(Dense):
    """What counters grew by; count says by how many samples."""

    layout = INCREASE_LAYOUT


_CLASSES: Final[Mapping[str, type[Accumulator]]] = {
    "moments": Moments, "series": Moments, "edges": Edges, "series_edges": Edges, "variance": Variance, "increase": Increase,
    "sketch": Sketches, "distinct": Distinct, "topk": Top,
}  # fmt: skip


def accumulator(name: str) -> Accumulator:
    """A fresh accumulator by the name that a Selection gives it."""
    if name not in _CLASSES:
        raise ValueError(f"{name!r} is not an accumulator")
    return _CLASSES[name]()
