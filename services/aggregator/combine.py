"""Combining: the partials of all partitions into the cells of a selection, and those into the values of a view's input. Pure.

Partitions are taken in one order, and series in the order of their keys, so that sums come out equal bit for bit, whoever merges.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from services.aggregator import items, matching, sketch
from services.aggregator.admission import NO_PLACE, Admitted, admit, partial, ranks
from services.aggregator.census import census_of
from services.aggregator.columns import Column
from services.aggregator.mirror import Mirror
from services.aggregator.pooling import pool
from services.aggregator.rows import EDGES_LAYOUT, MOMENTS_LAYOUT, VARIANCE_LAYOUT
from services.contract import limits
from services.contract.limits import OVERFLOW, OVERFLOW_KEY
from services.contract.partials import Rows
from services.contract.series import Kind
from services.contract.views import BY_SERIES, Input, Selection

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


class Combined:
    """One selection over the mirrors of all partitions. Its groups are numbered as they appear here."""

    def __init__(self, name: str, selection: Selection, mirrors: Sequence[Mirror]) -> None:
        self.name = name
        self.selection = selection
        self.keys: list[bytes] = []
        self._mirrors = mirrors
        self._numbers: dict[bytes, int] = {}
        self._places = [Column() for _ in mirrors]  # by mirror: its group -> ours
        self._generations = [mirror.generations[name] for mirror in mirrors]
        self._seen: tuple[int, ...] = ()
        self.limit = limits.rolled(selection.limit) if selection.finer is not None else selection.limit
        self.admitted = Admitted()
        self.partial = 0
        self.census = b""  # of the groups that are pooled here
        self.decisions = 0  # grows when other groups are shown apart than before

    def buckets(self) -> set[int]:
        """Every bucket that some partition has."""
        return {bucket for mirror in self._mirrors for bucket in mirror.buckets(self.name)}

    def sampled(self) -> int | None:
        """Time of the newest sample in its cells, epoch ms, 0 for none; None where a partition may have a newer one whose fold does not say so."""
        newest = silent = 0
        for mirror in self._mirrors:
            if mirror.sampled is None:
                silent = max(silent, mirror.max_time)
            else:
                newest = max(newest, mirror.sampled.get(self.name, 0))
        return newest if silent <= newest else None

    def stamp(self, bucket: int) -> tuple[tuple[int, int], ...]:
        """Another value than before where a bucket may hold something else than before."""
        return tuple(mirror.changes(self.name, bucket) for mirror in self._mirrors)

    def cells(self, bucket: int) -> Any:
        """What all partitions hold in a bucket as one, by our groups, as `accumulators.pool` gives it; to be read only."""
        self.settle()
        places, shown = [place.all() for place in self._places], self.admitted.shown
        if shown is not None:
            places = [shown[place] for place in places]
        held = [(mirror.content(self.name, bucket), place) for mirror, place in zip(self._mirrors, places, strict=True)]
        parts = [(cells, place) for cells, place in held if cells is not None]
        return pool(self.selection.accumulator, parts, len(self.keys))

    def settle(self) -> int:
        """Decide which groups are shown apart, of those that are there by now; the answer changes when the decision does."""
        if self.seen() != self._seen and self.limit:
            self._seen = self.seen()
            places = [place.all() for place in self._places]
            overflow = self._numbers.get(OVERFLOW_KEY, len(self.keys))
            admitted = admit(ranks(places, len(self.keys)), self.limit, overflow)
            if len(admitted.pooled):
                self._number(OVERFLOW_KEY)
            self.partial = partial(places, len(self.keys), overflow)
            if not admitted.same(self.admitted):
                self.decisions += 1
                self.census = census_of(self.keys[group] for group in admitted.pooled.tolist())
            self.admitted = admitted
        return self.decisions

    def ranks(self) -> I64:
        """By group its rank among all partitions, as `admission` gives it."""
        return ranks([place.all() for place in self._places], len(self.keys))

    def seen(self) -> tuple[int, ...]:
        """Number the groups that are there by now. The answer changes when the partitions' lists do."""
        for i, mirror in enumerate(self._mirrors):
            if mirror.generations[self.name] != self._generations[i]:
                self._places[i], self._generations[i] = Column(), mirror.generations[self.name]
            for key in mirror.keys[self.name][len(self._places[i]) :]:
                self._places[i].append(self._number(key))
        return *map(len, self._places), *self._generations

    def _number(self, key: bytes) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.keys)
            self.keys.append(key)
        return number


