"""Dashboards: the document an author writes, and the one sentence that says what is wrong with it."""

import copy
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.conditions import Matcher
from services.contract.dashboards import LATER_PANEL_TYPES, MAX_PANELS, MAX_QUERIES, Dashboard, DashboardError, Threshold, parse
from services.contract.document import format_duration, parse_duration
from services.contract.functions import NAMES
from services.contract.layout import COLUMNS, DEFAULT_SIZES, Grid
from services.contract.queries import MAX_BUCKETS, MAX_PANES

Document = dict[str, Any]


def dashboard(*panels: object, **spec: object) -> Document:
    return {
        "apiVersion": "tideboard.dev/v1alpha1",
        "kind": "Dashboard",
        "metadata": {"name": "host"},
        "spec": {"panels": list(panels), **spec},
    }


def panel(**fields: object) -> dict[str, object]:
    found = {"id": "cpu", "type": "timeseries", "query": {"metric": "load"}, **fields}
    return {name: value for name, value in found.items() if value is not None}


def query(**fields: object) -> Document:
    return dashboard(panel(query={"metric": "load", **fields}))


def expr(text: str, *queries: object) -> Document:
    return dashboard(panel(query=None, queries=list(queries), expr=text))


def fault(document: object) -> DashboardError:
    with pytest.raises(DashboardError) as refused:
        parse(document)
    return refused.value


FULL: Document = {
    "apiVersion": "tideboard.dev/v1alpha1",
    "kind": "Dashboard",
    "metadata": {"name": "host", "labels": {"team": "infra"}},
    "spec": {
        "title": "This machine",
        "window": "10m",
        "every": "2s",
        "panels": [
            {
                "id": "net",
                "type": "timeseries",
                "title": "Share received",
                "description": "Of all bytes",
                "queries": [
                    {"id": "rx", "metric": "net.rx", "where": {"device": "=~ eth.*"}, "by": ["device"], "fn": "rate"},
                    {"id": "tx", "metric": "net.tx", "where": {"device": ["eth1", "eth0"], "up": True}, "by": ["device"], "fn": "rate"},
                ],
                "expr": "rx / (rx + tx)",
                "unit": "percentunit",
                "window": "1m",
                "thresholds": [{"above": 0.95, "state": "critical"}, {"above": 0.8, "state": "warning"}],
                "grid": {"x": 2, "y": 1, "w": 6, "h": 5},
                "min": 0,
                "max": 1,
                "decimals": 2,
                "legend": "{device}",
            },
            {"id": "load", "type": "stat", "query": {"metric": "load", "fn": ["avg", "p99"], "every": "500ms"}},
        ],
    },
}  # fmt: skip


def test_a_dashboard_is_what_its_document_says() -> None:
    found = parse(FULL)
    assert (found.name, found.title, found.window_ms) == ("host", "This machine", 600_000)
    net, load = found.panels
    rx, tx = net.queries
    assert (net.title, net.window_ms, net.expr, net.unit, net.grid) == (
        "Share received", 60_000, "rx / (rx + tx)", "percentunit", Grid(2, 1, 6, 5),
    )  # fmt: skip
    assert (net.min, net.max, net.decimals, net.legend, net.description) == (0, 1, 2, "{device}", "Of all bytes")
    assert net.thresholds == (Threshold(0.8, "warning"), Threshold(0.95, "critical"))
    assert (rx.id, rx.metric, rx.by, rx.fns, rx.every_ms) == ("rx", "net.rx", ("device",), ("rate",), 2_000)
    assert rx.where == (Matcher("device", "=~", ("eth.*",)),)
    assert tx.where == (Matcher("device", "in", ("eth0", "eth1")), Matcher("up", "=", ("true",)))
    assert (load.title, load.window_ms, load.queries[0].id, load.queries[0].fns, load.queries[0].every_ms) == (
        "load", 600_000, "a", ("avg", "p99"), 500,
    )  # fmt: skip


def test_what_is_left_out_has_a_default() -> None:
    found = parse(dashboard(panel()))
    (only,) = found.panels
    assert (found.title, found.window_ms, only.title, only.thresholds, only.expr) == ("host", 300_000, "cpu", (), None)
    assert (only.queries[0].fns, only.queries[0].every_ms, only.queries[0].each) == (("avg",), 1_000, None)


