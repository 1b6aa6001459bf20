"""Resolutions of a dashboard, and the levels that a view has by them."""

from typing import Any

import pytest

from services.contract.dashboards import DEFAULT_RESOLUTIONS, DashboardError, Resolution, parse
from services.contract.levels import Level, kept, levels
from services.contract.views import View, retentions

S, M, H, D = 1_000, 60_000, 3_600_000, 86_400_000


def document(every: str = "1s", window: str = "5m", **spec: Any) -> dict[str, Any]:
    query = {"metric": "load", "fn": "avg", "every": every, **spec.pop("query", {})}
    return {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "x"},
        "spec": {"window": window, "panels": [{"id": "p", "type": "stat", "query": query}], **spec},
    }  # fmt: skip


def found(every: str = "1s", window: str = "5m", **spec: Any) -> tuple[Level, ...]:
    dashboard = parse(document(every, window, **spec))
    ((view, window_ms),) = retentions(dashboard).items()
    return levels(view, window_ms, dashboard.resolutions)


def kept_by_every(every: str = "1s", window: str = "5m", **spec: Any) -> dict[int, int]:
    return {level.view.every_ms: level.kept_ms for level in found(every, window, **spec)}


def test_a_dashboard_that_says_nothing_keeps_the_default_ones() -> None:
    assert parse(document()).resolutions == DEFAULT_RESOLUTIONS
    assert kept_by_every() == {S: 15 * M, 10 * S: 6 * H, M: 48 * H, 10 * M: 14 * D}


def test_an_empty_list_keeps_the_window_and_nothing_else() -> None:
    assert kept_by_every(resolutions=[]) == {S: 5 * M}


def test_resolutions_are_as_written() -> None:
    written = [{"every": "5s", "for": "30m"}, {"every": "1m", "for": "1d"}]
    assert parse(document(resolutions=written)).resolutions == (Resolution(5 * S, 30 * M), Resolution(M, D))
    assert kept_by_every(resolutions=written) == {S: 15 * M, 5 * S: 30 * M, M: D}


@pytest.mark.parametrize(
    ("every", "window", "expected"),
    [
        ("50ms", "10s", {50: 100 * S, 10 * S: 6 * H, M: 48 * H, 10 * M: 14 * D}),
        ("1s", "30m", {S: 30 * M, 10 * S: 6 * H, M: 48 * H, 10 * M: 14 * D}),
        ("10s", "5m", {10 * S: 20_000 * S, M: 48 * H, 10 * M: 14 * D}),
        ("30s", "5m", {30 * S: 6 * H, M: 48 * H, 10 * M: 14 * D}),
        ("25s", "5m", {25 * S: 6 * H, 10 * M: 14 * D}),
        ("7s", "5m", {7 * S: 15 * M}),
        ("1h", "1d", {H: 14 * D}),
    ],
)
def test_own_buckets_are_kept_while_none_that_is_coarser_says_more(every: str, window: str, expected: dict[int, int]) -> None:
    assert kept_by_every(every, window) == expected


def test_each_level_is_rolled_up_from_the_one_before() -> None:
    chain = [level.view.inputs[0].selection for level in found()]
    assert [item.finer for item in chain] == [None, *chain[:-1]]
    assert {item.sampled for item in chain} == {chain[0]}
    assert len({level.view.id for level in found()}) == 4


def test_a_level_is_kept_for_longer_than_the_cells_that_it_is_made_of() -> None:
    """Else a late sample, which those still take, would find it gone."""
    assert kept_by_every(window="20m", resolutions=[{"every": "10s", "for": "15m"}]) == {S: 20 * M, 10 * S: 20 * M + S}


def test_a_sliding_window_has_the_levels_of_which_it_is_a_multiple() -> None:
    """Rounded up, it would be another number: what grew in ten minutes instead of in 90 s."""
    over = {level.view.every_ms: level.view.over_ms for level in found(query={"over": "90s"})}
    assert over == {S: 90 * S, 10 * S: 90 * S}


def test_the_same_view_has_the_same_levels_in_every_dashboard() -> None:
    views: list[list[View]] = [list(kept(parse(document(title=title)))) for title in ("a", "b")]
    assert views[0] == views[1]


@pytest.mark.parametrize(
    ("resolutions", "path", "reason"),
    [
        ([{"every": "10s"}], "spec.resolutions[0]", "missing required field `for`"),
        ([{"every": "10s", "for": "6h", "keep": 1}], "spec.resolutions[0]", "unknown field `keep`"),
        ([{"every": "soon", "for": "6h"}], "spec.resolutions[0].every", "expected a duration"),
        ([{"every": "10ms", "for": "6h"}], "spec.resolutions[0].every", "expected 50ms to 1d"),
        ([{"every": "2d", "for": "60d"}], "spec.resolutions[0].every", "expected 50ms to 1d"),
        ([{"every": "1m", "for": "10s"}], "spec.resolutions[0].for", "at least one bucket of 1m"),
        ([{"every": "1s", "for": "1d"}], "spec.resolutions[0].for", "1d is more than 5000 buckets of 1s, which is 5000s"),
        (
            [{"every": "10s", "for": "6h"}, {"every": "10s", "for": "7h"}],
            "spec.resolutions[1].every",
            "multiple of the one before, 10s",
        ),
        (
            [{"every": "10s", "for": "6h"}, {"every": "15s", "for": "7h"}],
            "spec.resolutions[1].every",
            "multiple of the one before, 10s",
        ),
        (
            [{"every": "10s", "for": "6h"}, {"every": "1m", "for": "1h"}],
            "spec.resolutions[1].for",
            "at least what the finer one has, 6h",
        ),
        ([{"every": "1m", "for": "1h"}] * 9, "spec.resolutions", "has 9 resolutions, 8 at most"),
        ("10s", "spec.resolutions", "expected `array | null`"),
    ],
)
def test_what_cannot_be_is_refused_with_path_and_reason(resolutions: Any, path: str, reason: str) -> None:
    with pytest.raises(DashboardError) as error:
        parse(document(resolutions=resolutions))
    assert error.value.path == path
    assert reason in error.value.reason
