"""Writers: what one more sample of a counter means, when it may have begun anew or when several write it. Pure.

A counter that falls was reset, and counts from zero since; a newer start says so even where it does not fall. Two processes that write one
series look like resets in turn: what they count must not be summed. Where starts tell them apart, the newest start is followed. Where
not: a series that fell, came back to where it was before, and falls to where it had come back from, within 2 min, is two
series by turns; the higher one is followed. Samples of the other are passed over and reported, until the followed one is silent for 2 min.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

SPREAD_MS: Final = 300_000
"""Over how much time before a sample its increase is spread, at most."""
CONTEST_MS: Final = 120_000
"""For how long another value that a series had is remembered."""
NEVER: Final = -(1 << 63)


class Verdict(Enum):
    taken = auto()
    old = auto()  # it is not newer than the last one
    contested = auto()  # it is another writer's


@dataclass(frozen=True, slots=True)
class Step:
    """What a counter grew by since `begin`, epoch ms."""

    begin: int
    amount: float


@dataclass(slots=True)
class Last:
    """The last sample of a series. time, start: epoch ms, NEVER and 0 for none. other: where it was before it fell, which is
    above `value`; or, once it has come back, where it had come back from, which is below. other_time: when that was, 0 for none.
    """

    time: int
    value: float
    start: int
    other_time: int
    other: float

    def row(self) -> tuple[int, float, int, int, float]:
        """As partials.COUNTER has it."""
        return self.time, self.value, self.start, self.other_time, self.other

    def take(self, time: int, value: float, start: int = 0) -> tuple[Verdict, Step | None]:
        """Take a sample. start: epoch ms since when it counts, 0 where nobody knows."""
        if self.time == NEVER:
            known = 0 < start < time <= start + SPREAD_MS
            self._go_on(time, value, start)
            return Verdict.taken, Step(start, max(value, 0.0)) if known else None
        if time <= self.time:
            return Verdict.old, None
        if start and self.start and start < self.start:
            return self._superseded(time, value, start)
        if start and start > (self.start or self.time):
            begin = max(self.time, start) if start < time else self.time
            self._go_on(time, value, start)
            return Verdict.taken, _step(begin, time, value)
        self.start = start or self.start
        if time - self.other_time > CONTEST_MS:
            self.other_time, self.other = 0, 0.0
        return self._fall(time, value) if value < self.value else self._rise(time, value)

    def _superseded(self, time: int, value: float, start: int) -> tuple[Verdict, Step | None]:
        """A writer that began before the one that is followed. Once that one is silent, it is followed from here on."""
        if time - self.time > CONTEST_MS:
            self._go_on(time, value, start)
        return Verdict.contested, None

    def _fall(self, time: int, value: float) -> tuple[Verdict, Step | None]:
        if not (self.other_time and self.other <= value):
            step = _step(self.time, time, value)
            self._go_on(time, value, self.start, self.time, self.value)
            return Verdict.taken, step
        if time - self.time <= CONTEST_MS:
            self.other_time, self.other = time, value
            return Verdict.contested, None
        step = _step(self.other_time, time, value - self.other)
        self._go_on(time, value, self.start)
        return Verdict.contested, step

    def _rise(self, time: int, value: float) -> tuple[Verdict, Step | None]:
        step = _step(self.time, time, value - self.value)
        if self.other_time and self.value < self.other <= value:
            self.other_time, self.other = self.time, self.value
        self.time, self.value = time, value
        return Verdict.taken, step

    def _go_on(self, time: int, value: float, start: int, other_time: int = 0, other: float = 0.0) -> None:
        self.time, self.value, self.start, self.other_time, self.other = time, value, start, other_time, other


def _step(begin: int, end: int, amount: float) -> Step:
    return Step(max(begin, end - SPREAD_MS), max(amount, 0.0))
