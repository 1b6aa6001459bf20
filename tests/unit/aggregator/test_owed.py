"""In which shares a view is computed."""

from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.owed import FEW, Budget, Owed


@given(st.lists(st.tuples(st.sets(st.integers(0, 500)), st.floats(0, 1), st.floats(0, 1))))
def test_every_bucket_is_taken_once_for_each_time_that_it_changed(rounds: list[tuple[set[int], float, float]]) -> None:
    owed, open_ = Owed(), set[int]()
    for changed, left, cost in rounds:
        owed.add(changed)
        open_ |= changed
        taken = owed.take(owed.share(left))
        owed.took(len(taken), cost)
        assert taken <= open_
        open_ -= taken
        assert len(owed) == len(open_)
        assert owed.closed(1_000) == min(open_, default=1_000)
    while open_:
        open_ -= owed.take(owed.share(0.0))


def test_the_newest_go_first_and_a_few_always() -> None:
    owed = Owed()
    owed.add(range(100))
    assert owed.take(owed.share(0.0)) == set(range(100 - FEW, 100))
    assert owed.closed(1_000) == 0


def test_shares_follow_what_a_bucket_costs() -> None:
    owed = Owed()
    owed.add(range(10_000))
    for _ in range(20):
        owed.took(10, 10 * 0.001)
    assert 15 <= owed.share(0.02) <= 25


def test_a_budget_ends() -> None:
    budget = Budget(100.0, 0.01)
    assert budget.left(100.0) > 0.0
    assert budget.left(100.02) == 0.0
