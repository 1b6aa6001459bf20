"""Views: what is computed for dashboards, by ids that aggregators and gateways find out apart from each other."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from services.contract.dashboards import parse
from services.contract.views import View, plan, retentions

HOST = {
    "apiVersion": "tideboard.dev/v1alpha1",
    "kind": "Dashboard",
    "metadata": {"name": "host"},
    "spec": {
        "panels": [
            {
                "id": "cpu",
                "type": "timeseries",
                "query": {"metric": "host_cpu_busy_ratio", "by": ["cpu"], "fn": ["avg", "p99"]},
            },
            {"id": "now", "type": "stat", "window": "1m", "query": {"metric": "host_cpu_busy_ratio", "by": ["cpu"]}},
        ]
    },
}
NETWORK = {
    "apiVersion": "tideboard.dev/v1alpha1",
    "kind": "Dashboard",
    "metadata": {"name": "network"},
    "spec": {
        "every": "500ms",
        "panels": [
            {
                "id": "share",
                "type": "timeseries",
                "queries": [
                    {"id": "rx", "metric": "net.received", "where": {"device": "=~ eth.*"}, "by": ["host", "device"], "fn": "rate"},
                    {"id": "tx", "metric": "net.sent", "where": {"device": ["eth0", "eth1"]}, "by": ["device", "host"], "fn": "rate"},
                ],
                "expr": "rx / (rx + tx)",
            }
        ],
    },
}  # fmt: skip
ORDERS = {
    "apiVersion": "tideboard.dev/v1alpha1",
    "kind": "Dashboard",
    "metadata": {"name": "orders"},
    "spec": {
        "window": "1h",
        "every": "10s",
        "panels": [
            {"id": "total", "type": "bar", "query": {"metric": "orders", "where": {"paid": True, "code": 200}, "fn": "sum"}},
            {"id": "pool", "type": "bar", "query": {"metric": "orders", "fn": "sum", "each": "pool"}},
            {"id": "peak", "type": "bar", "query": {"metric": "orders", "by": ["shop"], "fn": "max", "each": "avg", "every": "1m"}},
        ],
    },
}  # fmt: skip


def views_of(document: object) -> list[View]:
    return [line.view for panel in plan(parse(document)) for line in panel.lines]


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        (HOST, ["b3245efa3c3fa789", "8638b0742eb408c3", "b3245efa3c3fa789"]),
        (NETWORK, ["f655899177fe7bee"]),
        (ORDERS, ["845ffb534290c316", "7e157b2cfe17491f", "6053cc923d9562b0"]),
    ],
)
def test_ids_are_the_same_in_every_process_and_every_release(document: object, ids: list[str]) -> None:
    """Golden: what lies in Redis has these names. When the meaning of a cell changes, raise PLAN_VERSION and change them here."""
    assert [view.id for view in views_of(document)] == ids


def test_panels_that_ask_the_same_share_view_and_selection() -> None:
    first, quantile, second = views_of(HOST)
    assert first == second
    assert quantile.inputs[0].selection != first.inputs[0].selection
    assert first.inputs[0].selection.id == views_of(ORDERS | {"spec": HOST["spec"]})[0].inputs[0].selection.id


def test_functions_of_pooled_samples_share_one_selection() -> None:
    query = {"metric": "load", "by": ["host"], "fn": ["avg", "min", "max", "count", "last"]}
    views = views_of(_with_query(query))
    assert len({view.id for view in views}) == 5
    assert len({view.inputs[0].selection.id for view in views}) == 1


def test_quantiles_share_one_sketch_and_rates_one_increase() -> None:
    views = views_of(_with_query({"metric": "load", "fn": ["p50", "p99", "rate", "increase"]}))
    assert [view.inputs[0].selection.accumulator for view in views] == ["sketch", "sketch", "increase", "increase"]
    assert len({view.inputs[0].selection.id for view in views}) == 2


@pytest.mark.parametrize(
    ("fn", "each", "accumulator", "by", "reduced"),
    [
        ("avg", None, "moments", ("host",), "pool"),
        ("sum", None, "series", (), "auto"),
        ("sum", "pool", "moments", ("host",), "pool"),
        ("sum", "last", "series", (), "last"),
        ("max", "avg", "series", (), "avg"),
        ("p99", "pool", "sketch", ("host",), "pool"),
        ("p99.9", None, "sketch", ("host",), "pool"),
        ("rate", None, "increase", ("host",), "pool"),
        ("first", None, "edges", ("host",), "pool"),
        ("avg", "first", "series_edges", (), "first"),
        ("count", "last", "series", (), "last"),
        ("delta", None, "series_edges", (), "delta"),
        ("max", "delta", "series_edges", (), "delta"),
        ("stddev", None, "variance", ("host",), "pool"),
        ("stddev", "last", "series", (), "last"),
        ("distinct", None, "distinct", ("host",), "pool"),
    ],
)
def test_what_is_read_from_the_log_follows_from_function_and_each(
    fn: str, each: str | None, accumulator: str, by: tuple[str, ...], reduced: str
) -> None:
    query = {"metric": "load", "by": ["host"], "fn": fn} | ({"each": each} if each else {})
    (item,) = views_of(_with_query(query))[0].inputs
    assert (item.selection.accumulator, item.selection.by, item.each, item.by) == (accumulator, by, reduced, ("host",))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"by": ["b", "a"]}, {"by": ["a", "b", "a"]}),
        ({"where": {"x": ["1", "2"], "y": "3"}}, {"where": {"y": "3", "x": [2, 1]}}),
        ({"every": "1s"}, {"every": "1000ms"}),
        ({}, {"fn": "avg"}),
        ({"fn": "avg", "each": "pool"}, {"fn": "avg"}),
    ],
)
def test_what_means_the_same_has_the_same_id(one: dict[str, object], other: dict[str, object]) -> None:
    views = [views_of(_with_query({"metric": "load", **query})) for query in (one, other)]
    assert views[0][0].id == views[1][0].id


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "other"},
        {"where": {"x": "1"}},
        {"where": {"x": ["1"]}},
        {"by": ["a"]},
        {"fn": "max"},
        {"every": "2s"},
        {"each": "last"},
        {"over": "2s"},
    ],
)
def test_what_means_something_else_has_another_id(change: dict[str, object]) -> None:
    plain = {"metric": "load"}
    assert views_of(_with_query(plain))[0].id != views_of(_with_query(plain | change))[0].id


def test_a_view_is_kept_for_the_longest_window_that_shows_it() -> None:
    windows = {view.id: window for view, window in retentions(parse(HOST)).items()}
    first, quantile, _ = views_of(HOST)
    assert windows == {first.id: 300_000, quantile.id: 300_000}


def test_how_a_panel_looks_does_not_change_its_views() -> None:
    changed = copy.deepcopy(HOST)
    panels: Any = changed["spec"]
    panels["panels"][0] |= {"title": "New", "type": "stat", "unit": "percent", "grid": {"x": 0, "y": 0, "w": 2, "h": 2}}
    assert [view.id for view in views_of(changed)] == [view.id for view in views_of(HOST)]


@pytest.mark.parametrize(
    ("fn", "additive"),
    [("sum", True), ("count", True), ("rate", True), ("delta", True), ("distinct", True), ("avg", False), ("p99", False)],
)
def test_an_open_bucket_still_grows_of_additive_functions(fn: str, additive: bool) -> None:
    assert views_of(_with_query({"metric": "load", "fn": fn}))[0].additive is additive


def test_functions_of_items_share_a_sketch_of_each_label() -> None:
    views = views_of(_with_query({"metric": "hits", "of": "url", "fn": ["distinct", "topk(3)", "topk(10)"]}))
    selections = [view.inputs[0].selection for view in views]
    assert [(item.accumulator, item.of) for item in selections] == [("distinct", "url"), ("topk", "url"), ("topk", "url")]
    assert (
        selections[1]
        == selections[2]
        != views_of(_with_query({"metric": "hits", "of": "x", "fn": "topk(3)"}))[0].inputs[0].selection
    )


def test_a_sliding_window_reads_the_selection_of_its_buckets() -> None:
    (plain, long) = views_of(
        {**ORDERS, "spec": {"panels": [{"id": f"p{i}", "type": "stat", "query": {"metric": "load", "over": over}} for i, over in enumerate(["1s", "1m"])]}}
    )  # fmt: skip
    assert plain.inputs[0].selection == long.inputs[0].selection
    assert (plain.over_ms, long.over_ms) == (0, 60_000)


def test_an_expression_is_one_view_of_all_its_queries() -> None:
    (panel,) = plan(parse(NETWORK))
    (line,) = panel.lines
    assert (line.query, line.fn, [item.name for item in line.view.inputs]) == ("expr", "", ["rx", "tx"])
    assert (line.view.by, line.view.every_ms, line.view.additive) == (("device", "host"), 500, True)


def _with_query(query: Mapping[str, object]) -> dict[str, object]:
    return {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "test"},
        "spec": {"panels": [{"id": "p", "type": "stat", "query": query}]},
    }  # fmt: skip


# Groups


def limits_of(*panels: dict[str, object], **spec: object) -> list[int]:
    """The limit of groups of each view, in a dashboard of these panels."""
    written = [
        {"id": f"p{i}", "type": "stat", "query": {"metric": "load", "by": ["host"]}} | item for i, item in enumerate(panels)
    ]
    document = HOST | {"spec": {"panels": written, **spec}}
    return [view.inputs[0].limit for view in views_of(document)]


@pytest.mark.parametrize(
    ("window", "limit"),
    [("30s", 2_000), ("100s", 2_000), ("5m", 666), ("2000s", 100)],
)
def test_as_many_groups_are_shown_as_fit_beside_the_buckets(window: str, limit: int) -> None:
    assert limits_of({}, window=window) == [limit]


def test_a_dashboard_or_a_panel_may_say_how_many_groups() -> None:
    assert limits_of({}, {"maxGroups": 7}, maxGroups=20) == [20, 7]


def test_a_view_without_groups_has_no_limit_of_them() -> None:
    assert limits_of({"query": {"metric": "load"}}, maxGroups=20) == [0]


def test_panels_that_ask_the_same_share_the_limit_of_the_longer_window() -> None:
    assert limits_of({"window": "10m"}, {"window": "1m"}) == [333, 333]


def test_folds_of_single_series_do_not_know_the_limit_of_groups() -> None:
    query: dict[str, object] = {"query": {"metric": "load", "by": ["host"], "fn": "sum"}}
    (view,) = views_of(HOST | {"spec": {"panels": [{"id": "p", "type": "stat", **query}]}})
    assert (view.inputs[0].limit, view.inputs[0].selection.limit) == (666, 0)
