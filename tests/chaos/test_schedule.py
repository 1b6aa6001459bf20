"""Which faults runs do."""

from itertools import islice

import pytest

from tests.chaos.faults import Faults
from tests.chaos.schedule import (
    GROWTH,
    LONG_AWAY,
    TITLES,
    Broker,
    deal,
    least,
    once,
    ordinal,
    possible,
    process_faults,
    server_faults,
)


@pytest.mark.parametrize("broker", ["kafka", "embedded"])
def test_neighbours_among_runs_that_may_do_the_same_do_every_kind_even_if_each_deals_half_a_deck(broker: Broker) -> None:
    for one, other in ((1, 2), (7, 8), (19, 20)) if broker == "kafka" else ((1, 3), (2, 4), (6, 8)):
        for kinds in (process_faults(broker, one), server_faults(broker, one)):
            half = -(-len(kinds) // 2)
            dealt = [kind for seed in (one, other) for kind in islice(deal(kinds, ordinal(broker, seed)), half)]
            assert set(dealt) == set(kinds)


def test_a_seed_deals_the_same_faults_again_and_every_kind_before_one_comes_twice() -> None:
    kinds = server_faults("kafka", 5)
    dealt = list(islice(deal(kinds, 5), 2 * len(kinds)))
    assert dealt == list(islice(deal(kinds, 5), 2 * len(kinds)))
    assert set(dealt[: len(kinds)]) == set(dealt[len(kinds) :]) == set(kinds)
    assert dealt != list(islice(deal(kinds, 8), 2 * len(kinds)))


def test_every_kind_has_a_title_and_is_performed() -> None:
    kinds = {kind for broker in ("kafka", "embedded") for seed in (1, 2, 3) for kind in possible(broker, seed)}
    assert kinds == set(TITLES)
    assert [kind for kind in kinds if not hasattr(Faults, f"_{kind}")] == []


def test_a_broker_that_forgets_meets_no_feed_that_forgets_too() -> None:
    assert "log_lost" in possible("embedded", 1)
    assert not {"feed_kill_empty", "feed_flush", "feed_failover", "dashboard_change"} & set(possible("embedded", 1))
    assert "log_lost" not in possible("embedded", 2)


def test_two_seeds_must_do_every_kind_once_and_twenty_ten_times() -> None:
    assert set(least("kafka", [1, 2]).values()) == {1}
    wanted = least("kafka", list(range(1, 21)))
    assert {kind: count for kind, count in wanted.items() if count != 10} == {LONG_AWAY: 4}
    assert least("kafka", [1])["feed_flush"] == 0


def test_what_a_run_does_once_it_must_have_done() -> None:
    assert [once("kafka", seed) for seed in (1, 2, 3, 8)] == [(), (GROWTH,), (LONG_AWAY,), (GROWTH, LONG_AWAY)]
    assert least("kafka", [3])[LONG_AWAY] == least("kafka", [2])[GROWTH] == 1
    assert once("embedded", 8) == ()
