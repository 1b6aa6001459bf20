"""Columns of numbers that grow at their end. Pure."""

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


class Column:
    """Whole numbers by place."""

    def __init__(self) -> None:
        self._held = np.zeros(16, np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, number: int) -> None:
        if self._size == len(self._held):
            self._held = np.concatenate((self._held, np.zeros_like(self._held)))
        self._held[self._size] = number
        self._size += 1

    def at(self, places: I64) -> I64:
        """The numbers at these places; shape as places."""
        return self._held[places]

    def all(self) -> I64:
        """A view of every number; shape (len,)."""
        return self._held[: self._size]
