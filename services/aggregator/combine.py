"""Combining: the partials of all partitions into the cells of a selection, and those into the values of a view's input. Pure.

Partitions are taken in one order, and series in the order of their keys, so that sums come out equal bit for bit, whoever merges.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from services.aggregator import matching, sketch
from services.aggregator.accumulators import EMPTY_MOMENTS, Dense
from services.aggregator.columns import Column
from services.aggregator.mirror import Mirror
from services.aggregator.sketch import Bins
from services.aggregator.sketches import Sketches
from services.contract.partials import INCREASE, MOMENTS, Rows
from services.contract.series import Kind
from services.contract.views import Input, Selection

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_QUANTILES: Final = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


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

    def moments(self, bucket: int) -> Rows:
        """Rows of MOMENTS by group."""
        places = self._all_places()
        out = np.full(len(self.keys), EMPTY_MOMENTS, MOMENTS)
        for mirror, place in zip(self._mirrors, places, strict=True):
            rows, at = self._rows(mirror, bucket, place)
            if rows is None:
                continue
            out["count"][at] += rows["count"]
            out["sum"][at] += rows["sum"]
            out["min"][at] = np.minimum(out["min"][at], rows["min"])
            out["max"][at] = np.maximum(out["max"][at], rows["max"])
            newer = rows["last_time"] >= out["last_time"][at]
            out["last_time"][at[newer]] = rows["last_time"][newer]
            out["last"][at[newer]] = rows["last"][newer]
        return out

    def increases(self, bucket: int) -> Rows:
        """Rows of INCREASE by group."""
        places = self._all_places()
        out = np.zeros(len(self.keys), INCREASE)
        for mirror, place in zip(self._mirrors, places, strict=True):
            rows, at = self._rows(mirror, bucket, place)
            if rows is not None:
                out["count"][at] += rows["count"]
                out["sum"][at] += rows["sum"]
        return out

    def sketches(self, bucket: int) -> Bins:
        """Merged sketches."""
        found = []
        for mirror, place in zip(self._mirrors, self._all_places(), strict=True):
            bins = cast("Sketches", mirror.cells[self.name]).bins(bucket)
            if len(bins.keys):
                found.append(sketch.regrouped(bins, place))
        return sketch.pooled(found) if found else sketch.NOTHING

    def _rows(self, mirror: Mirror, bucket: int, place: I64) -> tuple[Rows | None, I64]:
        """The rows of one partition that hold something, and our numbers of their groups."""
        rows = cast("Dense", mirror.cells[self.name]).rows(bucket)
        if rows is None:
            return None, np.zeros(0, np.int64)
        rows = rows[: len(place)]
        held = np.flatnonzero(rows["count"])
        return rows[held], place[held]

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


class Values(Protocol):
    """What one input of a view has: a value per group of the view, NaN where there is none."""

    keys: list[bytes]
    combined: Combined

    def of(self, bucket: int) -> F64:
        """Shape (len(keys),)."""


class GroupValues:
    """A function of pooled samples; the groups are the selection's."""

    def __init__(self, item: Input, combined: Combined) -> None:
        self.keys = combined.keys
        self.combined = combined
        self._fn = item.fn
        self._seconds = item.selection.every_ms / 1000

    def of(self, bucket: int) -> F64:
        match self.combined.selection.accumulator:
            case "moments":
                return of_moments(self._fn, self.combined.moments(bucket))
            case "increase":
                rows = self.combined.increases(bucket)
                total = rows["sum"] / self._seconds if self._fn == "rate" else rows["sum"]
                return np.where(rows["count"] > 0, total, np.nan)
            case _:
                groups, quantiles = sketch.quantiles(self.combined.sketches(bucket), _QUANTILES[self._fn])
                values = np.full(len(self.keys), np.nan)
                values[groups] = quantiles
                return values


class SeriesValues:
    """First every series is reduced to one value per bucket, then a group's series are combined."""

    def __init__(self, item: Input, combined: Combined) -> None:
        self.keys: list[bytes] = []
        self.combined = combined
        self._item = item
        self._numbers: dict[bytes, int] = {}
        self._groups = Column()  # by series: its group
        self._pooled = Column()  # by series: whether 'auto' takes its sum
        self._order: I64 = np.zeros(0, np.int64)

    def of(self, bucket: int) -> F64:
        rows = self.combined.moments(bucket)
        self._extend()
        order = self._order[rows["count"][self._order] > 0]
        rows, groups = rows[order], self._groups.at(order)
        out = np.full(len(self.keys), EMPTY_MOMENTS, MOMENTS)
        value = _reduce(self._item.each, rows, self._pooled.at(order) != 0)
        np.add.at(out["count"], groups, 1)
        np.add.at(out["sum"], groups, value)
        np.minimum.at(out["min"], groups, value)
        np.maximum.at(out["max"], groups, value)
        newest = np.argsort(rows["last_time"], kind="stable")
        out["last"][groups[newest]] = value[newest]
        return of_moments(self._item.fn, out)

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
    return SeriesValues(item, selection) if item.selection.accumulator == "series" else GroupValues(item, selection)


def of_moments(fn: str, rows: Rows) -> F64:
    """A function of rows of MOMENTS, NaN where count is 0; shape as rows."""
    held = rows["count"] > 0
    match fn:
        case "avg":
            value = rows["sum"] / np.maximum(rows["count"], 1)
        case "count":
            value = rows["count"].astype(np.float64)
        case "sum" | "min" | "max" | "last":
            value = rows[fn]
        case _:
            raise ValueError(f"{fn!r} is not a function of moments")
    return np.where(held, value, np.nan)


def _reduce(each: str, rows: Rows, pooled: npt.NDArray[np.bool_]) -> F64:
    """One value per series and bucket."""
    match each:
        case "auto":
            return np.where(pooled, rows["sum"], rows["last"])
        case "avg" | "last" | "min" | "max":
            return of_moments(each, rows)
    raise ValueError(f"{each!r} does not reduce a series")
