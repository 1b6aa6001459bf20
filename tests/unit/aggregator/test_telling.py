from services.aggregator.telling import Allowance


def test_an_allowance_is_a_burst_and_then_a_rate() -> None:
    allowance = Allowance(10, 100, 0.0)
    assert allowance.take(100, 0.0)
    assert not allowance.take(1, 0.05)
    assert allowance.take(1, 0.15)
    assert not allowance.take(50, 5.0)
    assert allowance.take(49, 5.1)


def test_what_was_refused_costs_nothing_and_rest_does_not_pile_up() -> None:
    allowance = Allowance(10, 100, 0.0)
    assert not allowance.take(101, 1_000.0)
    assert allowance.take(100, 1_000.0)
    assert not allowance.take(100, 1_001.0)
