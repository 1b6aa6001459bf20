"""When children are started."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.local.supervision import LONGEST_WAIT_S, STEADY_S, Supervision, exit_reason


def up(supervision: Supervision, name: str, now: float, pid: int = 1) -> None:
    supervision.started(name, pid, now)
    supervision.answered(name, now)


def test_everybody_is_started_at_once() -> None:
    supervision = Supervision(("valkey", "ingestor"))
    assert supervision.due(0.0) == ["valkey", "ingestor"]


def test_who_is_started_is_starting_until_it_answers() -> None:
    supervision = Supervision(("gateway",))
    supervision.started("gateway", 7, 1.0)
    assert (supervision.children["gateway"].state, supervision.children["gateway"].pid) == ("starting", 7)
    assert supervision.answered("gateway", 2.0)
    assert not supervision.answered("gateway", 3.0)
    assert (supervision.children["gateway"].state, supervision.children["gateway"].since) == ("up", 2.0)


def test_waits_double_up_to_the_longest() -> None:
    supervision = Supervision(("gateway",))
    waits = []
    for _ in range(8):
        supervision.started("gateway", 1, 0.0)
        waits.append(supervision.exited("gateway", "x", 0.0))
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_who_has_run_steadily_is_forgiven() -> None:
    supervision = Supervision(("gateway",))
    for _ in range(5):
        supervision.started("gateway", 1, 0.0)
        supervision.exited("gateway", "x", 0.0)
    up(supervision, "gateway", 0.0)
    assert supervision.exited("gateway", "x", STEADY_S) == 0.2


def test_a_child_that_died_is_down_and_is_started_when_its_wait_is_over() -> None:
    supervision = Supervision(("a", "b"))
    up(supervision, "a", 0.0)
    up(supervision, "b", 0.0)
    supervision.exited("a", "killed by signal 9", 5.0)
    child = supervision.children["a"]
    assert (child.state, child.pid, child.last_exit, child.since) == ("down", None, "killed by signal 9", 5.0)
    assert supervision.due(5.1) == []
    assert supervision.next_due() == 5.2
    assert supervision.due(5.2) == ["a"]


def test_starts_after_an_exit_are_counted() -> None:
    supervision = Supervision(("a",))
    up(supervision, "a", 0.0)
    assert supervision.children["a"].restarts == 0
    supervision.exited("a", "x", 1.0)
    up(supervision, "a", 2.0)
    assert supervision.children["a"].restarts == 1


def test_who_is_replaced_is_started_at_once_and_is_not_blamed() -> None:
    supervision = Supervision(("broker",))
    up(supervision, "broker", 0.0)
    supervision.replaced("broker", "grew too large", 3.0)
    assert supervision.due(3.0) == ["broker"]
    assert supervision.children["broker"].failures == 0


def test_who_is_barred_is_not_started_until_it_is_allowed() -> None:
    supervision = Supervision(("ingestor",))
    supervision.bar("ingestor")
    assert supervision.due(0.0) == []
    assert supervision.next_due() is None
    supervision.allow("ingestor")
    assert supervision.due(0.0) == ["ingestor"]


def test_after_the_stop_nobody_is_started() -> None:
    supervision = Supervision(("a", "b"))
    up(supervision, "a", 0.0)
    supervision.stop(1.0)
    supervision.exited("a", "ended with exit code 0", 2.0)
    assert supervision.due(1e9) == []
    assert supervision.next_due() is None


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_wait_is_never_longer_than_the_longest_and_always_ends(lives: list[float]) -> None:
    supervision = Supervision(("a",))
    now = 0.0
    for life in lives:
        assert supervision.due(now) == ["a"]
        supervision.started("a", 1, now)
        now += life
        wait = supervision.exited("a", "x", now)
        assert 0 < wait <= LONGEST_WAIT_S
        now += wait


@pytest.mark.parametrize(
    ("code", "words"), [(1, "ended with exit code 1"), (0, "ended with exit code 0"), (-9, "killed by signal 9")]
)
def test_exits_are_told_in_words(code: int, words: str) -> None:
    assert exit_reason(code) == words
