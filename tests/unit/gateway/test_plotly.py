import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.views import plan
from services.gateway.plotly import REACT_EVERY_MS, Frame, Stream, fill, name_of
from services.gateway.viewstate import ViewState
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.steady import steady
from tests.unit.gateway.worlds import EVERY, dashboard, panel

NOW = 50_000


class World:
    """One panel whose states follow their merges, and a page that does with frames what Plotly.js does."""

    def __init__(self, spec: dict[str, Any] | None = None, max_points: int = 200) -> None:
        (self.plan,) = plan(dashboard(spec or panel("cpu", "cpu_busy")))
        self.views = [line.view.id for line in self.plan.lines]
        self.merges = {view: Merge() for view in self.views}
        self.states = {view: ViewState(EVERY, 60_000) for view in self.views}
        for view in self.views:
            self.merges[view].write({(0, 0): 0.5}, closed=1_000)
            self.states[view].load(self.merges[view].history(), -1)
        self.max_points = max_points
        self.stream = Stream(self.plan, self.states, max_points)
        self.stream.start(NOW)

    def write(self, values: dict[tuple[int, int], float], closed: int = 0, place: int = 0) -> None:
        view = self.views[place]
        self.states[view].apply(self.merges[view].write(values, closed))

    def close(self, closed: int, place: int = 0) -> None:
        self.states[self.views[place]].apply(self.merges[self.views[place]].close(closed))

    def closed_table(self, place: int = 0) -> dict[int, dict[int, float | None]]:
        """bucket -> group -> value, of what is closed; every group has a value or None."""
        merge = self.merges[self.views[place]]
        return {
            bucket: {group: row.get(group) for group in sorted(merge.groups)}
            for bucket, row in sorted(merge.table().items())
            if bucket + EVERY <= merge.closed
        }


class Page:
    def __init__(self) -> None:
        self.traces: list[tuple[list[int], list[float | None]]] = []
        self.heard: list[str] = []

    def hear(self, frame: Frame | None) -> None:
        if frame is None:
            return
        self.heard.append(frame["action"])
        if frame["action"] == "react":
            assert set(frame) == {"action", "traces", "layout"}
            self.traces = [(list(trace["x"]), list(trace["y"])) for trace in frame["traces"]]
            return
        assert set(frame) == {"action", "traces", "max_points"}
        assert len(frame["traces"]) == len(self.traces)
        for (x, y), more in zip(self.traces, frame["traces"], strict=True):
            assert len(more["x"]) == len(more["y"]) == 1
            x += more["x"][0]
            y += more["y"][0]
            del x[: -frame["max_points"]], y[: -frame["max_points"]]


def test_react_holds_closed_buckets_only_with_a_value_or_null_for_every_trace() -> None:
    world = World()
    world.write({(1_000, 0): 1.0, (2_000, 1): math.nan, (3_000, 0): 9.0}, closed=3_000)
    world.stream.start(NOW)
    frame = world.stream.react(NOW)
    assert [(trace["name"], trace["x"], trace["y"]) for trace in frame["traces"]] == [
        ("0", [0, 1_000, 2_000], [0.5, 1.0, None]),
        ("1", [0, 1_000, 2_000], [None, None, None]),
    ]
    assert frame["layout"]["xaxis"]["type"] == "date"


def test_extend_carries_a_bucket_once_when_it_is_closed() -> None:
    world = World()
    world.write({(1_000, 0): 1.0})
    assert world.stream.tick(NOW) is None, "it is still open"
    world.close(2_000)
    assert world.stream.tick(NOW) == {"action": "extend", "traces": [{"x": [[1_000]], "y": [[1.0]]}], "max_points": 200}
    assert world.stream.tick(NOW) is None
    world.write({(2_000, 0): 2.0, (3_000, 0): 3.0}, closed=4_000)
    frame = world.stream.tick(NOW)
    assert frame
    assert frame["traces"] == [{"x": [[2_000, 3_000]], "y": [[2.0, 3.0]]}]


def test_a_new_group_is_a_new_trace() -> None:
    world = World()
    world.write({(1_000, 0): 1.0, (1_000, 5): 2.0}, closed=2_000)
    frame = world.stream.tick(NOW)
    assert frame
    assert [(trace["name"], trace["y"]) for trace in frame["traces"]] == [("0", [0.5, 1.0]), ("5", [None, 2.0])]


def test_a_correction_of_what_was_sent_is_another_react_once_a_second() -> None:
    world = World()
    world.write({(0, 0): 0.75})
    assert world.stream.tick(NOW + 10) is None
    world.write({(0, 0): 1.0})
    frame = world.stream.tick(NOW + REACT_EVERY_MS)
    assert frame
    assert (frame["action"], frame["traces"][0]["y"]) == ("react", [1.0])
    assert world.stream.tick(NOW + 3 * REACT_EVERY_MS) is None


