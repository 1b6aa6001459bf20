"""Rows: what a cell of fixed size holds, how samples are added to it, and how cells are merged. Pure.

Both go through rows one after the other, in the order in which they are given, so that a sum is the same number however its samples or
cells came. `at` may name a row several times.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from services.contract.partials import EDGES, INCREASE, MOMENTS, VARIANCE, Rows

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_BEFORE: Final = np.iinfo(np.int64).min
_AFTER: Final = np.iinfo(np.int64).max


class _Add(Protocol):
    def __call__(self, rows: Rows, at: I64, times: I64, values: F64, /) -> None:
        """Add samples in log order to the rows `at` which they fall; all of shape (n,)."""


class _Merge(Protocol):
    def __call__(self, rows: Rows, at: I64, other: Rows, /) -> None:
        """Add cells that hold something, other[i] to rows[at[i]]. Of equal times the later one is the last, the earlier the first."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of row. empty: a row without samples; its count is 0. copies: whether a cell that is merged into an empty row is that cell, bit for bit."""

    dtype: np.dtype[np.void]
    empty: npt.NDArray[np.void]
    add: _Add
    merge: _Merge
    copies: bool = True

    def rows(self, n: int) -> Rows:
        """Empty rows, shape (n,)."""
        return np.frombuffer(bytearray(self.empty.tobytes() * n), self.dtype)


def _add_moments(rows: Rows, at: I64, times: I64, values: F64) -> None:
    np.add.at(rows["count"], at, 1)
    np.add.at(rows["sum"], at, values)
    np.minimum.at(rows["min"], at, values)
    np.maximum.at(rows["max"], at, values)
    _take_last(rows, at, times, values)


def _merge_moments(rows: Rows, at: I64, other: Rows) -> None:
    np.add.at(rows["count"], at, other["count"])
    np.add.at(rows["sum"], at, other["sum"])
    np.minimum.at(rows["min"], at, other["min"])
    np.maximum.at(rows["max"], at, other["max"])
    _take_last(rows, at, other["last_time"], other["last"])


def _add_edges(rows: Rows, at: I64, times: I64, values: F64) -> None:
    np.add.at(rows["count"], at, 1)
    _take_first(rows, at, times, values)
    _take_last(rows, at, times, values)


def _merge_edges(rows: Rows, at: I64, other: Rows) -> None:
    np.add.at(rows["count"], at, other["count"])
    _take_first(rows, at, other["first_time"], other["first"])
    _take_last(rows, at, other["last_time"], other["last"])


def _add_increase(rows: Rows, at: I64, _times: I64, values: F64) -> None:
    np.add.at(rows["count"], at, 1)
    np.add.at(rows["sum"], at, values)


def _merge_increase(rows: Rows, at: I64, other: Rows) -> None:
    np.add.at(rows["count"], at, other["count"])
    np.add.at(rows["sum"], at, other["sum"])


# Sums of (value - origin), whose origin is the first sample of the cell in the order of the log: values far from zero then lose no more
# digits than their number has, since no sample is farther from the mean than sqrt(n) standard deviations.


def _add_variance(rows: Rows, at: I64, _times: I64, values: F64) -> None:
    _take_origin(rows, at, values)
    off = values - rows["origin"][at]
    np.add.at(rows["count"], at, 1)
    np.add.at(rows["sum"], at, off)
    np.add.at(rows["squares"], at, off * off)


def _merge_variance(rows: Rows, at: I64, other: Rows) -> None:
    _take_origin(rows, at, other["origin"])
    off = other["origin"] - rows["origin"][at]
    np.add.at(rows["count"], at, other["count"])
    np.add.at(rows["sum"], at, other["sum"] + other["count"] * off)
    np.add.at(rows["squares"], at, other["squares"] + (2 * other["sum"] + other["count"] * off) * off)


# Of assignments to the same place numpy keeps the last one.


def _take_origin(rows: Rows, at: I64, values: F64) -> None:
    """Of rows that are empty, the first value."""
    new = np.flatnonzero(rows["count"][at] == 0)[::-1]
    rows["origin"][at[new]] = values[new]


def _take_last(rows: Rows, at: I64, times: I64, values: F64) -> None:
    """The newest of each row, of equal times the later one."""
    np.maximum.at(rows["last_time"], at, times)
    newest = np.flatnonzero(times == rows["last_time"][at])
    rows["last"][at[newest]] = values[newest]


def _take_first(rows: Rows, at: I64, times: I64, values: F64) -> None:
    """The oldest of each row, of equal times the earlier one."""
    before = rows["first_time"][at]
    np.minimum.at(rows["first_time"], at, times)
    oldest = np.flatnonzero((times == rows["first_time"][at]) & (times < before))[::-1]
    rows["first"][at[oldest]] = values[oldest]


def _row(dtype: np.dtype[np.void], *fields: float) -> npt.NDArray[np.void]:
    return np.array(fields, dtype)


MOMENTS_LAYOUT: Final = Layout(MOMENTS, _row(MOMENTS, 0, 0.0, np.inf, -np.inf, _BEFORE, np.nan), _add_moments, _merge_moments)
EDGES_LAYOUT: Final = Layout(EDGES, _row(EDGES, 0, _AFTER, np.nan, _BEFORE, np.nan), _add_edges, _merge_edges)
INCREASE_LAYOUT: Final = Layout(INCREASE, _row(INCREASE, 0, 0.0), _add_increase, _merge_increase)
VARIANCE_LAYOUT: Final = Layout(VARIANCE, _row(VARIANCE, 0, 0.0, 0.0, 0.0), _add_variance, _merge_variance, copies=False)

LAYOUTS: Final = {
    "moments": MOMENTS_LAYOUT, "series": MOMENTS_LAYOUT, "edges": EDGES_LAYOUT, "series_edges": EDGES_LAYOUT,
    "increase": INCREASE_LAYOUT, "variance": VARIANCE_LAYOUT,
}  # fmt: skip
