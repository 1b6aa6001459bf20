"""Who leaves when, in simulated time."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.leaving import AGAIN_S, SHARE, SPREAD_MS, Leaving, Terms, evenly, pace, returns

STEP_S = 0.02


class World:
    """Viewers who do as they are asked: each is gone so many seconds after it opened its next connection."""

    def __init__(self, viewers: int, per_second: float = 100, notice_s: float = 5, deadline_s: float = 60) -> None:
        self.leaving: Leaving[int] = Leaving(Terms(per_second, notice_s, deadline_s))
        self.here = dict.fromkeys(range(viewers))
        self.now = 1_000.0
        self.chance = random.Random(7).random
        self.asked: list[tuple[float, int]] = []
        self.opened: list[float] = []
        self._going: list[tuple[float, int]] = []

    def run(self, seconds: float, step_s: float = STEP_S, heed: bool = True) -> None:
        for _ in range(round(seconds / step_s)):
            self.now += step_s
            for viewer, within_ms in self.leaving.step(self.here, self.now, self.chance):
                self.asked.append((self.now, viewer))
                at = self.now + within_ms / 1000 * self.chance()
                if heed:
                    self.opened.append(at)
                    self._going.append((at + 0.1, viewer))
            gone = {viewer for at, viewer in self._going if at <= self.now}
            self.here = {viewer: None for viewer in self.here if viewer not in gone}


def peak(times: list[float], window_s: float = 1.0) -> int:
    """The most that fall into any window."""
    times = sorted(times)
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_nobody_is_asked_without_an_order() -> None:
    world = World(50)
    world.run(30)
    assert world.asked == []
    assert world.leaving.idle
    assert not world.leaving.over(0, world.now)


def test_a_drain_asks_everybody_once_the_notice_is_over() -> None:
    world = World(300)
    world.leaving.drain(world.now)
    begun = world.now
    world.run(4.9)
    assert world.asked == []
    world.here[300] = None  # a balancer that had not heard of it yet
    world.run(10)
    assert Counter(viewer for _, viewer in world.asked) == Counter(range(301))
    assert world.asked[0][0] >= begun + 5
    assert world.leaving.over(len(world.here), world.now)


def test_the_pace_is_kept_though_the_loop_stands_still_for_a_while() -> None:
    world = World(1_000)
    world.leaving.drain(world.now)
    world.run(5)
    for _ in range(10):
        world.now += 0.7
        world.run(0.4)
    assert peak([at for at, _ in world.asked]) <= 120


@pytest.mark.parametrize("viewers", [10, 1_000, 5_000])
def test_viewers_come_back_at_less_than_seven_tenths_of_what_is_accepted(viewers: int) -> None:
    accepts = 500
    world = World(viewers, per_second=pace(accepts))
    world.leaving.drain(world.now)
    world.run(5 + viewers / pace(accepts) + 2)
    assert len(world.opened) == viewers
    assert peak(world.opened) <= 0.7 * accepts
    assert world.here == {}


def test_who_comes_later_and_who_did_not_go_is_asked_in_another_round() -> None:
    world = World(2)
    world.leaving.drain(world.now)
    world.run(6, heed=False)
    world.here[7] = None
    world.run(4, heed=False)
    assert [viewer for _, viewer in world.asked] == [0, 1]
    world.run(2, heed=False)
    assert [viewer for _, viewer in world.asked] == [0, 1, 0, 1, 7]


def test_a_deadline_ends_it_whoever_is_left() -> None:
    world = World(10)
    world.leaving.drain(world.now)
    world.run(59, heed=False)
    assert not world.leaving.over(len(world.here), world.now)
    assert world.leaving.left_s(world.now) == pytest.approx(1)
    world.run(1.1, heed=False)
    assert world.leaving.over(len(world.here), world.now)


def test_an_empty_gateway_is_there_for_as_long_as_balancers_send_viewers() -> None:
    world = World(0)
    world.leaving.drain(world.now)
    world.run(4.9)
    assert not world.leaving.over(0, world.now)
    world.run(0.2)
    assert world.leaving.over(0, world.now)


def test_draining_twice_is_draining_once() -> None:
    world = World(100)
    world.leaving.drain(world.now)
    world.run(5.5)
    asked = len(world.asked)
    world.leaving.drain(world.now)
    world.run(0.1)
    assert len(world.asked) > asked


def test_a_shed_asks_so_many_at_its_own_pace() -> None:
    world = World(200)
    assert world.leaving.shed(list(world.here), 20, 10, world.now) == (20, 10)
    world.run(1)
    assert 9 <= len(world.asked) <= 12
    world.run(2)
    assert len({viewer for _, viewer in world.asked}) == 20
    assert len(world.here) == 180


def test_a_shed_is_not_faster_than_gateways_accept_and_not_more_than_are_here() -> None:
    world = World(30)
    assert world.leaving.shed(list(world.here), 500, 10_000, world.now) == (30, 100)


def test_a_second_shed_picks_others_until_some_time_has_passed() -> None:
    world = World(30)
    world.leaving.shed(list(world.here), 20, 100, world.now)
    world.run(1, heed=False)
    assert world.leaving.shed(list(world.here), 20, 100, world.now)[0] == 10
    world.run(1, heed=False)
    assert len({viewer for _, viewer in world.asked}) == 30
    world.run(AGAIN_S + 0.1)
    assert world.leaving.idle
    assert world.leaving.shed(list(world.here), 20, 100, world.now)[0] == 20


def test_a_drain_takes_over_from_a_shed() -> None:
    world = World(100)
    world.leaving.shed(list(world.here), 50, 1, world.now)
    world.leaving.drain(world.now)
    world.run(8)
    assert sorted(viewer for _, viewer in world.asked) == list(range(100))


@pytest.mark.parametrize("per_second", [0.01, 1e-320])
def test_a_slow_shed_holds_up_neither_a_drain_nor_a_faster_one(per_second: float) -> None:
    for drain in (True, False):
        world = World(100)
        world.leaving.shed(list(world.here), 5, per_second, world.now)
        world.run(1)
        assert len(world.asked) == 1
        if drain:
            world.leaving.drain(world.now)
        else:
            world.leaving.shed(list(world.here), 50, 50, world.now)
        world.run(8)
        assert len({viewer for _, viewer in world.asked}) == (100 if drain else 55)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.integers(1, 250))
def test_evenly_takes_of_each_dashboard_its_share(dashboards: list[int], n: int) -> None:
    viewers = [(dashboard, at) for at, dashboard in enumerate(sorted(dashboards))]
    chosen = evenly(viewers, n)
    assert len(chosen) == len(set(chosen)) == min(n, len(viewers))
    for dashboard, held in Counter(dashboards).items():
        share = held * len(chosen) / len(viewers)
        assert abs(sum(at[0] == dashboard for at in chosen) - share) < 2


@pytest.mark.parametrize(("n", "last_s"), [(1, 3), (600, 3), (10_000, 40.5)])
def test_who_is_closed_at_the_end_returns_at_the_same_pace(n: int, last_s: float) -> None:
    waits = returns(n, 250, random.Random(3).random)
    assert len(waits) == n
    assert min(waits) >= 500
    assert max(waits) <= last_s * 1000 + 1
    assert peak([wait / 1000 for wait in waits]) <= 0.7 * 250 / SHARE


def test_advice_is_short_for_the_pace_is_kept_by_asking() -> None:
    world = World(500)
    world.leaving.drain(world.now)
    found: list[int] = []
    for _ in range(600):
        world.now += STEP_S
        found += [within for _, within in world.leaving.step(world.here, world.now, world.chance)]
    assert min(found) >= SPREAD_MS[0]
    assert max(found) <= SPREAD_MS[1]
    assert len(set(found)) > 100
