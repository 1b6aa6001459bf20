"""When the hub ticks, in simulated time: soon after a change, never too often, and now and then where nothing changes."""

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.gateway.hub import QUIET_S, SETTLE_S, TICK_S, Hub
from services.gateway.tier import SLACK_MS
from services.transport.feed import connect
from tests.unit.gateway.test_stage import NOWHERE

LASTS_S = 10.0
ROUNDING_S = 0.001


class Simulated(asyncio.SelectorEventLoop):
    """A loop whose time passes only while all wait, and then by a microsecond at least, as real time does."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 1_000.0
        selector: Any = cast("Any", self)._selector
        ready = selector.select

        def select(timeout: float | None = None) -> Any:
            found = ready(0)
            assert found or timeout is not None, "all wait for ever"
            if not found:
                self.passed += max(1e-6, timeout or 0.0)
            return found

        selector.select = select

    def time(self) -> float:
        return self.passed


class Told:
    """One tier whose frames are every_ms apart. ticks: when there were any; looks: how often it was asked when it is due.

    waits: how long each change waited until a tick showed it.
    """

    def __init__(self, hub: Hub, clock: Callable[[], float], every_ms: float, tick_s: float) -> None:
        self.ticks: list[float] = []
        self.waits: list[float] = []
        self.looks = 0
        self._clock = clock
        self._every_ms = every_ms
        self._tick_s = tick_s
        self._changes: list[float] = []
        self._sent_ms = 0.0
        self._hub = hub
        hub._stages = cast("Any", {"host": SimpleNamespace(due_at=self.due_at)})
        hub._tick = self.tick  # type: ignore[method-assign]

    def change(self) -> None:
        self._changes.append(self._clock())
        self._hub._changed.ring()

    def due_at(self) -> float | None:
        self.looks += 1
        return self._sent_ms + self._every_ms - SLACK_MS if self._changes else None

    async def tick(self) -> None:
        now = self._clock()
        self.ticks.append(now)
        if self._changes and self._sent_ms + self._every_ms - SLACK_MS <= now * 1_000:
            self._sent_ms = now * 1_000
            self.waits += [now - at for at in self._changes]
            self._changes.clear()
        if self._tick_s:
            await asyncio.sleep(self._tick_s)


def play(every_ms: float, pauses: Callable[[], float], tick_s: float = 0.002) -> Told:
    """pauses: seconds until the next change."""
    loop = Simulated()

    async def story() -> Told:
        hub = Hub(connect(NOWHERE), clock=lambda: int(loop.time() * 1_000))
        told = Told(hub, loop.time, every_ms, tick_s)
        ticking = asyncio.create_task(hub._tick_on())
        until = loop.time() + LASTS_S
        while loop.time() < until:
            await asyncio.sleep(min(pauses(), until - loop.time()))
            told.change()
        ticking.cancel()
        return told

    try:
        return loop.run_until_complete(story())
    finally:
        loop.close()


@pytest.mark.parametrize("tick_s", [0.0, 0.002, 0.03, 0.08])
@pytest.mark.parametrize("every_ms", [50.0, 100.0, 1_000.0])
@pytest.mark.parametrize("change_ms", [5, 37, 50, 100, 400, 5_000])
def test_ticks_are_apart_and_never_silent_for_long_and_changes_are_shown(
    change_ms: int, every_ms: float, tick_s: float
) -> None:
    chance = random.Random(change_ms)
    told = play(every_ms, lambda: change_ms * chance.uniform(0.7, 1.3) / 1_000, tick_s)
    gaps = [after - before for before, after in zip(told.ticks, told.ticks[1:], strict=False)]
    assert min(gaps) >= max(TICK_S, tick_s) - ROUNDING_S
    assert max(gaps) <= tick_s + TICK_S + QUIET_S + SETTLE_S + ROUNDING_S
    assert (
        max(told.waits) <= max(every_ms / 1_000 + SLACK_MS / 1_000, TICK_S + tick_s) + TICK_S + tick_s + SETTLE_S + ROUNDING_S
    )
    assert len(told.waits) > 0


def test_who_is_due_hears_of_a_change_when_it_has_settled() -> None:
    told = play(100, lambda: 0.4)
    assert max(told.waits) <= SETTLE_S + TICK_S + ROUNDING_S
    assert sorted(told.waits)[len(told.waits) // 2] <= SETTLE_S + ROUNDING_S


def test_changes_in_step_with_a_rate_are_shown_in_step() -> None:
    """Frames follow the commits instead of lagging behind them by up to their distance."""
    chance = random.Random(1)
    told = play(100, lambda: chance.uniform(0.096, 0.104))
    assert max(told.waits[5:]) <= 2 * SETTLE_S + ROUNDING_S


def test_changes_of_one_commit_are_shown_together() -> None:
    pauses = iter([0.3, *[0.0001] * 40] * 1_000)
    told = play(50, lambda: next(pauses))
    assert max(told.waits) <= SETTLE_S + ROUNDING_S


@pytest.mark.parametrize(("every_ms", "change_ms", "most"), [(50, 100, 3), (50, 50, 2), (50, 5_000, 1.2), (1_000, 400, 3)])
def test_it_is_not_asked_more_often_than_it_must_be_when_somebody_is_due(every_ms: int, change_ms: int, most: float) -> None:
    chance = random.Random(1)
    told = play(every_ms, lambda: change_ms * chance.uniform(0.98, 1.02) / 1_000)
    assert told.looks <= most * len(told.ticks)
