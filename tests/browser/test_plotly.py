"""The page that Plotly.js draws: it draws what the gateway has, each bucket once, and goes on after a gateway's end."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.source import Source
from tests.browser.system import Sample, System
from tests.browser.watching import GATEWAY_AWAY, Watched

PUMPS: dict[str, Any] = {
    "title": "Pumps",
    "window": "1m",
    "every": "500ms",
    "panels": [
        {"id": "pressure", "type": "timeseries", "query": {"metric": "pump_bar", "by": ["pump"], "fn": "avg"}, "legend": "pump {pump}"},
        {"id": "strokes", "type": "stat", "query": {"metric": "pump_strokes", "fn": "sum"}},
    ],
}  # fmt: skip


@pytest.fixture
def pumps(system: System, visit: Open) -> Iterator[Watched]:
    """The page, while two pumps report."""
    system.publish("pumps", PUMPS)
    with Source(system, pumping) as source:
        source.on()
        yield visit("/plotly/pumps")


def pumping(at: int) -> list[Sample]:
    bars: list[Sample] = [{"metric": "pump_bar", "labels": {"pump": pump}, "value": at % 7 + int(pump)} for pump in "12"]
    return [*bars, {"metric": "pump_strokes", "value": 1, "kind": "delta"}]


def traces(page: Watched, panel: str) -> dict[str, list[tuple[int, float | None]]]:
    """What Plotly.js holds of a panel, by the name of the trace."""
    found: list[dict[str, Any]] = page.page.evaluate(
        "(panel) => (document.querySelector(`[data-panel=${panel}]`)?.data ?? []).map(({ name, x, y }) => ({ name, x: [...x], y: [...y] }))",
        panel,
    )
    return {trace["name"]: list(zip(trace["x"], trace["y"], strict=True)) for trace in found}


def grown(page: Watched, than: int) -> str:
    sizes = [len(points) for panel in ("pressure", "strokes") for points in traces(page, panel).values()]
    return "" if len(sizes) == 3 and min(sizes) > than else f"traces have {sizes} points"


def disorder(page: Watched) -> str:
    """Where a bucket is missing or is there twice."""
    lists = [[x for x, _ in points] for panel in ("pressure", "strokes") for points in traces(page, panel).values()]
    steps = [later - earlier for xs in lists for earlier, later in pairwise(xs)]
    return "" if set(steps) == {500} else f"points have distances {steps}"


def test_it_draws_lines_that_grow_and_show_what_the_gateway_has(system: System, pumps: Watched) -> None:
    pumps.until(lambda: grown(pumps, 6))
    assert set(traces(pumps, "pressure")) == {"pump 1", "pump 2"}
    paths = pumps.page.locator("[data-panel=pressure] .scatterlayer .trace path.js-line")
    assert paths.count() == 2
    assert all(len(paths.nth(i).get_attribute("d") or "") > 20 for i in range(2))
    pumps.until(lambda: grown(pumps, 12))
    pumps.until(lambda: disorder(pumps))
    shown = traces(pumps, "pressure")
    snapshot = system.snapshot("pumps")
    view = snapshot["views"][0]
    names = {number: f"pump {labels['pump']}" for number, labels in view["groups"]}
    there = {
        (names[number], start): value
        for start, numbers, values in view["cells"]
        for number, value in zip(numbers, values, strict=True)
    }
    assert all(there[name, x] == y for name, points in shown.items() for x, y in points if x > snapshot["now"] - 50_000)


def test_it_goes_on_after_the_gateway_was_killed(system: System, pumps: Watched) -> None:
    pumps.allow(*GATEWAY_AWAY)
    pumps.until(lambda: grown(pumps, 4))
    sockets = len(pumps.sockets)
    before = traces(pumps, "strokes")
    system.kill("gateway")
    pumps.until(lambda: "" if pumps.page.locator("[data-panel].away").count() else "nothing shows that the connection is lost")
    assert traces(pumps, "strokes").keys() == before.keys(), "what was drawn is gone"
    pumps.until(system.why_not_up)
    pumps.until(
        lambda: (
            ""
            if len(pumps.sockets) >= sockets + 2 and not pumps.page.locator("[data-panel].away").count()
            else "not connected again"
        )
    )
    size = max(len(points) for points in traces(pumps, "strokes").values())
    pumps.until(lambda: grown(pumps, size + 2))
    pumps.until(lambda: disorder(pumps))


def test_it_says_why_there_is_nothing_to_draw(system: System, visit: Open) -> None:
    pages = {"nobody": "there is no dashboard 'nobody'", "broken": "'pie' is not a panel type", "bare": "has no panels"}
    system.write("broken", {"panels": [{"id": "a", "type": "pie", "query": {"metric": "a"}}]})
    system.write("bare", {"panels": []})
    for name, text in pages.items():
        page = visit(f"/plotly/{name}")
        page.allow(
            r"answer: 4(04|22) GET .*",
            r"console: Failed to load resource: the server responded with a status of 4(04|22) \(.*\)",
        )
        page.until_text("body", text)
