"""What a viewer that waits for one value makes of the protocol's messages."""

import json
from typing import Any

import pytest

from services.check.watching import Watch
from tests.servers import ROOT

GOLDEN = ROOT / "tests" / "golden"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [("snapshot", 1234.5, True), ("snapshot", 0.75, False), ("delta", 0.75, True), ("delta", 1795385021400, False)],
)
def test_a_value_is_seen_in_the_cells_of_a_snapshot_or_a_delta_and_nowhere_else(name: str, value: float, seen: bool) -> None:
    watch = Watch("host", value)
    watch.hear(golden(name))
    assert watch.seen == seen
    assert watch.snapshot == (name == "snapshot")


def test_another_dashboards_value_is_not_it() -> None:
    watch = Watch("other", 1234.5)
    watch.hear(golden("snapshot"))
    assert not watch.seen
    assert not watch.snapshot


def test_what_is_in_the_way_is_told_until_it_is_over() -> None:
    watch = Watch("host", 0.0)
    watch.hear(golden("error_unknown"))
    assert watch.fault == "there is no dashboard 'hots'"
    watch.hear(golden("snapshot"))
    assert watch.fault == ""


def test_parts_that_are_away_are_named_but_for_samples_that_nobody_has_sent_yet() -> None:
    stale: dict[str, Any] = json.loads(golden("status_stale"))
    watch = Watch(stale["dashboard"], 0.0)
    watch.hear(golden("status_stale"))
    assert [part["part"] in watch.fault for part in stale["parts"]] == [part["part"] != "samples" for part in stale["parts"]]
    watch.hear(json.dumps({**stale, "parts": []}).encode())
    assert watch.fault == ""
