"""The series that a fold has seen, numbered as they came, so that columns of samples carry numbers. Pure.

A cache: beginning it anew loses time and nothing else. What a series means to a selection is `fold`'s to remember.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.contract.batch import Batch, BatchError
from services.contract.series import Kind

MAX_SERIES: Final = 500_000

I64 = npt.NDArray[np.int64]
NewSeries = Callable[[int, int, bytes], int]
"""Told of (number, kind, key) at first sight; gives the number of its counter, -1 where it is none that is read."""


class SeriesList:
    """Series by kind and key: the same key with another kind is another series."""

    def __init__(self, on_new: NewSeries) -> None:
        self._on_new = on_new
        self._numbers: tuple[dict[bytes, int], ...] = tuple({} for _ in Kind)
        self._size = 0
        self._kinds = np.zeros(64, np.int64)
        self._counters = np.zeros(64, np.int64)

    @property
    def full(self) -> bool:
        return self._size > MAX_SERIES

    @property
    def kinds(self) -> I64:
        """The kind of each series, by number."""
        return self._kinds

    @property
    def counters(self) -> I64:
        """The number of each series' counter, -1 where it is none; by number of the series."""
        return self._counters

    def numbers(self, batch: Batch) -> I64:
        """The number of each series of a batch's dictionary. ValueError where one is not a series."""
        kinds = batch.kinds.tolist()
        known = self._numbers
        try:
            return np.array([known[kind][key] for key, kind in zip(batch.keys, kinds, strict=True)], np.int64)
        except (KeyError, IndexError):
            return np.array([self._number(key, kind) for key, kind in zip(batch.keys, kinds, strict=True)], np.int64)

    def clear(self) -> None:
        for known in self._numbers:
            known.clear()
        self._size = 0

    def _number(self, key: bytes, kind: int) -> int:
        if kind >= len(self._numbers):
            raise BatchError(f"kind {kind} is not known")
        found = self._numbers[kind].get(key)
        if found is None:
            found = self._size
            counter = self._on_new(found, kind, key)
            self._kinds, self._counters = _put(self._kinds, found, kind), _put(self._counters, found, counter)
            self._numbers[kind][key] = found
            self._size += 1
        return found


def _put(column: npt.NDArray[Any], at: int, value: int) -> npt.NDArray[Any]:
    if at >= len(column):
        column = np.concatenate((column, np.zeros_like(column)))
    column[at] = value
    return column
