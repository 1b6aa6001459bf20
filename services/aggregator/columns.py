"""Columns of numbers that grow. Pure."""

from collections.abc import Sequence

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

    def extend(self, numbers: Sequence[int] | I64) -> None:
        """Append several."""
        at = self._size
        self.reach(at + len(numbers))
        self._held[at : self._size] = numbers

    def put(self, place: int, number: int) -> None:
        """Write at a place; those before it that do not exist yet are 0."""
        self.reach(place + 1)
        self._held[place] = number

    def put_all(self, places: Sequence[int], numbers: Sequence[int] | I64) -> None:
        """Write at several places, of which none comes twice."""
        if len(places):
            self.reach(max(places) + 1)
            self._held[places] = numbers

    def reach(self, size: int) -> None:
        """Have at least so many places."""
        if size > len(self._held):
            grown = np.zeros(size + size // 4 + 16, np.int64)
            grown[: self._size] = self._held[: self._size]
            self._held = grown
        self._size = max(self._size, size)

    def keep(self, places: I64) -> None:
        """Hold the numbers at these places only, which are numbered anew in this order; what was never put is 0."""
        self.reach(int(places.max()) + 1 if len(places) else 0)
        self._held = self._held[places]
        self._size = len(places)

    def at(self, places: I64) -> I64:
        """The numbers at these places; shape as places."""
        return self._held[places]

    def all(self) -> I64:
        """A view of every number; shape (len,)."""
        return self._held[: self._size]
