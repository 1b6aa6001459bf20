from services.aggregator.lingering import LINGER_S, Lingering
from tests.unit.aggregator.logs import view

OLD, NEW = view(fn="max"), view(fn="p99")
BEFORE, AFTER = {OLD.id: (OLD, 60_000)}, {NEW.id: (NEW, 60_000)}


def test_a_view_that_is_watched_lingers_when_no_dashboard_asks_for_it_but_not_for_ever() -> None:
    lingering = Lingering()
    lingering.leave(BEFORE, AFTER, 0.0)
    assert lingering.views == BEFORE
    assert not lingering.keep({OLD.id}, LINGER_S - 1)
    lingering.leave(BEFORE | AFTER, AFTER, LINGER_S - 1)  # the registry changed again: that does not make it linger for longer
    assert lingering.views == BEFORE
    assert lingering.keep({OLD.id}, LINGER_S)
    assert lingering.views == {}


def test_a_view_that_nobody_watches_is_let_go_at_once() -> None:
    lingering = Lingering()
    lingering.leave(BEFORE, AFTER, 0.0)
    assert lingering.keep({NEW.id}, 0.0)
    assert lingering.views == {}


def test_a_view_that_is_asked_for_again_lingers_no_longer() -> None:
    lingering = Lingering()
    lingering.leave(BEFORE, AFTER, 0.0)
    lingering.leave(BEFORE | AFTER, BEFORE, 1.0)
    assert lingering.views == AFTER
    assert not lingering.keep({NEW.id}, LINGER_S)
