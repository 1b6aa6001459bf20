import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.access import limits
from services.gateway.access.limits import Held, Rate, Rates


def test_so_many_at_once_then_so_many_a_second() -> None:
    rates = Rates(Rate(per_s=10, burst=3))
    assert [rates.take("a", 100.0) for _ in range(3)] == [0, 0, 0]
    assert rates.take("a", 100.0) == pytest.approx(0.1)
    assert rates.take("a", 100.1) == 0
    assert rates.take("a", 100.1) > 0
    assert rates.take("b", 100.1) == 0, "each key for itself"


def test_what_was_refused_is_not_counted() -> None:
    rates = Rates(Rate(per_s=1, burst=1))
    rates.take("a", 0.0)
    for _ in range(100):
        assert rates.take("a", 0.5) == pytest.approx(0.5)
    assert rates.take("a", 1.0) == 0


def test_zero_is_no_limit_and_holds_nothing() -> None:
    rates = Rates(Rate(per_s=0, burst=1))
    assert [rates.take(key, 0.0) for key in range(1_000)] == [0] * 1_000
    assert len(rates) == 0


@given(st.lists(st.floats(0, 1), max_size=200), st.floats(0.5, 100), st.integers(1, 20))
def test_never_more_than_the_burst_and_the_rate(gaps: list[float], per_s: float, burst: int) -> None:
    rates, now, granted = Rates(Rate(per_s, burst)), 50.0, 0
    for gap in gaps:
        now += gap
        granted += rates.take("a", now) == 0
    assert granted <= burst + (now - 50.0) * per_s + 1e-6


def test_who_has_recovered_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_KEYS", 10)
    rates = Rates(Rate(per_s=1, burst=1))
    for key in range(1_000):
        rates.take(key, float(key))
    assert len(rates) <= 11
    for key in range(1_000):
        rates.take(key, 5_000.0)
    assert len(rates) <= 11, "also when nobody has"


def test_so_many_are_held_at_a_time() -> None:
    held = Held(2)
    held.take("a")
    assert not held.full("a")
    held.take("a")
    assert (held.full("a"), held.full("b")) == (True, False)
    held.give_back("a")
    assert not held.full("a")
    held.give_back("a")
    assert len(held) == 0


def test_without_a_limit_nothing_is_counted() -> None:
    held = Held(0)
    for _ in range(100):
        held.take("a")
    assert (held.full("a"), len(held)) == (False, 0)
