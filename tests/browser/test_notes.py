"""What a panel says of what it cannot show: too many groups, and samples that came too late."""

import time
from collections.abc import Iterable
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.system import Sample, System

CROWD: dict[str, Any] = {
    "title": "Crowd",
    "window": "5m",
    "every": "1s",
    "panels": [
        {"id": "busy", "type": "timeseries", "maxGroups": 3, "query": {"metric": "crowd_busy", "by": ["host"], "fn": "sum", "each": "pool"}},
        {"id": "few", "type": "bar", "query": {"metric": "crowd_busy", "fn": "count"}},
    ],
}  # fmt: skip
HOSTS = 12


def posted(at: int, hosts: Iterable[int]) -> list[Sample]:
    """One sample of 1 of each host."""
    return [{"metric": "crowd_busy", "labels": {"host": f"h{host}"}, "value": 1, "time": at, "kind": "gauge"} for host in hosts]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_panel_says_what_it_cannot_show(visit: Open, system: System, scheme: str) -> None:
    system.publish("crowd", CROWD)
    page = visit("/d/crowd", color_scheme=scheme)
    now = int(time.time() * 1000)
    system.post(posted(now, range(HOSTS)))
    system.post(posted(now - 50 * 60_000, [1]))  # its cells were dropped long ago
    busy = '[data-panel="busy"]'
    page.until_text(f"{busy} .note .words", "late")
    page.until_text(f"{busy} .note .words", f"+{HOSTS - 3} groups")
    badge = page.page.locator(f"{busy} .note")
    detail = page.page.locator(f"{busy} .note .detail")
    assert not detail.is_visible()
    badge.hover()
    assert detail.is_visible()
    # Two partitions are merged one after the other, and ages grow: both are read until nothing changes in between.
    page.until(
        lambda: (
            "" if badge.get_attribute("aria-label") == detail.inner_text() else "the badge does not say what its detail says"
        )
    )
    said = detail.inner_text()
    assert f"3 groups are shown; about {HOSTS - 3} groups more are pooled as “other groups” since " in said
    assert "had been closed for good" in said
    page.until_text('[data-panel="few"] .note .words', "late")
    assert "groups" not in page.text('[data-panel="few"] .note .words')
    page.until(lambda: "" if shown(page.dashboard("crowd")) == {"4": HOSTS} else f"it holds {page.dashboard('crowd')}")


def shown(dashboard: dict[str, Any] | None) -> dict[str, float]:
    """How many groups the crowded view has, and what they are together in the newest bucket that all of them are in."""
    views = [] if dashboard is None else list(dashboard["views"].values())
    groups: list[dict[str, Any]] = next((view["groups"] for view in views if len(view["groups"]) > 1), [])
    newest = max((start for group in groups for start, _ in group["cells"]), default=0)
    return {str(len(groups)): sum(value for group in groups for start, value in group["cells"] if start == newest)}
