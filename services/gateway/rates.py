"""How often viewers hear of changes: the rates that there are, and how a gateway that cannot keep up slows all of them down."""

from typing import Final

RATES: Final = (20, 10, 5, 2, 1)
"""Frames a second, at most. One frame is composed for each rate that somebody has."""
FASTEST: Final = RATES[0]
PAUSED: Final = 0
"""Only signs of life and what is away: a page that nobody sees."""
SLOWEST_MS: Final = 2_000  # between two frames, however busy the gateway is: clients give up after 3 s of silence


def rate_of(hz: float) -> int:
    """The rate for a wish: the fastest that is not faster; 1 for wishes below it, PAUSED for 0. ValueError for one below 0."""
    if not hz >= 0:
        raise ValueError(f"hz is {hz:g}, expected 0 to {FASTEST}")
    if hz == 0:
        return PAUSED
    return next((rate for rate in RATES if rate <= hz), RATES[-1])


def below(hz: float) -> int:
    """The fastest rate that is slower, the slowest one where none is."""
    return next((rate for rate in RATES if rate < hz), RATES[-1])


def above(hz: int) -> int:
    """The slowest rate that is faster, the fastest one where none is."""
    return next((rate for rate in reversed(RATES) if rate > hz), FASTEST)


class Throttle:
    """How much slower than asked all rates are, 1, 2, 4 or 8 times, so that a tick has the time that it needs. Pure.

    busy: share of the time that ticks took lately. A rate that is halved needs half of it, so that one that is doubled again
    has room only below half of what was too much.
    """

    LIMIT: Final = 8
    TOO_MUCH: Final = 0.85
    ROOM: Final = 0.35
    FULL: Final = 0.7  # of new viewers; and it is not again full before there is clearly room
    FREE: Final = 0.5
    OVER_MS: Final = 1_000  # so long too busy before all become slower
    CALM_MS: Final = 5_000  # and so long with room before they become faster again
    _SMOOTH_MS: Final = 500

    __slots__ = ("_at", "_over_since", "_room_since", "busy", "factor", "full")

    def __init__(self, now: int) -> None:
        self.rest(now)

    def rest(self, now: int) -> None:
        """Nobody watches: nothing is too much, and no tick will come that would find it out."""
        self.factor = 1
        self.busy = 0.0
        self.full = False  # more viewers would make it worse for those who are there
        self._at = now
        self._over_since: int | None = None
        self._room_since: int | None = None

    def every_ms(self, hz: int) -> float:
        """Time between two frames of a rate."""
        return min(1_000 / hz * self.factor, max(SLOWEST_MS, 1_000 / hz))

    def hz(self, hz: int) -> float:
        """Frames a second that a rate really has."""
        return 1_000 / self.every_ms(hz) if hz else 0

    def observe(self, took_ms: float, now: int) -> bool:
        """A tick has ended that took so long, the last one ended at the `now` before. Whether the factor is another one."""
        if now < self._at:  # the clock was set back
            self._over_since = self._room_since = None
        span = max(now - self._at, took_ms, 1)
        self._at = now
        weight = min(1.0, span / self._SMOOTH_MS)
        self.busy += weight * (took_ms / span - self.busy)
        self.full = self.factor > 1 or self.busy > (self.FREE if self.full else self.FULL)
        self._over_since = (self._over_since or now) if self.busy > self.TOO_MUCH else None
        self._room_since = (self._room_since or now) if self.busy < self.ROOM else None
        if self._over_since and now - self._over_since >= self.OVER_MS and self.factor < self.LIMIT:
            self.factor *= 2
        elif self._room_since and now - self._room_since >= self.CALM_MS and self.factor > 1:
            self.factor //= 2
        else:
            return False
        self.full = self.full or self.factor > 1
        self._over_since = self._room_since = None
        return True
