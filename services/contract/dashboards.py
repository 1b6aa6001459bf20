"""Dashboards: the document an author writes, checked. What is computed from it is in `views`.

`parse` takes the decoded YAML and gives a Dashboard or one DashboardError that names the path and the reason. Queries are `queries`' to
check, where panels stand is `layout`'s. Where in the file a path lies is the business of whoever read the file (services.local.dashboards).
"""

from typing import Any, Final, Literal, cast

import msgspec

from services.contract import limits
from services.contract.document import DocumentError as DashboardError
from services.contract.document import check_finite, check_unique, format_duration, parse_duration, read_head, shape
from services.contract.layout import DEFAULT_SIZES, Grid, lay_out
from services.contract.queries import ID_PATTERN, MIN_EVERY_MS, ROUND_MS, Defaults, Query, check_expression, parse_query

__all__ = ["Dashboard", "DashboardError", "Panel", "Threshold", "parse"]

MAX_PANELS: Final = 200
MAX_QUERIES: Final = 32  # of one panel; rules of custom resources need a bound
MAX_DECIMALS: Final = 12
DEFAULT_WINDOW: Final = "5m"
DEFAULT_EVERY: Final = "1s"
MAX_RESOLUTIONS: Final = 8
MAX_RESOLUTION_MS: Final = 86_400_000
MAX_KEPT: Final = 5_000  # buckets of one resolution

PanelType = Literal["timeseries", "stat", "gauge", "bar", "table"]
LATER_PANEL_TYPES: Final = ("heatmap", "state", "text", "plotly")


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    above: float
    state: Literal["warning", "critical"]


class Panel(msgspec.Struct, frozen=True):
    id: str
    title: str
    type: PanelType
    queries: tuple[Query, ...]
    expr: str | None
    window_ms: int
    unit: str
    thresholds: tuple[Threshold, ...]
    grid: Grid
    min: float | None
    max: float | None
    decimals: int | None
    legend: str | None
    description: str
    max_groups: int | None = None


class Resolution(msgspec.Struct, frozen=True):
    """Buckets of every_ms are kept for for_ms, rolled up from finer ones."""

    every_ms: int
    for_ms: int


DEFAULT_RESOLUTIONS: Final = (
    Resolution(10_000, 21_600_000),
    Resolution(60_000, 172_800_000),
    Resolution(600_000, 1_209_600_000),
)


class Dashboard(msgspec.Struct, frozen=True):
    """resolutions: coarser buckets that are kept beside the queries' own, the finest first; none: only the window is kept."""

    name: str
    title: str
    window_ms: int
    panels: tuple[Panel, ...]
    resolutions: tuple[Resolution, ...] = DEFAULT_RESOLUTIONS


# The document as it is written: shapes only; what the values must be is checked below, with their path.


class _Spec(msgspec.Struct, forbid_unknown_fields=True):
    panels: list[Any]
    title: str = ""
    window: str = DEFAULT_WINDOW
    every: str = DEFAULT_EVERY
    maxGroups: int | None = None  # noqa: N815, the document's own spelling
    resolutions: list[Any] | None = None


class _Resolution(msgspec.Struct, forbid_unknown_fields=True, rename={"for_": "for"}):
    every: str
    for_: str


