"""Who leaves this gateway, when, and when each comes back elsewhere. Pure: time and chance come in, advice goes out.

Two orders: `drain` empties the gateway, `shed` sends some viewers away for good balance. Either way viewers are asked one after
the other, at a pace that the gateway which takes them can bear. What asking means is up to `departure`, which performs.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Viewer = TypeVar("Viewer", bound=Hashable)

SHARE: Final = 0.5
"""Of the new connections that a gateway accepts a second: all who leave may land on one, which has others coming, too."""
SPREAD_MS: Final = (200, 800)
"""Within which a viewer who is asked opens another connection: short, for the pace is kept by asking."""
COME_BACK_MS: Final = (500, 3_000)
"""After which viewers return who are closed all at once, at least; more where they are too many for that."""
CATCH_UP_S: Final = 0.1  # what was not asked because the loop stood still is not made up for in one burst
AGAIN_S: Final = 10.0  # who was asked to leave is not picked again for so long

Advice = tuple[Viewer, int]
"""A viewer, and within how many ms it should open another connection."""


@dataclass(frozen=True, slots=True)
class Terms:
    """per_second: viewers to ask. notice_s: in which balancers hear that nobody should come any more, who still does is welcome.

    deadline_s: after which the gateway goes, whoever is left; both since the order.
    """

    per_second: float
    notice_s: float
    deadline_s: float

    @property
    def round_s(self) -> float:
        """Between two rounds of asking those who are still here, or have come since."""
        return max(self.notice_s, 1.0)


def pace(accepts_per_second: float) -> float:
    """How many viewers a second may be asked to leave, where each gateway accepts so many."""
    return accepts_per_second * SHARE


def evenly(viewers: Sequence[Viewer], n: int) -> list[Viewer]:
    """n of them at equal distances: of a sequence in the order of dashboards, as many of each as is its share."""
    size = len(viewers)
    n = min(n, size)
    return [viewers[(2 * i + 1) * size // (2 * n)] for i in range(n)]


def returns(n: int, per_second: float, chance: Callable[[], float]) -> list[int]:
    """In how many ms each of n viewers comes back who are all closed now. chance: uniform in [0, 1)."""
    first, last = COME_BACK_MS
    span = max(last - first, 1000 * n / per_second)
    return [round(first + span * (i + chance()) / n) for i in range(n)]


class Leaving(Generic[Viewer]):
    """now: monotonic seconds, as all times here."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.asked = 0
        self._drained_since: float | None = None
        self._queue: deque[Viewer] = deque()
        self._per_second = terms.per_second
        self._next_at = 0.0
        self._round_at = 0.0
        self._recent: dict[Viewer, float] = {}  # who was asked when, the oldest first

    @property
    def draining(self) -> bool:
        return self._drained_since is not None

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Nothing will be due before another order."""
        return not (self.draining or self._queue or self._recent)

    def drain(self, now: float) -> None:
        """Everybody is to leave. Once is enough."""
        if self.draining:
            return
        self._drained_since = now
        self._round_at = now + self.terms.notice_s
        self._queue.clear()
        self._recent.clear()

    def shed(self, viewers: Sequence[Viewer], n: int, per_second: float, now: float) -> tuple[int, float]:
        """Send n of these away; how many will go, and at which pace. Who was asked a moment ago or waits for it is not asked again."""
        self._forget(now)
        passed = {*self._queue, *self._recent}
        chosen = evenly([viewer for viewer in viewers if viewer not in passed], n)
        self._line_up(chosen, min(per_second, self.terms.per_second), now)
        return len(chosen), self._per_second

    def step(self, here: Collection[Viewer], now: float, chance: Callable[[], float]) -> list[Advice[Viewer]]:
        """Who is to be asked now. here: everybody who is connected; chance: uniform in [0, 1)."""
        if self.draining and not self._queue and now >= self._round_at:
            self._line_up(here, self.terms.per_second, now)
            self._round_at = now + self.terms.round_s
        self._forget(now)
        advice: list[Advice[Viewer]] = []
        self._next_at = max(self._next_at, now - CATCH_UP_S)
        first, last = SPREAD_MS
        while self._queue and self._next_at <= now:
            viewer = self._queue.popleft()
            if viewer not in here:
                continue
            advice.append((viewer, round(first + (last - first) * chance())))
            self._next_at += 1 / self._per_second
            self._note(viewer, now)
        return advice

    def over(self, here: int, now: float) -> bool:
        """Whether the gateway may go. here: how many are still connected."""
        since = self._drained_since
        if since is None:
            return False
        return now >= since + self.terms.deadline_s or (now >= since + self.terms.notice_s and not here)

    def left_s(self, now: float) -> float | None:
        """Until the deadline; None where nobody has to leave."""
        return None if self._drained_since is None else max(0.0, self._drained_since + self.terms.deadline_s - now)

    def _line_up(self, viewers: Collection[Viewer], per_second: float, now: float) -> None:
        # The last one may have been asked at a slower pace.
        self._next_at = min(max(self._next_at, now), now + 1 / per_second)
        self._queue.extend(viewers)
        self._per_second = per_second

    def _note(self, viewer: Viewer, now: float) -> None:
        self.asked += 1
        if self.draining:
            self._round_at = now + self.terms.round_s  # after the last of this round
        else:
            self._recent[viewer] = now

    def _forget(self, now: float) -> None:
        """Whom nothing keeps from being asked again; they may be long gone."""
        while self._recent and now - next(iter(self._recent.values())) >= AGAIN_S:
            del self._recent[next(iter(self._recent))]
