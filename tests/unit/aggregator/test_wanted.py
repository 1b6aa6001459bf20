"""What the dashboards in the registry ask for."""

from typing import Any

from services.aggregator.wanted import missing, wanted
from services.contract.partials import Config
from services.contract.registry import VERSION, Entry, Fault
from tests.unit.aggregator.logs import config, document, view

QUERY = {"metric": "load", "fn": "avg"}


def entry(name: str, *queries: dict[str, Any], window: str = "5m") -> Entry:
    panels = [{"id": f"p{i}", "type": "stat", "query": query} for i, query in enumerate(queries)]
    return Entry(VERSION, name, "r", document(panels, window), "test")


def test_no_dashboards_ask_for_nothing() -> None:
    asked = wanted({})
    assert (dict(asked.views), asked.config) == ({}, Config({}, {}))


def test_a_view_of_two_dashboards_is_kept_for_the_longer_window() -> None:
    for names in (("a", "b"), ("b", "a")):
        asked = wanted({names[0]: entry("x", QUERY), names[1]: entry("y", QUERY, window="10m")})
        ((_, window),) = asked.views.values()
        assert window == 600_000
        assert list(asked.config.retentions.values()) == [600_000]


def test_views_that_share_a_selection_keep_it_for_the_longest_of_their_windows() -> None:
    asked = wanted({"a": entry("a", QUERY), "b": entry("b", QUERY | {"fn": "max"}, window="10m")})
    assert sorted(window for _, window in asked.views.values()) == [300_000, 600_000]
    assert list(asked.config.retentions.values()) == [600_000]


def test_a_dashboard_that_cannot_be_read_asks_for_nothing_and_the_rest_go_on() -> None:
    broken = Entry(VERSION, "b", "r", None, "b.yaml", Fault("spec", "is wrong"))
    later = Entry(VERSION, "c", "r", {"apiVersion": "tideboard.dev/v9"}, "c.yaml")
    assert len(wanted({"a": entry("a", QUERY), "b": broken, "c": later}).views) == 1


def test_equal_registries_ask_for_the_same() -> None:
    one = wanted({"a": entry("a", QUERY), "b": entry("b", QUERY | {"fn": "p99"})})
    other = wanted({"b": entry("b", QUERY | {"fn": "p99"}), "a": entry("a", QUERY)})
    assert (one.views, one.config, one.config.digest) == (other.views, other.config, other.config.digest)


def test_what_is_missing_is_new_or_kept_longer() -> None:
    one, two, three = view(fn="avg"), view(fn="p99"), view(fn="rate")
    held = config(one, two, retention_ms=1_000)
    asked = config(one, two, three, retention_ms=1_000)
    name = two.inputs[0].selection.id
    asked.retentions[name] = 2_000
    found = missing(held, asked)
    assert set(found.selections) == set(found.retentions) == {name, three.inputs[0].selection.id}
    assert found.retentions[name] == 2_000


def test_nothing_is_missing_of_less() -> None:
    one, two = view(fn="avg"), view(fn="p99")
    assert missing(config(one, two, retention_ms=2_000), config(one, retention_ms=1_000)) == Config({}, {})