class Windows:
    """The sliding windows of a selection: of each bucket, what the buckets hold that end with it, merged in the order of time.

    What the first buckets of a window come to is kept, for the last ones change most often.
    """

    def __init__(self, combined: Combined, over_ms: int) -> None:
        self.combined = combined
        self._every = combined.selection.every_ms
        self._panes = max(1, over_ms // self._every)
        # By first bucket: which groups were decided to be shown, stamps of the buckets that are merged, and what they come to.
        self._held: dict[int, tuple[int, list[Stamp], Any]] = {}

    def cells(self, bucket: int) -> Any:
        """As `Combined.cells`."""
        if self._panes == 1:
            return self.combined.cells(bucket)
        first = bucket - (self._panes - 1) * self._every
        stamps = [self.combined.stamp(first + place * self._every) for place in range(self._panes)]
        decided, done, merged = self._held.get(first, (0, [], None))
        if decided != self.combined.settle() or stamps[: len(done)] != done:
            done, merged = [], None
        settled = max(len(done), self._panes - OPEN)
        merged = self._merged(merged, first, len(done), settled)
        if len(self._held) >= MAX_WINDOWS:
            self._held.clear()
        self._held[first] = self.combined.decisions, stamps[:settled], merged
        return self._merged(merged, first, settled, self._panes)

    def _merged(self, merged: Any, first: int, begin: int, end: int) -> Any:
        """What is merged so far and these buckets, counted from the first of the window."""
        panes = [self.combined.cells(first + place * self._every) for place in range(begin, end)]
        parts = panes if merged is None else [merged, *panes]
        every = np.arange(len(self.combined.keys))
        return pool(self.combined.selection.accumulator, [(part, every) for part in parts], len(every))


Stamp = tuple[tuple[int, int], ...]
OPEN: Final = 3
"""Newest buckets of a window, which are merged each time."""
MAX_WINDOWS: Final = 16


class Values(Protocol):
    """What one input of a view has: a value per group of the view, NaN where there is none."""

    keys: list[bytes]
    combined: Combined

    def of(self, bucket: int) -> F64:
        """Shape (len(keys),)."""

    def settle(self) -> int:
        """Decide which groups are shown apart; the answer changes when the decision does, and every bucket is to be computed again."""

    def pooling(self) -> tuple[bytes, int]:
        """Registers of `census` of the groups that are pooled here, and how many of those that are shown may lack samples."""


class _OfSelection:
    """Values whose groups are the selection's."""

    combined: Combined

    def settle(self) -> int:
        return self.combined.settle()

    def pooling(self) -> tuple[bytes, int]:
        return self.combined.census, self.combined.partial


class RowValues(_OfSelection):
    """A function of rows; the groups are the selection's."""

    def __init__(self, item: Input, combined: Combined) -> None:
        self.keys = combined.keys
        self.combined = combined
        self._windows = Windows(combined, item.over_ms)
        self._fn = item.fn
        self._seconds = (item.over_ms or item.selection.every_ms) / 1000

    def of(self, bucket: int) -> F64:
        rows: Rows = self._windows.cells(bucket)
        match self._fn:
            case "rate":
                return of_rows("sum", rows) / self._seconds
            case "increase":
                return of_rows("sum", rows)
        return of_rows(self._fn, rows)


class CellValues(_OfSelection):
    """A function of sketches; the groups are the selection's."""

    def __init__(self, item: Input, combined: Combined) -> None:
        self.keys = combined.keys
        self.combined = combined
        self._windows = Windows(combined, item.over_ms)
        self._function = item.function

    def of(self, bucket: int) -> F64:
        cells = self._windows.cells(bucket)
        values = np.full(len(self.keys), np.nan)
        if self._function.kind == "quantile":
            groups, quantiles = sketch.quantiles(cells, self._function.number)
            values[groups] = quantiles
        else:
            for group, cell in cells.items():
                values[group] = items.distinct_value(cell)
        return values


class TopValues(_OfSelection):
    """The best items of each group of the selection; each is a group of its own, with the label that they are values of."""

    def __init__(self, item: Input, combined: Combined) -> None:
        self.keys: list[bytes] = []
        self.combined = combined
        self._windows = Windows(combined, item.over_ms)
        self._of = item.selection.of
        self._n = item.function.number
        self._numbers: dict[tuple[int, str], int] = {}  # by group and item

    def of(self, bucket: int) -> F64:
        cells = self._windows.cells(bucket)
        best = [
            (self._number(group, item), weight)
            for group in sorted(cells)
            for item, weight in items.top_values(cells[group], self._n)
        ]
        values = np.full(len(self.keys), np.nan)
        for number, weight in best:
            values[number] = weight
        return values

    def _number(self, group: int, item: str) -> int:
        found = self._numbers.get((group, item))
        if found is None:
            found = self._numbers[group, item] = len(self.keys)
            labels = matching.group_labels(self.combined.keys[group]) | {self._of: item}
            self.keys.append(matching.labels_key(labels, tuple(labels)))
        return found


class SeriesValues:
    """First every series is reduced to one value per bucket, then a group's series are combined.

    Of series that a partition could not keep apart only the sum of all samples is known. It counts where that is what is asked for; no other
    function has a value of them.
    """

    def __init__(self, item: Input, combined: Combined) -> None:
        self.keys: list[bytes] = []
        self.combined = combined
        self._windows = Windows(combined, item.over_ms)
        self._item = item
        self._numbers: dict[bytes, int] = {}
        self._groups = Column()  # by series: its group
        self._pooled = Column()  # by series: whether 'auto' takes its sum
        self._lost = Column()  # by series: whether it is many of which no value is known
        self._order: I64 = np.zeros(0, np.int64)
        self._admitted = Admitted()
        self._census = b""
        self._decisions = 0
        self._seen: tuple[int, ...] = ()
        self._limit = limits.rolled(item.limit) if item.selection.finer is not None else item.limit

    def of(self, bucket: int) -> F64:
        rows: Rows = self._windows.cells(bucket)
        self.settle()
        order = self._order[rows["count"][self._order] > 0]
        value = _reduce(self._item.each, rows[order], self._pooled.at(order) != 0)
        held = np.flatnonzero(~np.isnan(value) & (self._lost.at(order) == 0))
        order, value = order[held], value[held]
        groups, shown = self._groups.at(order), self._admitted.shown
        groups = groups if shown is None else shown[groups]
        return _of_series(self._item.fn, groups, rows["last_time"][order], value, len(self.keys))

    def settle(self) -> int:
        """A group is shown whole or not at all, so it has the rank of its first series."""
        seen = self.combined.seen()
        if seen == self._seen:
            return self._decisions
        self._seen = seen
        self._extend()
        if self._limit:
            rank = np.full(len(self.keys), NO_PLACE)
            np.minimum.at(rank, self._groups.all(), self.combined.ranks())
            admitted = admit(rank, self._limit, self._numbers.get(OVERFLOW_KEY, len(self.keys)))
            if len(admitted.pooled):
                self._number(OVERFLOW_KEY)
            if not admitted.same(self._admitted):
                self._decisions += 1
                self._census = census_of(self.keys[group] for group in admitted.pooled.tolist())
            self._admitted = admitted
        return self._decisions

    def pooling(self) -> tuple[bytes, int]:
        return self._census, 0

    def _extend(self) -> None:
        keys = self.combined.keys
        for key in keys[len(self._groups) :]:
            kind, labels = matching.series_of_group(key)
            summed = kind in (Kind.delta, Kind.distribution)
            many = labels == OVERFLOW
            self._groups.append(
                self._number(OVERFLOW_KEY if many and self._item.by else matching.labels_key(labels, self._item.by))
            )
            self._pooled.append(summed)
            self._lost.append(many and not (summed and self._item.each == "auto"))
        self._order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)

    def _number(self, key: bytes) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.keys)
            self.keys.append(key)
        return found


