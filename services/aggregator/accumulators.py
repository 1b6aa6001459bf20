"""Accumulators: the cells of one selection in one partition, by bucket and group. Pure.

Each adds columns of samples to its cells in the order of the log, says which pages changed, and forgets old buckets.
Cells are absolute, and a function of the samples alone: how the log was cut into polls does not show in them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from services.aggregator import sketch
from services.contract.partials import (
    INCREASE,
    MOMENTS,
    PAGE,
    Rows,
    Sketch,
    pack_page,
    pack_sketches,
    unpack_page,
    unpack_sketches,
)

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
PageAt = tuple[int, int]  # bucket start, page

Held = TypeVar("Held")

_NO_TIME: Final = np.iinfo(np.int64).min
_LAST: Final = int(np.iinfo(np.int64).max)
EMPTY_MOMENTS: Final = np.array((0, 0.0, np.inf, -np.inf, _NO_TIME, np.nan), MOMENTS)


class Accumulator(Protocol):
    dirty: set[PageAt]

    def add(self, buckets: I64, groups: I64, times: I64, values: F64) -> None:
        """Add samples in log order; all of shape (n,). buckets: epoch ms of the start of each sample's bucket."""

    def blob(self, bucket: int, page: int) -> bytes:
        """The page as it is stored."""

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        """Take over a stored page; only before the first sample."""

    def forget(self, before: int) -> list[PageAt]:
        """Drop buckets that start before this epoch ms; the pages that they had."""

    def pages(self) -> Iterator[PageAt]:
        """Every page that holds something."""

    def live(self) -> I64:
        """The groups that hold something in some bucket, ascending."""

    def keep(self, groups: I64) -> None:
        """Keep these groups, which are ascending and all that hold something; groups[i] becomes i. Every page counts as changed."""


