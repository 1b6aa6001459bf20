"""Columns of numbers that grow. Pure."""

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


class Column:
    """Whole numbers by place; 0 where none was put."""

    def __init__(self) -> None:
        self._held = np.zeros(16, np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, number: int) -> None:
        self.put(self._size, number)

    def put(self, place: int, number: int) -> None:
        """Write at a place; those before it that do not exist yet are 0."""
        self.reach(place + 1)
        self._held[place] = number

    def reach(self, size: int) -> None:
        """Have at least so many places."""
        if size > len(self._held):
            grown = np.zeros(max(2 * len(self._held), size), np.int64)
            grown[: self._size] = self._held[: self._size]
            self._held = grown
        self._size = max(self._size, size)

    def at(self, places: I64) -> I64:
        """The numbers at these places; shape as places."""
        return self._held[places]

    def all(self) -> I64:
        """A view of every number; shape (len,)."""
        return self._held[: self._size]