def test_an_empty_dashboard_is_one() -> None:
    assert parse(dashboard()).panels == ()


def test_a_parsed_document_is_not_changed() -> None:
    before = copy.deepcopy(FULL)
    parse(FULL)
    assert before == FULL


def test_the_function_of_a_panel_goes_for_its_queries() -> None:
    found = parse(dashboard(panel(query=None, fn="max", queries=[{"metric": "a"}, {"metric": "b", "fn": "min"}])))
    assert [(item.id, item.fns) for item in found.panels[0].queries] == [("a", ("max",)), ("b", ("min",))]


@pytest.mark.parametrize(
    ("condition", "matcher"),
    [
        ("eu", ("=", ("eu",))),
        ("", ("=", ("",))),
        (200, ("=", ("200",))),
        (True, ("=", ("true",))),
        (["b", "a", "b"], ("in", ("a", "b"))),
        ([200, False, "x"], ("in", ("200", "false", "x"))),
        ("=~ 5..", ("=~", ("5..",))),
        ("=~5..|x", ("=~", ("5..|x",))),
        ("!= eu", ("!=", ("eu",))),
        ("!~ 5..", ("!~", ("5..",))),
        ("= eu", ("=", ("= eu",))),
        (["!= eu"], ("in", ("!= eu",))),
        ({"=": "!= eu"}, ("=", ("!= eu",))),
        ({"!=": [200, "x"]}, ("not in", ("200", "x"))),
        ({"!=": True}, ("!=", ("true",))),
        ({"=~": "a.*"}, ("=~", ("a.*",))),
        ({"!~": "a.*"}, ("!~", ("a.*",))),
    ],
)
def test_where_takes_values_lists_and_regular_expressions(condition: object, matcher: tuple[str, tuple[str, ...]]) -> None:
    (found,) = parse(query(where={"region": condition})).panels[0].queries[0].where
    assert (found.label, (found.op, found.values)) == ("region", matcher)


