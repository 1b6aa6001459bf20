"""How many dead letters a source may write."""

from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.sources.allowance import Allowance


def test_a_minute_of_letters_may_come_at_once_and_then_so_many_per_minute() -> None:
    allowance = Allowance(60)
    assert allowance.take(100, 1_000.0) == 60
    assert allowance.take(100, 1_000.5) == 0
    assert allowance.take(100, 1_002.0) == 2
    assert allowance.take(100, 9_999.0) == 60


def test_what_was_not_written_after_all_is_given_back() -> None:
    allowance = Allowance(60)
    assert allowance.take(50, 1_000.0) == 50
    allowance.give_back(50)
    assert allowance.take(100, 1_000.0) == 60
    allowance.give_back(999)
    assert allowance.take(100, 1_000.0) == 60


def test_none_are_allowed_where_the_setting_says_so() -> None:
    assert Allowance(0).take(5, 1.0) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 30)), max_size=20))
def test_never_more_than_a_minutes_worth_and_what_has_come_since(taken: list[tuple[int, float]]) -> None:
    allowance, now, granted = Allowance(30), 0.0, 0
    for count, wait in taken:
        now += wait
        granted += allowance.take(count, now)
        assert granted <= 30 + now / 2 + 1e-6