class ByBucket(Generic[Held]):
    """Something held per bucket."""

    def __init__(self) -> None:
        self.dirty: set[PageAt] = set()
        self._buckets: dict[int, Held] = {}
        self._oldest = _LAST  # no bucket starts before it

    def forget(self, before: int) -> list[PageAt]:
        if before <= self._oldest:
            return []
        gone = [at for at in self.pages() if at[0] < before]
        self._buckets = {bucket: held for bucket, held in self._buckets.items() if bucket >= before}
        self._oldest = min(self._buckets, default=_LAST)
        self.dirty.difference_update(gone)
        return gone

    def pages(self) -> Iterator[PageAt]:
        for bucket, held in self._buckets.items():
            for page in self._pages(held):
                yield bucket, page

    def live(self) -> I64:
        found = [self._live(held) for held in self._buckets.values()]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def keep(self, groups: I64) -> None:
        self._buckets = {bucket: self._kept(held, groups) for bucket, held in self._buckets.items()}
        self.dirty = set(self.pages())

    def _pages(self, held: Held) -> Iterable[int]:
        raise NotImplementedError

    def _live(self, held: Held) -> I64:
        raise NotImplementedError

    def _kept(self, held: Held, groups: I64) -> Held:
        raise NotImplementedError

    def _hold(self, bucket: int, held: Held) -> Held:
        self._buckets[bucket] = held
        self._oldest = min(self._oldest, bucket)
        return held

    def _touch(self, bucket: int, groups: I64) -> None:
        self.dirty.update((bucket, page) for page in np.flatnonzero(np.bincount(groups // PAGE)).tolist())


class Dense(ByBucket[Rows]):
    """Rows of fixed size: one array of rows per bucket, indexed by group."""

    dtype: np.dtype[np.void]
    empty: npt.NDArray[np.void]

    def blob(self, bucket: int, page: int) -> bytes:
        rows = self._buckets[bucket][page * PAGE : (page + 1) * PAGE]
        held = np.flatnonzero(rows["count"])
        return pack_page(rows[: held[-1] + 1] if len(held) else rows[:0])

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        rows = unpack_page(blob, self.dtype)
        self._rows(bucket, page * PAGE + len(rows) - 1)[page * PAGE : page * PAGE + len(rows)] = rows

    def rows(self, bucket: int) -> Rows | None:
        """The rows of a bucket by group, None where it has none."""
        return self._buckets.get(bucket)

    def _live(self, held: Rows) -> I64:
        return np.flatnonzero(held["count"])

    def _kept(self, held: Rows, groups: I64) -> Rows:
        return held[groups[groups < len(held)]]

    def _pages(self, held: Rows) -> Iterable[int]:
        return sorted({group // PAGE for group in np.flatnonzero(held["count"]).tolist()})

    def _rows(self, bucket: int, highest: int) -> Rows:
        """The rows of a bucket, long enough for the highest group; whole pages, so that they seldom grow."""
        rows = self._buckets.get(bucket)
        if rows is None or highest >= len(rows):
            grown = np.full((highest // PAGE + 1) * PAGE, self.empty, self.dtype)
            if rows is not None:
                grown[: len(rows)] = rows
            rows = self._hold(bucket, grown)
        return rows


class Moments(Dense):
    """count, sum, min, max and last of the samples of each cell."""

    dtype = MOMENTS
    empty = EMPTY_MOMENTS

    def add(self, buckets: I64, groups: I64, times: I64, values: F64) -> None:
        for bucket, mine in by_bucket(buckets):
            group, value, time = groups[mine], values[mine], times[mine]
            rows = self._rows(bucket, int(group.max()))
            rows["count"] += np.bincount(group, minlength=len(rows))
            np.add.at(rows["sum"], group, value)  # one after the other: sums do not depend on how polls were cut
            np.minimum.at(rows["min"], group, value)
            np.maximum.at(rows["max"], group, value)
            _take_last(rows, group, time, value)
            self._touch(bucket, group)


class Increase(Dense):
    """What counters grew by; count says by how many samples."""

    dtype = INCREASE
    empty = np.array((0, 0.0), INCREASE)

    def add(self, buckets: I64, groups: I64, times: I64, values: F64) -> None:
        for bucket, mine in by_bucket(buckets):
            group = groups[mine]
            rows = self._rows(bucket, int(group.max()))
            rows["count"] += np.bincount(group, minlength=len(rows))
            np.add.at(rows["sum"], group, values[mine])
            self._touch(bucket, group)


class Sketches(ByBucket[dict[int, Sketch]]):
    """A sketch of log buckets per cell."""

    def add(self, buckets: I64, groups: I64, times: I64, values: F64) -> None:
        # Group and code in one number, so that equal pairs are counted in one pass.
        pairs = groups * (4 * sketch.OFFSET) + sketch.codes(values) + 2 * sketch.OFFSET
        for bucket, mine in by_bucket(buckets):
            unique, counts = np.unique(pairs[mine], return_counts=True)
            group, code = unique // (4 * sketch.OFFSET), unique % (4 * sketch.OFFSET) - 2 * sketch.OFFSET
            cells = self._cells(bucket)
            for at, bin_, count in zip(group.tolist(), code.tolist(), counts.tolist(), strict=True):
                cell = cells.setdefault(at, {})
                cell[bin_] = cell.get(bin_, 0) + count
            self._touch(bucket, group)

    def blob(self, bucket: int, page: int) -> bytes:
        cells = self._buckets[bucket]
        return pack_sketches({g % PAGE: cells[g] for g in range(page * PAGE, (page + 1) * PAGE) if g in cells})

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        cells = self._cells(bucket)
        for place, cell in unpack_sketches(blob).items():
            cells[page * PAGE + place] = cell

    def sketches(self, bucket: int) -> Mapping[int, Sketch]:
        """The sketches of a bucket by group."""
        return self._buckets.get(bucket, {})

    def _live(self, held: dict[int, Sketch]) -> I64:
        return np.array(sorted(held), np.int64)

    def _kept(self, held: dict[int, Sketch], groups: I64) -> dict[int, Sketch]:
        return {int(np.searchsorted(groups, group)): cell for group, cell in held.items()}

    def _pages(self, held: dict[int, Sketch]) -> Iterable[int]:
        return sorted({group // PAGE for group in held})

    def _cells(self, bucket: int) -> dict[int, Sketch]:
        cells = self._buckets.get(bucket)
        return self._hold(bucket, {}) if cells is None else cells


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


def by_bucket(buckets: I64) -> Iterator[tuple[int, I64 | slice]]:
    """Each bucket with the places of its samples, in the order of the log."""
    first = int(buckets[0])
    if (buckets == first).all():
        yield first, slice(None)
        return
    order = np.argsort(buckets, kind="stable")
    ordered = buckets[order]
    cuts = np.flatnonzero(np.diff(ordered)) + 1
    for part in np.split(order, cuts):
        yield int(buckets[part[0]]), part


def _take_last(rows: Rows, groups: I64, times: I64, values: F64) -> None:
    """The newest sample of each group, of equal times the later one in the log."""
    order = np.argsort(times, kind="stable")
    group = groups[order]
    # The last of each group in that order: the first in the reversed one.
    unique, place = np.unique(group[::-1], return_index=True)
    newest = order[::-1][place]
    taken = times[newest] >= rows["last_time"][unique]
    rows["last_time"][unique[taken]] = times[newest][taken]
    rows["last"][unique[taken]] = values[newest][taken]