@pytest.mark.parametrize(
    ("document", "path", "reason"),
    [
        # The document
        (None, "document", "expected `object`"),
        ([], "document", "expected `object`"),
        ({}, "document", "missing required field `apiVersion`"),
        (dashboard() | {"apiVersion": "tideboard.dev/v2"}, "apiVersion", "expected 'tideboard.dev/v1alpha1'"),
        (dashboard() | {"apiVersion": 1}, "apiVersion", "expected `str`, got `int`"),
        (dashboard() | {"kind": "Source"}, "kind", "expected 'Dashboard'"),
        (dashboard() | {"status": {}}, "document", "unknown field `status`"),
        (dashboard() | {"metadata": {}}, "metadata.name", "lower-case letters, digits and '-', 63 at most"),
        (dashboard() | {"metadata": {"name": "Host"}}, "metadata.name", "is 'Host'"),
        (dashboard() | {"metadata": {"name": "a-"}}, "metadata.name", "is 'a-'"),
        (dashboard() | {"metadata": {"name": "a" * 64}}, "metadata.name", "63 at most"),
        (dashboard() | {"metadata": {"name": "a\n"}}, "metadata.name", "lower-case letters"),
        (dashboard() | {"metadata": {"name": 7}}, "metadata.name", "is 7"),
        (dashboard() | {"spec": None}, "spec", "expected `object`, got `null`"),
        (dashboard() | {"spec": {}}, "spec", "missing required field `panels`"),
        (dashboard(pannels=[]), "spec", "unknown field `pannels`"),
        (dashboard(title=5), "spec.title", "expected `str`, got `int`"),
        (dashboard() | {"spec": {"panels": {}}}, "spec.panels", "expected `array`"),
        (dashboard(*[panel(id=f"p{i}") for i in range(MAX_PANELS + 1)]), "spec.panels", f"{MAX_PANELS} at most"),
        (dashboard(window="5 minutes"), "spec.window", "expected a duration like 250ms, 1s, 5m, 2h or 1d"),
        (dashboard(window="0s"), "spec.window", "more than none"),
        (dashboard(window="0.5ms"), "spec.window", "whole number of milliseconds"),
        (dashboard(window="9" * 400 + "d"), "spec.window", "expected a duration"),
        (dashboard(window=300), "spec.window", "expected `str`, got `int`"),
        # Panels
        (dashboard("cpu"), "spec.panels[0]", "expected `object`, got `str`"),
        (dashboard({"type": "stat"}), "spec.panels[0]", "missing required field `id`"),
        (dashboard(panel(), panel(id="b", colour="red")), "spec.panels[1]", "unknown field `colour`"),
        (dashboard(panel(), panel()), "spec.panels[1]", "id 'cpu' is there twice"),
        (dashboard(panel(id="1st")), "spec.panels[0].id", "not starting with a digit"),
        (dashboard(panel(id="a-b")), "spec.panels[0].id", "letters, digits and '_'"),
        (dashboard(panel(type="pie")), "spec.panels[0].type", "is not a panel type; expected one of timeseries, stat"),
        *[(dashboard(panel(type=kind)), "spec.panels[0].type", "is not supported yet") for kind in LATER_PANEL_TYPES],
        (dashboard(panel(type=["stat"])), "spec.panels[0].type", "expected `str`, got `array`"),
        (dashboard(panel(window="x")), "spec.panels[0].window", "is 'x'"),
        (dashboard(panel(decimals=13)), "spec.panels[0].decimals", "expected 0 to 12"),
        (dashboard(panel(min=1, max=1)), "spec.panels[0].max", "expected more than min 1"),
        (dashboard(panel(min=float("nan"))), "spec.panels[0].min", "which is not a number"),
        (dashboard(panel(max=float("inf"))), "spec.panels[0].max", "which is not a number"),
        (dashboard(panel(thresholds=[{"above": float("nan"), "state": "warning"}])), "spec.panels[0].thresholds[0].above", "which is not a number"),
        (dashboard(panel(thresholds=[{"above": 1, "state": "bad"}])), "spec.panels[0].thresholds[0].state", "invalid enum value 'bad'"),
        (dashboard(panel(thresholds=[{"state": "warning"}])), "spec.panels[0].thresholds[0]", "missing required field `above`"),
        (dashboard(panel(thresholds=[{"above": 1, "state": "warning", "colour": 1}])), "spec.panels[0].thresholds[0]", "unknown field `colour`"),
        # Where a panel stands
        (dashboard(panel(grid={"x": 20, "y": 0, "w": 5, "h": 4})), "spec.panels[0].grid", f"within {COLUMNS} columns"),
        (dashboard(panel(grid={"x": -1, "y": 0, "w": 5, "h": 4})), "spec.panels[0].grid", "at least"),
        (dashboard(panel(grid={"x": 0, "y": 0, "w": 0, "h": 4})), "spec.panels[0].grid", "at least 1"),
        (dashboard(panel(grid={"x": 0, "y": 0, "w": 4, "h": 101})), "spec.panels[0].grid", "h within 100 rows"),
        (dashboard(panel(grid={"x": 0, "y": 10**30, "w": 4, "h": 4})), "spec.panels[0].grid", "y within"),
        (dashboard(panel(grid={"x": 0, "y": 0, "w": 4})), "spec.panels[0].grid", "missing required field `h`"),
        (dashboard(panel(grid={"x": 0.5, "y": 0, "w": 4, "h": 4})), "spec.panels[0].grid.x", "expected `int`, got `float`"),
        # Queries
        (dashboard(panel(query=None)), "spec.panels[0]", "needs either query or queries"),
        (dashboard(panel(queries=[{"metric": "a"}])), "spec.panels[0]", "needs either query or queries"),
        (dashboard(panel(query=None, queries=[])), "spec.panels[0].queries", "is empty"),
        (dashboard(panel(query=None, queries=[{"metric": "a"}] * (MAX_QUERIES + 1))), "spec.panels[0].queries", f"{MAX_QUERIES} at most"),
        (dashboard(panel(query="load")), "spec.panels[0].query", "expected `object`, got `str`"),
        (dashboard(panel(query={})), "spec.panels[0].query", "missing required field `metric`"),
        (query(metrics="x"), "spec.panels[0].query", "unknown field `metrics`"),
        (query(metric="9x"), "spec.panels[0].query.metric", "is '9x', which is not a metric name"),
        (query(metric="load\n"), "spec.panels[0].query.metric", "is not a metric name"),
        (query(id="a b"), "spec.panels[0].query.id", "is 'a b'"),
        (query(by="host"), "spec.panels[0].query.by", "expected `array`, got `str`"),
        (query(by=["host", "a-b"]), "spec.panels[0].query.by[1]", "is 'a-b', which is not a label name"),
        (query(fn="mean"), "spec.panels[0].query.fn", f"'mean' is not a function; expected one of {', '.join(NAMES)}"),
        (query(fn=["avg", "avg"]), "spec.panels[0].query.fn[1]", "function 'avg' is there twice"),
        (query(fn=[]), "spec.panels[0].query.fn", "is empty"),
        (query(fn=7), "spec.panels[0].query.fn", "got `int`"),
        (query(each="mean"), "spec.panels[0].query.each", "'mean' is not one of pool, last, first, avg, sum, min, max"),
        (query(fn="rate", each="last"), "spec.panels[0].query.each", "cannot be combined with fn rate; leave it out or use pool"),
        (query(fn=["avg", "p99"], each="avg"), "spec.panels[0].query.each", "cannot be combined with fn p99"),
        (query(where={"a-b": "x"}), "spec.panels[0].query.where.a-b", "is not a label name"),
        (query(where={"host": None}), "spec.panels[0].query.where.host", "expected a value, a list of values"),
        (query(where={"host": []}), "spec.panels[0].query.where.host", "expected a value, a list of values"),
        (query(where={"host": [["x"]]}), "spec.panels[0].query.where.host", "expected a value, a list of values"),
        (query(where={"host": "=~ ("}), "spec.panels[0].query.where.host", "'(' is not a regular expression (RE2): missing )"),
        (query(where={"host": "=~ a{2000}"}), "spec.panels[0].query.where.host", "is not a regular expression"),
        (query(where={"host": "=~ " + "(" * 5000 + ")" * 5000}), "spec.panels[0].query.where.host", "has 10000 characters, 1000 at most"),
        (query(where={"host": "=~ (?=a)b"}), "spec.panels[0].query.where.host", "is not a regular expression (RE2): invalid perl operator"),
        (query(where={"host": "!~ ("}), "spec.panels[0].query.where.host", "missing )"),
        (query(where={"host": {"~": "a"}}), "spec.panels[0].query.where.host", "'~' is not an operator; expected one of =~, !~, !=, ="),
        (query(where={"host": {"=~": ["a"]}}), "spec.panels[0].query.where.host.=~", "expected a regular expression"),
        (query(where={"host": {"!=": None}}), "spec.panels[0].query.where.host.!=", "expected a value, a list of values"),
        (query(where={"host": {}}), "spec.panels[0].query.where.host", "expected a value, a list of values"),
        # Functions with numbers and labels
        (query(fn="p0"), "spec.panels[0].query.fn", "between 0 and 100 with three decimals at most"),
        (query(fn="p100"), "spec.panels[0].query.fn", "between 0 and 100"),
        (query(fn="p99.9999"), "spec.panels[0].query.fn", "three decimals at most"),
        (query(fn="topk(0)", of="url"), "spec.panels[0].query.fn", "'topk(0)' is not a function; expected topk(n) with n from 1 to 100"),
        (query(fn="topk(101)", of="url"), "spec.panels[0].query.fn", "n from 1 to 100"),
        (query(fn="topk", of="url"), "spec.panels[0].query.fn", "expected topk(n)"),
        (query(fn="topk(3)"), "spec.panels[0].query.of", "is missing; topk(3) needs the label whose values it lists"),
        (query(fn="topk(3)", of="a-b"), "spec.panels[0].query.of", "is not a label name"),
        (query(fn="avg", of="url"), "spec.panels[0].query.of", "only distinct and topk take it"),
        (query(fn="topk(3)", of="url", by=["url"]), "spec.panels[0].query.of", "'url' is in by too"),
        (query(fn="distinct", of="url", each="last"), "spec.panels[0].query.each", "cannot be combined with fn distinct"),
        (query(fn=["p99", "p99.0"]), "spec.panels[0].query.fn[1]", "function 'p99' is there twice"),
        # Sliding windows
        (query(over="x"), "spec.panels[0].query.over", "expected a duration"),
        (query(over="1500ms"), "spec.panels[0].query.over", "is 1500ms, expected a multiple of every 1s; 2s would fit"),
        (query(over="20m"), "spec.panels[0].query.over", "is 20m, which takes 1200 buckets of 1s, 600 at most; every 2s would fit"),
        (query(over="1d", every="1s"), "spec.panels[0].query.over", "every 5m would fit"),
        (query(over="1500s"), "spec.panels[0].query.over", "every 5s would fit"),
        (query(over="601s"), "spec.panels[0].query.over", "over 10m would fit"),
        (dashboard(panel(query=None, queries=[{"metric": "a"}, {"metric": "b", "id": "a"}])), "spec.panels[0].queries[1]", "id 'a' is there twice"),
        (dashboard(panel(query=None, queries=[{"metric": "a"}, {"metric": "b", "fn": "x"}])), "spec.panels[0].queries[1].fn", "'x' is not a function"),
        # How fine: what would fit is said
        (query(every="10ms"), "spec.panels[0].query.every", "is 10ms, expected 50ms to 1h"),
        (query(every="2h"), "spec.panels[0].query.every", "is 2h, expected 50ms to 1h"),
        (dashboard(panel(), window="1h"), "spec.panels[0].query.every", "1s gives 3600 buckets in a window of 1h, 2000 at most; 2s would fit"),
        (dashboard(panel(), window="5m", every="100ms"), "spec.panels[0].query.every", "3000 buckets in a window of 5m, 2000 at most; 200ms would fit"),
        (dashboard(panel(window="1d")), "spec.panels[0].query.every", "1m would fit"),
        (dashboard(panel(window="100d")), "spec.panels[0].query.every", "1h with a window of 2000h would fit"),
        # How many groups
        (dashboard(panel(), maxGroups=0), "spec.maxGroups", "is 0, expected 1 to 100,000"),
        (dashboard(panel(maxGroups=100_001)), "spec.panels[0].maxGroups", "is 100001, expected 1 to 100,000"),
        (dashboard(panel(maxGroups=1_000, query={"metric": "load", "by": ["host"]})), "spec.panels[0].maxGroups",
         "is 1,000, which with 300 buckets (a window of 5m, every 1s) gives 300,000 cells, 200,000 at most; an every of 2s or 666 groups would fit"),
        # Expressions
        (expr("a /", {"metric": "x"}), "spec.panels[0].expr", "is not an expression"),
        (expr("a ** 2", {"metric": "x"}), "spec.panels[0].expr", "'a ** 2' is not allowed"),
        (expr("rx / tx", {"metric": "x", "id": "rx"}), "spec.panels[0].expr", "'tx' is not the id of a query; there are rx"),
        (expr("a", {"metric": "x", "fn": ["avg", "max"]}), "spec.panels[0].queries[0].fn", "one function per query"),
        (expr("a + b", {"metric": "x", "by": ["h"]}, {"metric": "y"}), "spec.panels[0].queries[1]", "the same by and every"),
        (expr("a + b", {"metric": "x", "every": "2s"}, {"metric": "y"}), "spec.panels[0].queries[1]", "the same by and every"),
        (expr("a", {"metric": "x", "fn": "topk(3)", "of": "url"}), "spec.panels[0].queries[0].fn", "topk makes groups of its own"),
    ],
)  # fmt: skip
def test_a_broken_document_is_refused_with_its_path_and_a_reason_that_names_the_fix(
    document: object, path: str, reason: str
) -> None:
    found = fault(document)
    assert found.path == path
    assert reason in found.reason
    assert str(found) == f"{found.path}: {found.reason}"


