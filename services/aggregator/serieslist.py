"""The series that a fold has seen, numbered as they came, so that columns of samples carry numbers. Pure.

A cache: beginning it anew loses time and nothing else. What a series means to the selections is `lanes`' to remember.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from services.contract.batch import Batch, BatchError, Keys
from services.contract.series import Kind

MAX_SERIES: Final = 500_000
MAX_DICTIONARIES: Final = 8 << 20
"""Bytes of dictionaries that are known whole."""

I64 = npt.NDArray[np.int64]
NewSeries = Callable[[int, int, bytes], None]
"""Told of (number, kind, key) at first sight. ValueError where the key is not one."""


class SeriesList:
    """Series by kind and key: the same key with another kind is another series."""

    def __init__(self, on_new: NewSeries) -> None:
        self._on_new = on_new
        self._numbers: tuple[dict[bytes, int], ...] = tuple({} for _ in Kind)
        self._known = 0
        self._dictionaries: dict[bytes, I64] = {}  # whole, with the numbers of its series
        self._bytes = 0

    def __len__(self) -> int:
        return self._known

    @property
    def full(self) -> bool:
        return self._known > MAX_SERIES

    def numbers(self, batch: Batch) -> I64:
        """The number of each series of a batch's dictionary; not to be written to. ValueError where one is not a series.

        Whoever posts the same series every second sends the same dictionary every second: it is looked up whole first.
        """
        if not isinstance(batch.keys, Keys):
            return self._looked_up(batch)
        whole = batch.kinds.tobytes() + batch.keys.ends.tobytes() + batch.keys.packed
        found = self._dictionaries.get(whole)
        if found is None:
            found = self._looked_up(batch)
            self._bytes += len(whole) + found.nbytes
            if self._bytes > MAX_DICTIONARIES:
                self._dictionaries, self._bytes = {}, 0
            self._dictionaries[whole] = found
        return found

    def _looked_up(self, batch: Batch) -> I64:
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
            self._on_new(self._known, kind, key)
            found = self._numbers[kind][key] = self._known
            self._known += 1
        return found
