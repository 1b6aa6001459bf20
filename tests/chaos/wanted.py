"""The dashboards of a run, and what folds compute for them: worked out here from the contract, not by the aggregator."""

from collections.abc import Iterable
from typing import Any, Final

from services.contract.levels import kept
from services.contract.partials import Config
from services.contract.registry import VERSION, Entry
from services.contract.views import Selection, View

ALL: Final = ["avg", "sum", "min", "max", "count", "last", "first", "delta", "stddev"]
QUANTILES: Final = ["p50", "p90", "p99"]


def _panel(name: str, metric: str, fn: list[str] | str, **query: Any) -> dict[str, Any]:
    return {"id": name, "type": "timeseries", "query": {"metric": metric, "fn": fn, **query}}


def _entry(
    name: str, window: str, panels: list[dict[str, Any]], resolutions: tuple[tuple[str, str], ...] = (), groups: int = 0
) -> Entry:
    """resolutions: (every, for) of what is kept beside the queries' own buckets. groups: how many are shown apart, 0 for as many as there are."""
    coarser = [{"every": every, "for": kept} for every, kept in resolutions]
    document = {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": name},
        "spec": {"window": window, "panels": panels, "resolutions": coarser} | ({"maxGroups": groups} if groups else {}),
    }  # fmt: skip
    return Entry(VERSION, name, f"r-{name}", document, "chaos")


BASE: Final = (
    _entry("long", "10m", [
        _panel("load", "load", [*ALL, *QUANTILES], by=["host"], every="1s"),
        _panel("whole", "load", ["avg", "sum", "count"], every="5s"),
        _panel("lasts", "load", ["avg", "max", "min", "count", "last"], by=["host"], each="last", every="2s"),
        _panel("state", "state", ["last", "sum"], by=["door"], every="1s"),
        _panel("bytes", "bytes", ["rate", "increase"], by=["host"], every="1s"),
        _panel("errors", "bytes", "rate", where={"code": "=~ [45].."}, by=["host"], every="2s"),
        _panel("added", "added", ["sum", "rate", "count"], by=["host"], every="1s"),
        _panel("latency", "latency", ["p50", "p95", "p99", "count", "max"], by=["path"], every="2s"),
        _panel("cores", "load", ["distinct", "topk(2)"], of="core", by=["host"], every="2s"),
        _panel("sliding", "load", ["avg", "max", "stddev", "p50", "p90"], by=["core"], every="1s", over="7s"),
        _panel("slow", "bytes", "rate", where={"code": "!= 200", "host": "!~ h[23]"}, every="2s", over="10s"),
        _panel("firsts", "state", ["first", "count"], by=["door"], each="last", every="2s"),
        _panel("begun", "requests", ["rate", "increase"], by=["writer"], every="1s"),
        _panel("begun_hosts", "requests", "increase", by=["host"], every="2s", over="6s"),
        _panel("orders", "order", ["count", "max", "p50"], by=["shop"], every="1s"),
        _panel("items", "items", ["sum", "rate", "count"], by=["shop"], every="2s"),
        _panel("unique", "unique", ["count", "max"], by=["shard"], every="1s"),
        {
            "id": "ratio", "type": "timeseries", "expr": "bad / all * 100",
            "queries": [
                {"id": "bad", "metric": "bytes", "where": {"code": "503"}, "by": ["host"], "fn": "increase"},
                {"id": "all", "metric": "bytes", "by": ["host"], "fn": "increase"},
            ],
        },
    ]),
    _entry("crowded", "12m", [
        _panel("clicks", "clicks", [*ALL, "p50", "p90", "rate", "increase"], by=["user"], every="2s"),
        _panel("each", "clicks", ["max", "count"], by=["user"], each="last", every="2s"),
        _panel("sliding", "clicks", ["p90", "avg", "increase"], by=["user"], every="2s", over="6s"),
    ], (("10s", "30m"),), 6),
    _entry("short", "20s", [
        _panel("quick", "load", ["avg", "count"], by=["core"], every="200ms"),
        _panel("turns", "bytes", "increase", by=["code"], every="500ms"),
    ]),
    _entry("levels", "5m", [
        _panel("load", "load", ["avg", "max", "last", "p90", "stddev", "first"], by=["core"], every="500ms"),
        _panel("each", "load", ["sum", "count"], by=["host"], each="last", every="500ms"),
        _panel("bytes", "bytes", "rate", by=["code"], every="1s"),
        _panel("hosts", "load", ["distinct", "topk(3)"], of="host", by=["core"], every="1s"),
    ], (("5s", "15m"), ("20s", "1h"))),
)  # fmt: skip

OTHERS: Final = (
    _entry("other", "10m", [
        _panel("some", "load", ["sum", "max", "p90"], where={"host": ["h1", "h2"]}, by=["core"], every="1s"),
        _panel("doors", "state", "count", by=["door"], every="5s"),
        _panel("codes", "bytes", "increase", by=["code"], every="5s"),
    ]),
    _entry("another", "10m", [
        _panel("paths", "latency", ["sum", "p75"], where={"path": "/p1"}, every="1s"),
        _panel("delta", "added", "increase", every="2s"),
    ]),
)  # fmt: skip
"""Dashboards that come and go. What they read has a window of its own nowhere else, so that no sample is late for one and not for another."""


def views(entries: Iterable[Entry]) -> dict[str, tuple[View, int]]:
    """Every view, at each of its resolutions, by id with the time in ms for which it is kept."""
    found: dict[str, tuple[View, int]] = {}
    for entry in entries:
        dashboard = entry.dashboard()
        assert dashboard is not None, f"{entry.name} is not a dashboard"
        for view, window in kept(dashboard).items():
            found[view.id] = view, max(window, found.get(view.id, (view, 0))[1])
    return found


def config(entries: Iterable[Entry]) -> Config:
    """What folds keep for these dashboards."""
    selections: dict[str, Selection] = {}
    longest: dict[str, int] = {}
    for view, window in views(entries).values():
        for item in view.inputs:
            selections[item.selection.id] = item.selection
            longest[item.selection.id] = max(window + item.over_ms, longest.get(item.selection.id, 0))
    for name, selection in sorted(selections.items(), key=lambda item: item[1].every_ms):
        if (finer := selection.finer) is not None:
            longest[name] = max(longest[name], longest[finer.id] + finer.every_ms)
    return Config(selections, longest)