def test_what_would_fit_does_fit() -> None:
    for window in ("61m", "3h", "1d", "7d", "30d"):
        found = re.search(r"; (\w+) would fit", fault(dashboard(panel(), window=window, every="50ms")).reason)
        assert found
        assert parse(dashboard(panel(), window=window, every=found[1])).panels


def test_the_limits_themselves_are_allowed() -> None:
    assert parse(dashboard(panel(), window=f"{MAX_BUCKETS}s")).panels
    assert parse(query(every="50ms") | {"spec": {"window": "100s", "panels": query(every="50ms")["spec"]["panels"]}}).panels
    assert parse(query(every="1h")).panels
    assert parse(query(over=f"{MAX_PANES}s")).panels


def test_a_label_may_meet_several_conditions_at_once() -> None:
    (item,) = parse(query(where={"code": {"=~": "5..", "!=": ["503", "504"]}})).panels[0].queries
    assert item.where == (Matcher("code", "=~", ("5..",)), Matcher("code", "not in", ("503", "504")))


@pytest.mark.parametrize(
    ("fn", "name"),
    [("p5", "p5"), ("p05", "p5"), ("p99.9", "p99.9"), ("p99.900", "p99.9"), ("p0.001", "p0.001"), ("p99.999", "p99.999"), ("topk(07)", "topk(7)")],
)  # fmt: skip
def test_a_function_with_a_number_has_one_name(fn: str, name: str) -> None:
    assert parse(query(fn=fn, of="url" if fn.startswith("topk") else None)).panels[0].queries[0].fns == (name,)