def values_of(item: Input, combined: Mapping[str, Combined]) -> Values:
    """The values of an input, given the combined selections by id."""
    selection = combined[item.selection.id]
    match item.selection.accumulator:
        case name if name in BY_SERIES:
            return SeriesValues(item, selection)
        case "topk":
            return TopValues(item, selection)
        case "sketch" | "distinct":
            return CellValues(item, selection)
    return RowValues(item, selection)


def of_rows(fn: str, rows: Rows) -> F64:
    """A function of rows that have what it needs, NaN where there is nothing; shape as rows."""
    held = rows["count"] > 0
    match fn:
        case "avg":
            value = rows["sum"] / np.maximum(rows["count"], 1)
        case "count":
            value = rows["count"].astype(np.float64)
        case "delta":
            held = rows["count"] > 1
            value = rows["last"] - rows["first"]
        case "stddev":
            count = np.maximum(rows["count"], 1)
            value = np.sqrt(np.maximum(rows["squares"] - rows["sum"] * rows["sum"] / count, 0.0) / count)
        case "sum" | "min" | "max" | "last" | "first":
            value = rows[fn]
        case _:
            raise ValueError(f"{fn!r} is not a function of rows")
    return np.where(held, value, np.nan)


def _reduce(each: str, rows: Rows, pooled: npt.NDArray[np.bool_]) -> F64:
    """One value per series and bucket."""
    return np.where(pooled, rows["sum"], rows["last"]) if each == "auto" else of_rows(each, rows)


def _of_series(fn: str, groups: I64, times: I64, values: F64, size: int) -> F64:
    """Combine series, in the order of their keys, each with one value of the time of its last sample."""
    match fn:
        case "delta":
            fn, layout = "sum", MOMENTS_LAYOUT
        case "first":
            layout = EDGES_LAYOUT
        case "stddev":
            layout = VARIANCE_LAYOUT
        case _:
            layout = MOMENTS_LAYOUT
    rows = layout.rows(size)
    layout.add(rows, groups, times, values)
    return of_rows(fn, rows)
