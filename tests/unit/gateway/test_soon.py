"""How soon viewers are told that a part is away, in a time that the test makes: within two seconds, however badly it is timed.

What aggregators write, what a gateway reads of it and when it looks are as seldom as they may be, and at any distance from each other. What the
machine adds, and that it works between processes, is in tests/pipeline/test_gateway_parts.py and `make bench ARGS=stale`.
"""

from itertools import product

import pytest

from services.aggregator.reach import Reach
from services.aggregator.service import BEAT_MS
from services.contract.views import Beat
from services.gateway.hub import QUIET_S, TICK_S
from services.gateway.pulse import EVERY_S
from services.gateway.rates import PAUSED
from services.transport.feed import PATIENCE_S
from tests.unit.gateway.test_stage import START, Seat, World
from tests.unit.gateway.worlds import payload

WITHIN_MS = 2_000
STEP_MS = 10
PERIODS_MS = WRITE_MS, READ_MS, LOOK_MS = BEAT_MS, round(EVERY_S * 1_000), round((QUIET_S + TICK_S) * 1_000)
DEATH_MS = 1_200  # after everything has begun; a multiple of all periods, so that an offset of nothing is at the same time


class Story:
    """One part dies. Each of the others does its own at its own times: wrote, read, looked are how much later than the test begins."""

    def __init__(self, part: str, wrote: int, read: int, looked: int) -> None:
        self.part = part
        self.world = World()
        self.world.read()
        self.seats = [self.world.join(hz=hz) for hz in (20, 1, PAUSED)]
        self.reach, self.beat = Reach(), Beat(START, START)
        self.reach.back(START)
        self._offsets = wrote, read, looked

    def told_after_ms(self) -> int:
        """When everybody knows, after it has died."""
        for at in range(0, DEATH_MS + 2 * WITHIN_MS, STEP_MS):
            writes, reads, looks = self._turns(at)
            if not (writes or reads or looks):
                continue
            self.world.now, dead = START + at, at >= DEATH_MS
            self._pass(at, writes=writes, reads=reads)
            if looks:
                self.world.tick()
                if all(self._knows(seat) for seat in self.seats):
                    assert dead
                    return at - DEATH_MS
        raise AssertionError(f"not everybody is told of {self.part}")

    def _turns(self, at: int) -> tuple[bool, ...]:
        """Whether it is time to write, to read and to look."""
        return tuple((at - offset) % every == 0 for offset, every in zip(self._offsets, PERIODS_MS, strict=True))

    def _pass(self, at: int, *, writes: bool, reads: bool) -> None:
        now, dead = self.world.now, at >= DEATH_MS
        if dead and self.part == "log":
            self.reach.away("connection refused", now)
        if writes and not (dead and self.part == "aggregator"):
            since, error = self.reach.told(now)
            self.beat = Beat(now, since, error, every_ms=BEAT_MS)
        if dead and self.part == "feed":
            if at - DEATH_MS >= PATIENCE_S * 1_000:  # nothing refuses: answers only do not come
                self.world.health.lost("no answer", now)
        elif reads:
            self.world.health.beats({"a": self.beat}, now)

    def _knows(self, seat: Seat) -> bool:
        told = [message["parts"] for frame in seat.frames if (message := payload(frame))["type"] == "status"]
        return bool(told) and [part["part"] for part in told[-1]] == [self.part]


@pytest.mark.parametrize("part", ["feed", "aggregator", "log"])
def test_everybody_is_told_within_two_seconds(part: str) -> None:
    times = [
        Story(part, *offsets).told_after_ms()
        for offsets in product(range(-STEP_MS, WRITE_MS, 100), range(-2 * STEP_MS, READ_MS, 50), range(-STEP_MS, LOOK_MS, 30))
    ]
    assert max(times) <= WITHIN_MS