def test_a_window_as_long_as_its_bucket_is_none() -> None:
    assert [parse(query(over=over)).panels[0].queries[0].over_ms for over in (None, "1s", "2s")] == [0, 0, 2_000]


def test_a_limit_of_groups_that_just_fits_is_taken() -> None:
    fits = dashboard(panel(maxGroups=666, query={"metric": "load", "by": ["host"]}), maxGroups=5)
    assert parse(fits).panels[0].max_groups == 666
    assert parse(dashboard(panel(), maxGroups=90_000)).panels[0].max_groups == 90_000  # without groups nothing is too many


# Where panels stand


def test_panels_without_a_grid_stand_from_left_to_right_below_those_with_one() -> None:
    grids = [
        item.grid
        for item in parse(
            dashboard(
                panel(id="a", type="stat", grid={"x": 0, "y": 0, "w": 4, "h": 3}),
                panel(id="b"),
                panel(id="c", type="bar"),
                panel(id="d", type="gauge"),
                panel(id="e", type="stat"),
            )
        ).panels
    ]
    assert grids == [Grid(0, 0, 4, 3), Grid(0, 3, 12, 8), Grid(12, 3, 8, 8), Grid(20, 3, 4, 5), Grid(0, 11, 4, 4)]


@given(st.lists(st.sampled_from(sorted(DEFAULT_SIZES)), max_size=20))
def test_panels_that_are_placed_for_the_author_do_not_overlap(kinds: list[str]) -> None:
    found = parse(dashboard(*[panel(id=f"p{i}", type=kind) for i, kind in enumerate(kinds)]))
    taken: set[tuple[int, int]] = set()
    for item in found.panels:
        grid = item.grid
        cells = {(x, y) for x in range(grid.x, grid.x + grid.w) for y in range(grid.y, grid.y + grid.h)}
        assert not taken & cells
        assert grid.x + grid.w <= COLUMNS
        taken |= cells