class _Panel(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    type: str
    title: str = ""
    description: str = ""
    query: Any = None
    queries: list[Any] | None = None
    fn: str | list[str] | None = None
    expr: str | None = None
    unit: str = ""
    window: str | None = None
    thresholds: list[Any] = []
    grid: Any = None
    min: float | None = None
    max: float | None = None
    decimals: int | None = None
    legend: str | None = None
    maxGroups: int | None = None  # noqa: N815, the document's own spelling


def parse(document: object) -> Dashboard:
    """The dashboard that a decoded YAML document describes. DashboardError names the first thing that is wrong."""
    name, drafted = read_head(document, "Dashboard")
    spec = shape(drafted, _Spec, "spec")
    window_ms = parse_duration(spec.window, "spec.window")
    if len(spec.panels) > MAX_PANELS:
        raise DashboardError("spec.panels", f"has {len(spec.panels)} panels, {MAX_PANELS} at most")
    drafts = [shape(panel, _Panel, f"spec.panels[{i}]") for i, panel in enumerate(spec.panels)]
    check_unique([draft.id for draft in drafts], "spec.panels", "id")
    grids = lay_out([(draft.type, draft.grid) for draft in drafts])
    _check_groups(spec.maxGroups, "spec.maxGroups")
    for draft in drafts:
        draft.maxGroups = spec.maxGroups if draft.maxGroups is None else draft.maxGroups
    panels = tuple(_panel(draft, f"spec.panels[{i}]", window_ms, spec.every, grids[i]) for i, draft in enumerate(drafts))
    return Dashboard(name, spec.title or name, window_ms, panels, _resolutions(spec.resolutions))


def _panel(draft: _Panel, path: str, window_ms: int, every: str, grid: Grid) -> Panel:
    if not ID_PATTERN.match(draft.id):
        raise DashboardError(f"{path}.id", f"is {draft.id!r}, expected letters, digits and '_', not starting with a digit")
    if draft.type not in DEFAULT_SIZES:
        known = ", ".join(DEFAULT_SIZES)
        what = "is not supported yet" if draft.type in LATER_PANEL_TYPES else "is not a panel type"
        raise DashboardError(f"{path}.type", f"{draft.type!r} {what}; expected one of {known}")
    if draft.window is not None:
        window_ms = parse_duration(draft.window, f"{path}.window")
    queries = _queries(draft, path, Defaults(draft.fn, window_ms, every))
    _check_cells(draft.maxGroups, queries, window_ms, f"{path}.maxGroups")
    if draft.expr is not None:
        check_expression(draft.expr, queries, path)
    _check_look(draft, path)
    thresholds = [shape(item, Threshold, f"{path}.thresholds[{i}]") for i, item in enumerate(draft.thresholds)]
    for i, threshold in enumerate(thresholds):
        check_finite(threshold.above, f"{path}.thresholds[{i}].above")
    return Panel(
        id=draft.id, title=draft.title or draft.id, type=cast("PanelType", draft.type), queries=queries, expr=draft.expr, window_ms=window_ms,
        unit=draft.unit, thresholds=tuple(sorted(thresholds, key=lambda item: item.above)), grid=grid, min=draft.min, max=draft.max, decimals=draft.decimals,
        legend=draft.legend, description=draft.description, max_groups=draft.maxGroups,
    )  # fmt: skip


def _check_groups(wanted: int | None, path: str) -> None:
    if wanted is not None and not 1 <= wanted <= limits.MOST_GROUPS:
        raise DashboardError(path, f"is {wanted}, expected 1 to {limits.MOST_GROUPS:,}")


def _check_cells(wanted: int | None, queries: tuple[Query, ...], window_ms: int, path: str) -> None:
    """Whether so many groups fit beside the buckets of the window."""
    _check_groups(wanted, path)
    for query in queries:
        buckets = limits.buckets(window_ms, query.every_ms)
        if wanted is None or not query.by or wanted * buckets <= limits.MAX_CELLS:
            continue
        least = next((ms for ms in ROUND_MS if wanted * limits.buckets(window_ms, ms) <= limits.MAX_CELLS), None)
        fits = f"an every of {format_duration(least)} or {limits.MAX_CELLS // buckets:,} groups" if least else "fewer groups"
        raise DashboardError(
            path,
            f"is {wanted:,}, which with {buckets:,} buckets (a window of {format_duration(window_ms)}, every {format_duration(query.every_ms)})"
            f" gives {wanted * buckets:,} cells, {limits.MAX_CELLS:,} at most; {fits} would fit",
        )


def _resolutions(items: list[Any] | None) -> tuple[Resolution, ...]:
    """As written, the finest first; the default ones where nothing is."""
    if items is None:
        return DEFAULT_RESOLUTIONS
    if len(items) > MAX_RESOLUTIONS:
        raise DashboardError("spec.resolutions", f"has {len(items)} resolutions, {MAX_RESOLUTIONS} at most")
    found: list[Resolution] = []
    for i, item in enumerate(items):
        path = f"spec.resolutions[{i}]"
        draft = shape(item, _Resolution, path)
        found.append(Resolution(parse_duration(draft.every, f"{path}.every"), parse_duration(draft.for_, f"{path}.for")))
        _check_resolution(found, path)
    return tuple(found)


def _check_resolution(found: list[Resolution], path: str) -> None:
    """The last of these, beside the one before it."""
    last = found[-1]
    every, kept = format_duration(last.every_ms), format_duration(last.for_ms)
    if not MIN_EVERY_MS <= last.every_ms <= MAX_RESOLUTION_MS:
        raise DashboardError(f"{path}.every", f"is {every}, expected 50ms to 1d")
    if last.for_ms < last.every_ms:
        raise DashboardError(f"{path}.for", f"is {kept}, expected at least one bucket of {every}")
    if last.for_ms > last.every_ms * MAX_KEPT:
        longest = format_duration(last.every_ms * MAX_KEPT)
        raise DashboardError(f"{path}.for", f"{kept} is more than {MAX_KEPT} buckets of {every}, which is {longest}")
    if len(found) > 1:
        before = found[-2]
        if last.every_ms <= before.every_ms or last.every_ms % before.every_ms:
            finer = format_duration(before.every_ms)
            raise DashboardError(
                f"{path}.every", f"is {every}, expected a multiple of the one before, {finer}, and more than it"
            )
        if last.for_ms < before.for_ms:
            raise DashboardError(
                f"{path}.for", f"is {kept}, expected at least what the finer one has, {format_duration(before.for_ms)}"
            )


def _check_look(draft: _Panel, path: str) -> None:
    if draft.decimals is not None and not 0 <= draft.decimals <= MAX_DECIMALS:
        raise DashboardError(f"{path}.decimals", f"is {draft.decimals}, expected 0 to {MAX_DECIMALS}")
    if draft.min is not None and draft.max is not None and draft.min >= draft.max:
        raise DashboardError(f"{path}.max", f"is {draft.max:g}, expected more than min {draft.min:g}")
    check_finite(draft.min, f"{path}.min")
    check_finite(draft.max, f"{path}.max")


def _queries(draft: _Panel, path: str, defaults: Defaults) -> tuple[Query, ...]:
    if (draft.query is None) == (draft.queries is None):
        raise DashboardError(path, "needs either query or queries")
    if draft.queries is None:
        return (parse_query(draft.query, f"{path}.query", "a", defaults),)
    if not draft.queries:
        raise DashboardError(f"{path}.queries", "is empty")
    if len(draft.queries) > MAX_QUERIES:
        raise DashboardError(f"{path}.queries", f"has {len(draft.queries)} queries, {MAX_QUERIES} at most")
    queries = tuple(
        parse_query(item, f"{path}.queries[{i}]", chr(97 + i % 26), defaults) for i, item in enumerate(draft.queries)
    )
    check_unique([query.id for query in queries], f"{path}.queries", "id")
    return queries
