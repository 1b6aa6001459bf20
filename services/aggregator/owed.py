"""What a merge owes its views: buckets that changed and are not computed yet. Pure.

A view that begins, or whose partition was loaded whole, has all of its buckets to compute. They go in shares, the newest first, so that live
views between them wait for a moment only.
"""

from collections.abc import Iterable
from heapq import nlargest
from typing import Final

STEP_S: Final = 0.010
"""How long a step may compute, but for FEW buckets of each view."""
FEW: Final = 8
_GUESS_S: Final = 0.0002
_NEVER: Final = 1 << 62


class Budget:
    """So many seconds from `now` on, by any clock that only grows."""

    def __init__(self, now: float, seconds: float) -> None:
        self._until = now + seconds

    def left(self, now: float) -> float:
        return max(0.0, self._until - now)


class Owed:
    """The buckets of one view that are to be computed."""

    def __init__(self) -> None:
        self._buckets: set[int] = set()
        self._cost_s = _GUESS_S  # of one bucket, as it was lately

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, buckets: Iterable[int]) -> None:
        self._buckets.update(buckets)

    def share(self, seconds: float, least: int = FEW) -> int:
        """How many buckets this time is enough for."""
        return max(least, int(seconds / self._cost_s))

    def take(self, count: int) -> set[int]:
        """The newest buckets, so many at most."""
        taken = set(nlargest(count, self._buckets)) if count < len(self._buckets) else set(self._buckets)
        self._buckets -= taken
        return taken

    def took(self, buckets: int, seconds: float) -> None:
        """How long it took to compute so many."""
        if buckets:
            self._cost_s = max((self._cost_s + seconds / buckets) / 2, 1e-6)

    def closed(self, until: int) -> int:
        """Until when buckets are closed, if they would be until then: one that is owed is not. Epoch ms."""
        return min(until, min(self._buckets, default=_NEVER))