# Durations


@pytest.mark.parametrize(
    ("text", "ms"),
    [("50ms", 50), ("1s", 1_000), ("1.5s", 1_500), ("0.05s", 50), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)],
)
def test_durations_are_numbers_with_a_unit(text: str, ms: int) -> None:
    assert parse_duration(text, "window") == ms


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "5M", "1m30s", "1e3s", "٥m", "5m\n", "0.1ms", "1.0005s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(DashboardError) as refused:
        parse_duration(text, "spec.window")
    assert refused.value.path == "spec.window"


@given(st.integers(1, 10**12))
def test_durations_round_trip(ms: int) -> None:
    assert parse_duration(format_duration(ms), "") == ms


@pytest.mark.parametrize(("ms", "text"), [(90_000, "90s"), (3_600_000, "1h"), (172_800_000, "2d"), (1_500, "1500ms")])
def test_a_duration_is_written_the_shortest_way(ms: int, text: str) -> None:
    assert format_duration(ms) == text


# Whatever comes

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
noise = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


def paths(item: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [at]
    entries = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for key, value in entries:
        found += paths(value, (*at, key))
    return found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_document_is_a_dashboard_or_refused_with_a_path(data: st.DataObject) -> None:
    document: Any = {"": copy.deepcopy(FULL)}
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(paths(document)[1:]))
        holder = document
        for step in way:
            holder = holder[step]
        holder[last] = data.draw(noise)
        if data.draw(st.booleans()) and isinstance(holder, dict):
            holder[data.draw(st.sampled_from(["id", "extra", "where", "grid"]))] = data.draw(noise)
    try:
        found = parse(document[""])
    except DashboardError as error:
        assert error.path
        assert error.reason
    else:
        assert parsed_again(found) == found


def parsed_again(found: Dashboard) -> Dashboard:
    return msgspec.json.decode(msgspec.json.encode(found), type=Dashboard)
