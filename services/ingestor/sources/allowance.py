"""Allowance: how many dead letters a source may write, so that a broken producer does not fill their topic. Pure: a token bucket."""


class Allowance:
    """So many per minute, and as many at once after a quiet minute. `now` in seconds on any clock that does not go back."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._left = per_minute
        self._at: float | None = None

    def take(self, count: int, now: float) -> int:
        """How many of `count` are allowed."""
        if self._at is not None:
            self._left = min(self._per_minute, self._left + (now - self._at) * self._per_minute / 60)
        self._at = now
        granted = min(count, int(self._left))
        self._left -= granted
        return granted

    def give_back(self, count: int) -> None:
        """Of what was taken so many were not written after all, and will be asked for again."""
        self._left = min(self._per_minute, self._left + count)
