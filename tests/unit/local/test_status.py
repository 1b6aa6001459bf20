"""What /status and /readyz of `all` say of the children."""

import pytest

from services.local.members import Command, Member
from services.local.status import child_status, unready
from services.local.supervision import Child, State

GATEWAY = Member("gateway", Command(("python",), {}), "127.0.0.1", 8080, 9102)
NOW, WALL_NOW = 1_000.0, 1_795_385_020.0


def child(name: str, state: State) -> Child:
    return Child(name, state=state, since=NOW - 20)


@pytest.mark.parametrize(
    ("state", "shown"), [("waiting", "starting"), ("starting", "starting"), ("up", "up"), ("down", "down"), ("stopped", "down")]
)
def test_a_child_that_does_not_run_is_shown_as_down(state: State, shown: str) -> None:
    assert child_status(GATEWAY, child("gateway", state), "", "127.0.0.1", NOW, WALL_NOW)["state"] == shown


def test_a_child_is_shown_with_its_reason_its_age_and_its_addresses() -> None:
    found = child_status(GATEWAY, child("gateway", "up"), "the registry has not been read yet", "127.0.0.1", NOW, WALL_NOW)
    assert found["reason"] == "the registry has not been read yet"
    assert found["since"] == "2026-11-22T22:03:20+00:00"
    assert (found["address"], found["status"]) == ("127.0.0.1:8080", "http://127.0.0.1:9102/status")


@pytest.mark.parametrize(
    ("states", "reasons", "said"),
    [
        ({"valkey": "up", "gateway": "up"}, {"gateway": ""}, ""),
        ({"valkey": "down", "gateway": "up"}, {}, "not up: valkey"),
        ({"valkey": "up", "gateway": "up"}, {"gateway": "feed: away"}, "gateway is not ready: feed: away"),
        ({"valkey": "down", "gateway": "up"}, {"gateway": "feed: away"}, "not up: valkey"),
    ],
)
def test_all_is_ready_when_every_child_does_its_work(states: dict[str, State], reasons: dict[str, str], said: str) -> None:
    assert unready([child(name, state) for name, state in states.items()], reasons) == said
