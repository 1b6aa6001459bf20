import pytest

from services.contract.views import Beat
from services.gateway.health import Freshness, Health

START = 1_000_000
FRESH = Freshness(1_000, START + 10_000, START)


def seen(
    health: Health, now: int, log_since: int | None = 1, at: int | None = None, error: str = "", every_ms: int = 1_000
) -> None:
    health.beats({"a": Beat(now if at is None else at, log_since, error, every_ms=every_ms)}, now)


def away(health: Health, now: int, *views: Freshness) -> list[tuple[str, int]]:
    return [(part.part, part.since) for part in health.parts(views or (FRESH,), now)]


@pytest.fixture
def health() -> Health:
    return Health(START)


def test_nothing_is_away_while_everything_gives_signs_of_life(health: Health) -> None:
    seen(health, START + 10_000)
    assert away(health, START + 10_500) == []


def test_a_lost_feed_hides_everything_behind_it_and_keeps_its_beginning(health: Health) -> None:
    health.lost("connection refused", START + 100)
    health.lost("connection refused again", START + 900)
    (part,) = health.parts([FRESH], START + 60_000)
    assert (part.part, part.since) == ("feed", START + 100)
    assert "connection refused again" in part.reason


def test_after_the_feed_is_back_the_rest_gets_time_to_be_seen(health: Health) -> None:
    seen(health, START)
    health.lost("gone", START + 1_000)
    health.back(START + 60_000)
    assert away(health, START + 62_900) == []
    assert away(health, START + 63_100) == [("aggregator", START)]


def test_an_aggregator_is_away_when_its_beat_has_not_changed_for_three_seconds(health: Health) -> None:
    seen(health, START + 1_000)
    seen(health, START + 4_000, at=START + 1_000)
    assert away(health, START + 4_000) == []
    assert away(health, START + 4_100) == [("aggregator", START + 1_000)]
    seen(health, START + 5_000)
    assert away(health, START + 5_000, Freshness(1_000, START + 5_000, START)) == []


def test_an_aggregator_that_beats_faster_is_missed_sooner(health: Health) -> None:
    seen(health, START + 1_000, every_ms=400)
    assert away(health, START + 2_300) == []
    assert away(health, START + 2_400) == [("aggregator", START + 1_000)]


def test_a_beat_of_a_clock_that_goes_wrong_is_still_a_beat_when_it_changes(health: Health) -> None:
    for now in range(START, START + 20_000, 1_000):
        seen(health, now, at=now - 3_600_000)
    assert away(health, START + 19_500, Freshness(1_000, START + 19_000, START)) == []


def test_no_aggregator_at_all_is_said_so(health: Health) -> None:
    assert away(health, START + 2_000) == []
    (part,) = health.parts([FRESH], START + 3_100)
    assert (part.part, part.since, part.reason) == ("aggregator", START, "no aggregator is running")


def test_one_living_aggregator_of_two_is_enough(health: Health) -> None:
    health.beats({"a": Beat(START, 1), "b": Beat(START, 1)}, START)
    health.beats({"a": Beat(START, 1), "b": Beat(START + 9_000, 1)}, START + 9_000)
    assert away(health, START + 9_500) == []


def test_the_log_is_away_as_long_as_a_living_aggregator_says_so(health: Health) -> None:
    seen(health, START + 1_000)
    seen(health, START + 2_000, log_since=None, error="Kafka does not answer: connection refused")
    seen(health, START + 3_000, log_since=None, error="Kafka does not answer: connection refused")
    (part,) = health.parts([FRESH], START + 3_500)
    assert (part.part, part.since, part.reason) == ("log", START + 2_000, "Kafka does not answer: connection refused")
    seen(health, START + 4_000)
    assert away(health, START + 4_000) == []


def test_an_aggregator_that_starts_may_take_a_moment_to_read_the_log(health: Health) -> None:
    seen(health, START + 1_000, log_since=None, error="not read yet")
    assert away(health, START + 1_100) == []
    seen(health, START + 4_100, log_since=None, error="not read yet")
    assert away(health, START + 4_100) == [("log", START + 4_100)]


@pytest.mark.parametrize(("every", "limit"), [(50, 3_000), (1_000, 3_000), (10_000, 30_000)])
def test_samples_are_missed_after_three_buckets_and_not_before_three_seconds(health: Health, every: int, limit: int) -> None:
    view = Freshness(every, START + 1_000, START)
    seen(health, START + 1_000 + limit)
    assert away(health, START + 1_000 + limit, view) == []
    assert away(health, START + 1_001 + limit, view) == [("samples", START + 1_000)]


def test_one_view_that_still_moves_means_that_samples_arrive(health: Health) -> None:
    seen(health, START + 60_000)
    old, new = Freshness(1_000, START, START), Freshness(1_000, START + 60_000, START)
    assert away(health, START + 60_000, old, new) == []
    assert away(health, START + 60_000, old, old) == [("samples", START)]


def test_a_dashboard_that_never_had_samples_says_so_after_a_while(health: Health) -> None:
    seen(health, START + 20_000)
    empty = Freshness(1_000, 0, START + 17_000)
    assert away(health, START + 20_000, empty) == []
    (part,) = health.parts([empty], START + 20_001)
    assert (part.part, part.since) == ("samples", START + 17_000)
    assert "for this dashboard" in part.reason


def test_a_dashboard_without_views_misses_nothing(health: Health) -> None:
    seen(health, START + 60_000)
    assert health.parts([], START + 60_000) == []


def test_who_begins_to_watch_again_does_not_see_the_time_between(health: Health) -> None:
    seen(health, START)
    health.watch_again(START + 60_000)
    assert away(health, START + 61_000) == []


def test_a_clock_that_is_set_back_does_not_keep_an_aggregator_alive(health: Health) -> None:
    seen(health, START + 10_000)
    now = START - 3_600_000
    for at in range(0, 6_000, 500):
        seen(health, now + at, at=START + 10_000)
    assert [part for part, _ in away(health, now + 6_000)] == ["aggregator"]
