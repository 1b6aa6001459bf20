"""Combining: the partials of all partitions into the cells of a selection, and those into the values of a view's input. Pure.

Partitions are taken in one order, and series in the order of their keys, so that sums come out equal bit for bit, whoever merges.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.aggregator import items, matching, sketch
from services.aggregator.columns import Column
from services.aggregator.mirror import Mirror
from services.aggregator.pooling import pool
from services.aggregator.rows import EDGES_LAYOUT, MOMENTS_LAYOUT, VARIANCE_LAYOUT
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
        self._generations = [mirror.generation for mirror in mirrors]

    def buckets(self) -> set[int]:
        """Every bucket that some partition has."""
        return {bucket for mirror in self._mirrors for bucket in mirror.buckets(self.name)}

    def cells(self, bucket: int) -> Any:
        """What all partitions hold in a bucket as one, by our groups, as `accumulators.pool` gives it; to be read only."""
        places = self._all_places()
        held = [(mirror.cells[self.name].content(bucket), place) for mirror, place in zip(self._mirrors, places, strict=True)]
        parts = [(cells, place) for cells, place in held if cells is not None]
        return pool(self.selection.accumulator, parts, len(self.keys))

    def _all_places(self) -> list[I64]:
        """By mirror: our numbers of its groups."""
        for i, mirror in enumerate(self._mirrors):
            if mirror.generation != self._generations[i]:
                self._places[i], self._generations[i] = Column(), mirror.generation
            for key in mirror.keys[self.name][len(self._places[i]) :]:
                self._places[i].append(self._number(key))
        return [place.all() for place in self._places]

    def _number(self, key: bytes) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.keys)
            self.keys.append(key)
        return number


class Windows:
    """The sliding windows of a selection: of each bucket, what the buckets hold that end with it, merged in the order of time."""

    def __init__(self, combined: Combined, over_ms: int) -> None:
        self.combined = combined
        self._every = combined.selection.every_ms
        self._panes = max(1, over_ms // self._every)

    def cells(self, bucket: int) -> Any:
        """As `Combined.cells`."""
        if self._panes == 1:
            return self.combined.cells(bucket)
        panes = [self.combined.cells(bucket - back * self._every) for back in reversed(range(self._panes))]
        every = np.arange(len(self.combined.keys))
        return pool(self.combined.selection.accumulator, [(pane, every) for pane in panes], len(every))


class Values(Protocol):
    """What one input of a view has: a value per group of the view, NaN where there is none."""

    keys: list[bytes]
    combined: Combined

    def of(self, bucket: int) -> F64:
        """Shape (len(keys),)."""


class RowValues:
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


class CellValues:
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


class TopValues:
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
    """First every series is reduced to one value per bucket, then a group's series are combined."""

    def __init__(self, item: Input, combined: Combined) -> None:
        self.keys: list[bytes] = []
        self.combined = combined
        self._windows = Windows(combined, item.over_ms)
        self._item = item
        self._numbers: dict[bytes, int] = {}
        self._groups = Column()  # by series: its group
        self._pooled = Column()  # by series: whether 'auto' takes its sum
        self._order: I64 = np.zeros(0, np.int64)

    def of(self, bucket: int) -> F64:
        rows: Rows = self._windows.cells(bucket)
        self._extend()
        order = self._order[rows["count"][self._order] > 0]
        value = _reduce(self._item.each, rows[order], self._pooled.at(order) != 0)
        held = np.flatnonzero(~np.isnan(value))
        order, value = order[held], value[held]
        return _of_series(self._item.fn, self._groups.at(order), rows["last_time"][order], value, len(self.keys))

    def _extend(self) -> None:
        keys = self.combined.keys
        if len(self._groups) == len(keys):
            return
        for key in keys[len(self._groups) :]:
            kind, labels = matching.series_of_group(key)
            group = matching.labels_key(labels, self._item.by)
            if group not in self._numbers:
                self._numbers[group] = len(self.keys)
                self.keys.append(group)
            self._groups.append(self._numbers[group])
            self._pooled.append(kind in (Kind.delta, Kind.distribution))
        self._order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


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
