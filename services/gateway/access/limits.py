"""How much one may ask for: connections at a time, and things per second. Pure: time comes in, in seconds of any clock that only grows."""

from collections import Counter
from collections.abc import Hashable
from typing import Final

_MOST_KEYS: Final = 100_000  # of a rate by key; then those that have recovered are forgotten, and all where few have


class Rate:
    """So many a second, and `burst` at once: a token bucket as one number, the time at which it would be full again.

    That is the virtual scheduling of ATM's generic cell rate algorithm; per key it costs one float. per_s 0: no limit.
    """

    __slots__ = ("_depth_s", "_each_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._each_s = 1 / per_s if per_s > 0 else 0.0
        self._depth_s = max(burst, 1) * self._each_s

    @property
    def unlimited(self) -> bool:
        return self._each_s == 0

    def take(self, full_at: float, now: float) -> tuple[float, float]:
        """(full_at afterwards, how many seconds to wait): wait 0 means that it was granted, otherwise full_at is as before."""
        after = max(full_at, now) + self._each_s
        wait = after - now - self._depth_s
        return (full_at, wait) if wait > 1e-9 else (after, 0.0)


class Rates:
    """The same rate for every key of its own, and forgotten when it has recovered."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, now: float) -> float:
        """Seconds to wait; 0: granted."""
        if self._rate.unlimited:
            return 0.0
        if len(self._full_at) >= _MOST_KEYS and key not in self._full_at:
            recovering = {held: full_at for held, full_at in self._full_at.items() if full_at > now}
            self._full_at = recovering if len(recovering) < _MOST_KEYS / 2 else {}
        self._full_at[key], wait = self._rate.take(self._full_at.get(key, now), now)
        return wait


class Held:
    """How many each key holds at the same time. most 0: no limit, and nothing is counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def counts(self) -> bool:
        return self._most > 0

    def full(self, key: Hashable) -> bool:
        return self._most > 0 and self._held[key] >= self._most

    def take(self, key: Hashable) -> None:
        if self._most:
            self._held[key] += 1

    def give_back(self, key: Hashable) -> None:
        if self._most:
            self._held[key] -= 1
            if self._held[key] <= 0:
                del self._held[key]