def test_another_epoch_is_another_react() -> None:
    world = World()
    other = Merge(epoch="e2")
    other.write({(0, 0): 7.0}, closed=1_000)
    world.states[world.views[0]].load(other.history(), -1)
    frame = world.stream.tick(NOW)
    assert frame
    assert frame["traces"][0]["y"] == [7.0]


def test_who_joins_between_ticks_gets_what_the_next_extend_goes_on_from() -> None:
    world, page = World(), Page()
    world.write({(1_000, 0): 1.0, (1_000, 3): 3.0}, closed=2_000)
    page.hear(world.stream.react(NOW))
    assert page.traces == [([0], [0.5])]
    page.hear(world.stream.tick(NOW))
    assert page.traces == [([0, 1_000], [0.5, 1.0]), ([0, 1_000], [None, 3.0])]


def test_max_points_limits_what_react_holds() -> None:
    world = World(max_points=3)
    world.write({(at * EVERY, 0): at for at in range(1, 10)}, closed=10_000)
    world.stream.start(NOW)
    assert world.stream.react(NOW)["traces"][0]["x"] == [7_000, 8_000, 9_000]


def test_lines_of_a_panel_are_traces_side_by_side() -> None:
    world = World(panel("cpu", "cpu_busy", ["avg", "max"]))
    world.write({(1_000, 0): 1.0}, closed=2_000, place=1)
    frame = world.stream.tick(NOW)
    assert frame
    assert frame["traces"] == [{"x": [[]], "y": [[]]}, {"x": [[1_000]], "y": [[1.0]]}]
    assert [trace["name"] for trace in world.stream.react(NOW)["traces"]] == ["0 · avg", "0 · max"]


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{cpu} busy", "7 busy"),
        ("{cpu}{mode}", "7"),
        ("all", "all"),
        ("{ cpu }/{fn}", "7/avg"),
        ("{cpu", "{cpu"),
        ("", ""),
        ("a}b", "a}b"),
    ],
)
def test_a_legend_is_filled_with_labels(template: str, filled: str) -> None:
    assert fill(template, {"cpu": "7", "fn": "avg"}) == filled


@pytest.mark.parametrize(
    ("spec", "labels", "name"),
    [
        (panel("cpu", "cpu_busy", title="CPU"), {}, "CPU"),
        (panel("cpu", "cpu_busy", title="CPU"), {"cpu": "7", "host": "a"}, "7 · a"),
        (panel("cpu", "cpu_busy", ["avg", "max"]), {"cpu": "7"}, "7 · avg"),
        (panel("cpu", "cpu_busy", ["avg", "max"], legend="{cpu} {fn}"), {"cpu": "7"}, "7 avg"),
        (panel("cpu", "cpu_busy", legend="core {cpu}"), {"cpu": "7"}, "core 7"),
        (panel("cpu", "cpu_busy", legend="core {cpu}"), {"__overflow__": "true"}, "other groups"),
    ],
)
def test_a_trace_is_called_as_on_the_wall(spec: dict[str, Any], labels: dict[str, str], name: str) -> None:
    (found,) = plan(dashboard(spec))
    assert name_of(found, found.lines[0], labels) == name


def test_the_layout_knows_title_and_range() -> None:
    world = World(panel("cpu", "cpu_busy", title="CPU", min=0, max=1, unit="percentunit"))
    layout = world.stream.react(NOW)["layout"]
    assert layout["title"] == {"text": "CPU"}
    assert layout["yaxis"] == {"rangemode": "normal", "range": [0, 1], "tickformat": ".0%"}


writes = st.dictionaries(
    st.tuples(st.integers(0, 8).map(lambda n: n * EVERY), st.integers(0, 3)), st.floats(-9, 9), min_size=1, max_size=3
)


@steady(200)
@given(st.lists(st.tuples(writes, st.integers(0, 9).map(lambda n: n * EVERY), st.booleans()), max_size=20))
def test_a_page_that_only_appends_shows_what_is_closed(story: list[tuple[dict[tuple[int, int], float], int, bool]]) -> None:
    world, page, now = World(), Page(), NOW
    page.hear(world.stream.react(now))
    for values, closed, tick in story:
        world.write(values, closed)
        if tick:
            now += 100
            page.hear(world.stream.tick(now))
    page.hear(world.stream.tick(now + REACT_EVERY_MS))
    table = world.closed_table()
    wanted = [(list(table), [row[group] for row in table.values()]) for group in sorted(world.merges[world.views[0]].groups)]
    assert page.traces == wanted
