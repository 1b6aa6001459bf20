"""Arena: rows of many buckets side by side, so that one pass over columns of samples adds to all of them. Pure.

A chunk lives for as long as somebody holds rows of it: what shares an arena should be forgotten at about the same time.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.contract.partials import PAGE, Rows

CHUNK_ROWS: Final = 1 << 18
"""Memory is taken as rows are; this bounds only how many are side by side."""


@dataclass(slots=True, eq=False)
class Chunk:
    """dirty: by page of PAGE rows, whether it was written since somebody looked."""

    rows: Rows
    dirty: npt.NDArray[np.bool_]
    used: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Rows start to start + size of a chunk; both are whole pages."""

    chunk: Chunk
    start: int
    size: int

    @property
    def rows(self) -> Rows:
        return self.chunk.rows[self.start : self.start + self.size]

    def take_dirty(self) -> list[int]:
        """Pages written since the last call, counted from the start of the place."""
        dirty = self.chunk.dirty[self.start // PAGE : (self.start + self.size) // PAGE]
        pages = np.flatnonzero(dirty).tolist()
        dirty[:] = False
        return pages


@dataclass(slots=True)
class Arena:
    """Gives out places for rows of one kind."""

    _chunk: Chunk | None = field(default=None, init=False)

    def take(self, size: int, empty: npt.NDArray[Any]) -> Place:
        """Empty rows; size: a multiple of PAGE; empty: a row that holds nothing, shape ()."""
        chunk = self._chunk
        if chunk is None or chunk.used + size > len(chunk.rows):
            rows = max(size, CHUNK_ROWS)
            chunk = self._chunk = Chunk(np.empty(rows, empty.dtype), np.zeros(rows // PAGE, np.bool_))
        place = Place(chunk, chunk.used, size)
        chunk.used += size
        place.rows[:] = np.frombuffer(empty.tobytes() * size, empty.dtype)
        return place
