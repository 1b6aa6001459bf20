"""The rates that there are, viewers that cannot keep up, and a gateway that cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.pace import CALM_MS, LOOK_MS, Pace
from services.gateway.rates import FASTEST, PAUSED, RATES, SLOWEST_MS, Throttle, above, below, rate_of


@pytest.mark.parametrize(
    ("wish", "rate"),
    [(0, PAUSED), (0.2, 1), (1, 1), (1.9, 1), (2, 2), (4.99, 2), (10, 10), (19, 10), (20, 20), (60, 20), (float("inf"), 20)],
)
def test_a_wish_is_given_the_fastest_rate_that_is_not_faster(wish: float, rate: int) -> None:
    assert rate_of(wish) == rate


@pytest.mark.parametrize("wish", [-1, -0.001, float("nan")])
def test_a_wish_below_nothing_is_none(wish: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 20"):
        rate_of(wish)


def test_rates_are_above_and_below_each_other() -> None:
    assert [below(hz) for hz in RATES] == [10, 5, 2, 1, 1]
    assert [above(hz) for hz in RATES] == [20, 20, 10, 5, 2]


class Reader:
    """A viewer whose line takes so long for one frame, at the rate that it is given."""

    def __init__(self, frame_ms: int, wish: int = 10) -> None:
        self.frame_ms = frame_ms
        self.now = 1_000_000
        self.pace = Pace(wish, self.now)
        self.free_at = 0
        self.next = 0.0
        self.given: list[int] = []

    def pass_(self, ms: int) -> None:
        for _ in range(ms // 10):
            self.now += 10
            every = 1_000 / self.pace.hz
            if self.now >= self.next:
                self.next = self.now + every
                if self.now < self.free_at:
                    self.pace.missed(self.now)
                else:
                    self.free_at = self.now + self.frame_ms
            if self.pace.judge(self.now, every):
                self.given.append(self.pace.hz)


@pytest.mark.parametrize(
    ("hz", "missed", "rate"), [(10, 7, 10), (10, 8, 5), (10, 15, 2), (20, 38, 1), (5, 3, 5), (5, 4, 2), (2, 2, 1), (1, 2, 1)]
)
def test_two_of_five_frames_missed_are_too_many_and_then_the_rate_is_what_was_taken(hz: int, missed: int, rate: int) -> None:
    pace = Pace(hz, 0)
    for _ in range(missed):
        pace.missed(LOOK_MS - 1)
    assert pace.judge(LOOK_MS, 1_000 / hz) == (rate < hz)
    assert pace.hz == rate


@pytest.mark.parametrize(("frame_ms", "rate"), [(150, 5), (320, 2), (700, 1), (5_000, 1)])
def test_who_misses_frames_is_given_a_rate_that_it_can_read(frame_ms: int, rate: int) -> None:
    reader = Reader(frame_ms)
    reader.pass_(3 * LOOK_MS)
    assert (reader.pace.hz, reader.pace.reduced) == (rate, True)


def test_a_hiccup_costs_nothing() -> None:
    reader = Reader(20)
    reader.pass_(5_000)
    reader.free_at = reader.now + 500
    reader.pass_(20_000)
    assert reader.given == []
    assert reader.pace.over(reader.now)


def test_who_keeps_up_again_gets_its_rate_back_step_by_step() -> None:
    reader = Reader(700)
    reader.pass_(3 * LOOK_MS)
    reader.frame_ms, reader.given = 20, []
    reader.pass_(4 * CALM_MS)
    assert reader.given == [2, 5, 10]
    reader.pass_(CALM_MS)
    assert reader.pace.over(reader.now)


def test_who_fails_again_is_tried_ever_more_seldom() -> None:
    reader = Reader(320)
    reader.pass_(400_000)
    tries = len(reader.given) // 2
    assert 3 <= tries <= 7
    assert reader.pace.hz in (2, 5)


def test_a_gateway_that_is_too_busy_slows_all_down_and_comes_back() -> None:
    now, cost = 0, 100.0  # ms of a tick at 20 Hz
    throttle = Throttle(now)
    factors = []
    for _ in range(600):
        took = min(cost, 400.0)
        now += round(max(took, 50 * throttle.factor))
        if throttle.observe(took, now):
            factors.append(throttle.factor)
    assert factors == [2, 4], "at half the rate a tick of 100 ms still fills its time, at a quarter it takes half of it"
    assert throttle.full and throttle.hz(20) == 5 and throttle.hz(PAUSED) == 0
    cost = 20.0
    for _ in range(600):
        now += 50 * throttle.factor
        throttle.observe(cost, now)
    assert (throttle.factor, throttle.full) == (1, False)


def test_a_gateway_is_full_before_it_has_to_slow_anybody_down_and_until_there_is_clearly_room() -> None:
    throttle, now = Throttle(0), 0
    seen = []
    for took in [30] * 40 + [37] * 200 + [30] * 100 + [20] * 40:
        now += 50
        throttle.observe(took, now)
        seen.append((throttle.full, throttle.factor))
    assert seen[39] == (False, 1), "six tenths"
    assert seen[239] == (True, 1), "three quarters"
    assert seen[339] == (True, 1), "six tenths again, and still full"
    assert seen[-1] == (False, 1)


@given(st.lists(st.tuples(st.floats(0, 2_000), st.integers(0, 3_000)), max_size=200))
def test_whatever_ticks_take_the_factor_is_bounded_and_nobody_waits_longer_than_clients_bear(
    ticks: list[tuple[float, int]],
) -> None:
    now = 0
    throttle = Throttle(now)
    for took, gap in ticks:
        now += round(took) + gap
        throttle.observe(took, now)
        assert throttle.factor in (1, 2, 4, 8)
        assert 0 <= throttle.busy <= 1.001
        assert all(1_000 / hz <= throttle.every_ms(hz) <= SLOWEST_MS for hz in RATES)
        assert throttle.every_ms(FASTEST) <= throttle.every_ms(RATES[-1])


def test_a_clock_that_is_set_back_does_not_keep_all_slow() -> None:
    throttle, now = Throttle(0), 3_600_000
    for took in [60] * 60 + [1] * 20:
        now += 60
        throttle.observe(took, now)
    assert throttle.factor > 1
    now -= 3_600_000
    for _ in range(600):
        now += 60
        throttle.observe(1, now)
    assert throttle.factor == 1
