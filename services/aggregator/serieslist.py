"""The series that a fold has seen, numbered as they came, so that columns of samples carry numbers. Pure.

A cache: beginning it anew loses time and nothing else. What a series means to the selections of its metric is `asked`'s to remember.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from services.aggregator.columns import Column
from services.contract.batch import Batch, BatchError
from services.contract.series import Kind

MAX_SERIES: Final = 500_000

I64 = npt.NDArray[np.int64]
NewSeries = Callable[[int, bytes], tuple[int, int]]
"""Told of (kind, key) at first sight; gives (place of what is asked of its metric, -1 for nothing; its number there)."""


class SeriesList:
    """Series by kind and key: the same key with another kind is another series."""

    def __init__(self, on_new: NewSeries) -> None:
        self._on_new = on_new
        self._numbers: tuple[dict[bytes, int], ...] = tuple({} for _ in Kind)
        self.asked = Column()  # by number: where what is asked of its metric is listed, -1 where nothing is
        self.places = Column()  # by number: its number there

    @property
    def full(self) -> bool:
        return len(self.asked) > MAX_SERIES

    def numbers(self, batch: Batch) -> I64:
        """The number of each series of a batch's dictionary. ValueError where one is not a series."""
        kinds = batch.kinds.tolist()
        known = self._numbers
        try:
            return np.array([known[kind][key] for key, kind in zip(batch.keys, kinds, strict=True)], np.int64)
        except (KeyError, IndexError):
            return np.array([self._number(key, kind) for key, kind in zip(batch.keys, kinds, strict=True)], np.int64)

    def _number(self, key: bytes, kind: int) -> int:
        if kind >= len(self._numbers):
            raise BatchError(f"kind {kind} is not known")
        found = self._numbers[kind].get(key)
        if found is None:
            asked, place = self._on_new(kind, key)
            found = self._numbers[kind][key] = len(self.asked)
            self.asked.append(asked)
            self.places.append(place)
        return found
