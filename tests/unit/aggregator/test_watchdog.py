"""When a reader counts as stuck."""

from services.aggregator.watchdog import Watchdog


def test_who_is_behind_and_does_not_move_is_stuck_after_a_while() -> None:
    dog = Watchdog(5.0)
    assert [dog.stuck(now, {0: (7, 9)}) for now in (0.0, 4.9, 5.0)] == [[], [], [0]]


def test_who_moves_or_is_at_the_end_is_not() -> None:
    dog = Watchdog(5.0)
    for now in range(20):
        assert dog.stuck(float(now), {0: (now, 100), 1: (9, 9), 2: (10, 9)}) == []


def test_patience_begins_when_there_is_more_to_read() -> None:
    dog = Watchdog(5.0)
    dog.stuck(0.0, {0: (7, 7)})
    assert dog.stuck(100.0, {0: (7, 8)}) == []
    assert dog.stuck(105.0, {0: (7, 8)}) == [0]


def test_patience_begins_anew_after_something_was_done_and_for_who_comes_back() -> None:
    dog = Watchdog(5.0)
    dog.stuck(0.0, {0: (7, 9), 1: (7, 9)})
    dog.forget()
    assert dog.stuck(6.0, {0: (7, 9)}) == []
    assert dog.stuck(11.0, {0: (7, 9), 1: (7, 9)}) == [0]
