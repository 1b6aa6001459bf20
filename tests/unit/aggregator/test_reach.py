"""What is told of a log that comes and goes."""

from services.aggregator.reach import GRACE_MS, Reach


def reached() -> Reach:
    reach = Reach()
    reach.back(1_000)
    return reach


def test_a_log_that_was_never_read_is_told_as_away() -> None:
    reach = Reach()
    assert reach.told(0) == (None, "not read yet")
    reach.away("refused", 10)
    assert reach.told(10) == (None, "refused")


def test_a_log_that_answers_is_told_with_the_time_since_when() -> None:
    reach = reached()
    assert reach.told(5_000) == (1_000, "")
    assert reach.error == ""


def test_a_short_absence_is_known_here_and_told_nobody() -> None:
    reach = reached()
    reach.away("refused", 5_000)
    assert reach.error == "refused"
    assert reach.told(5_000 + GRACE_MS) == (1_000, "")
    assert reach.back(5_000 + GRACE_MS)
    assert reach.told(9_000) == (1_000, "")


def test_a_long_absence_is_told_with_its_newest_reason_and_ends_with_a_new_time() -> None:
    reach = reached()
    reach.away("refused", 5_000)
    reach.away("reset", 6_000)
    assert reach.told(5_001 + GRACE_MS) == (None, "reset")
    assert reach.back(9_000)
    assert not reach.back(9_500)
    assert reach.told(9_500) == (9_000, "")
