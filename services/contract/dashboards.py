"""Dashboards: the document an author writes, checked. What is computed from it is in `views`.

`parse` takes the decoded YAML and gives a Dashboard or one DashboardError that names the path and the reason.
Where in the file a path lies is the business of whoever read the file (services.local.dashboards).
"""

import math
import re
from typing import Any, Final, Literal, TypeVar, cast

import msgspec

from services.contract import limits
from services.contract.expressions import ExpressionError, parse_expression
from services.contract.series import LABEL_PATTERN, METRIC_PATTERN

API_VERSION: Final = "tideboard.dev/v1alpha1"
NAME_PATTERN: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
ID_PATTERN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")

MAX_PANELS: Final = 200
MAX_BUCKETS: Final = 2_000  # window / every of one view
MIN_EVERY_MS: Final = 50
MAX_EVERY_MS: Final = 3_600_000
MAX_RESOLUTIONS: Final = 8
MAX_RESOLUTION_MS: Final = 86_400_000
MAX_KEPT: Final = 5_000  # buckets of one resolution
COLUMNS: Final = 24
MAX_ROW: Final = 10_000

PanelType = Literal["timeseries", "stat", "gauge", "bar", "table"]
LATER_PANEL_TYPES: Final = ("heatmap", "state", "text", "plotly")
DEFAULT_SIZES: Final[dict[str, tuple[int, int]]] = {  # columns, rows of 30 px
    "timeseries": (12, 8), "stat": (4, 4), "gauge": (4, 5), "bar": (8, 8), "table": (12, 8),
}  # fmt: skip

PLAIN_FUNCTIONS: Final = ("avg", "sum", "min", "max", "count", "last", "rate", "increase")
QUANTILES: Final = ("p50", "p75", "p90", "p95", "p99")
FUNCTIONS: Final = PLAIN_FUNCTIONS + QUANTILES
EACH: Final = ("pool", "last", "avg", "min", "max")
COMPARISONS: Final = ("=", "in", "=~")

_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)\Z")
_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class DashboardError(ValueError):
    """A document that is not a dashboard. `path` as in spec.panels[2].query.fn, `reason` a sentence."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Matcher(msgspec.Struct, frozen=True, order=True):
    """One condition on a label. op '=': one value; 'in': any of values; '=~': values[0] is a regular expression for the whole value."""

    label: str
    op: Literal["=", "in", "=~"]
    values: tuple[str, ...]


class Query(msgspec.Struct, frozen=True):
    """One query of a panel. every_ms: length of a bucket. fns: each gives a view of its own."""

    id: str
    metric: str
    where: tuple[Matcher, ...]
    by: tuple[str, ...]
    fns: tuple[str, ...]
    each: str | None
    every_ms: int


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    above: float
    state: Literal["warning", "critical"]


class Grid(msgspec.Struct, frozen=True):
    """Where a panel stands: x, w in columns of 24; y, h in rows of 30 px."""

    x: int
    y: int
    w: int
    h: int


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


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    apiVersion: str  # noqa: N815, the document's own spelling
    kind: str
    metadata: dict[str, Any]
    spec: Any


class _Spec(msgspec.Struct, forbid_unknown_fields=True):
    panels: list[Any]
    title: str = ""
    window: str = "5m"
    every: str = "1s"
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


class _Query(msgspec.Struct, forbid_unknown_fields=True):
    metric: str
    id: str | None = None
    where: dict[str, Any] = {}
    by: list[str] = []
    fn: str | list[str] | None = None
    each: str | None = None
    every: str | None = None


class _Grid(msgspec.Struct, forbid_unknown_fields=True):
    x: int
    y: int
    w: int
    h: int


def parse(document: object) -> Dashboard:
    """The dashboard that a decoded YAML document describes. DashboardError names the first thing that is wrong."""
    head = _shape(document, _Document, "")
    if head.apiVersion != API_VERSION:
        raise DashboardError("apiVersion", f"is {head.apiVersion!r}, expected {API_VERSION!r}")
    if head.kind != "Dashboard":
        raise DashboardError("kind", f"is {head.kind!r}, expected 'Dashboard'")
    name = head.metadata.get("name")
    if not isinstance(name, str) or not NAME_PATTERN.match(name):
        raise DashboardError("metadata.name", f"is {name!r}, expected lower-case letters, digits and '-', 63 at most")
    spec = _shape(head.spec, _Spec, "spec")
    window_ms = parse_duration(spec.window, "spec.window")
    if len(spec.panels) > MAX_PANELS:
        raise DashboardError("spec.panels", f"has {len(spec.panels)} panels, {MAX_PANELS} at most")
    drafts = [_shape(panel, _Panel, f"spec.panels[{i}]") for i, panel in enumerate(spec.panels)]
    _unique([draft.id for draft in drafts], "spec.panels", "id")
    grids = _layout(drafts)
    _check_groups(spec.maxGroups, "spec.maxGroups")
    for draft in drafts:
        draft.maxGroups = spec.maxGroups if draft.maxGroups is None else draft.maxGroups
    panels = tuple(_panel(draft, f"spec.panels[{i}]", window_ms, spec.every, grids[i]) for i, draft in enumerate(drafts))
    return Dashboard(name, spec.title or name, window_ms, panels, _resolutions(spec.resolutions))


def parse_duration(text: str, path: str) -> int:
    """Milliseconds of '250ms', '1s', '5m', '2h', '1d'."""
    if not (found := _DURATION.match(text)):
        raise DashboardError(path, f"is {text!r}, expected a duration like 250ms, 1s, 5m, 2h or 1d")
    ms = float(found[1]) * _UNITS_MS[found[2]]
    if ms != int(ms) or ms <= 0:
        raise DashboardError(path, f"is {text!r}, expected a whole number of milliseconds, more than none")
    return int(ms)


def format_duration(ms: int) -> str:
    """The shortest way to write a duration: 90000 -> 90s, 3600000 -> 1h."""
    for unit in ("d", "h", "m", "s"):
        if ms % _UNITS_MS[unit] == 0:
            return f"{ms // _UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


def _panel(draft: _Panel, path: str, window_ms: int, every: str, grid: Grid) -> Panel:
    if not ID_PATTERN.match(draft.id):
        raise DashboardError(f"{path}.id", f"is {draft.id!r}, expected letters, digits and '_', not starting with a digit")
    if draft.type not in DEFAULT_SIZES:
        known = ", ".join(DEFAULT_SIZES)
        what = "is not supported yet" if draft.type in LATER_PANEL_TYPES else "is not a panel type"
        raise DashboardError(f"{path}.type", f"{draft.type!r} {what}; expected one of {known}")
    if draft.window is not None:
        window_ms = parse_duration(draft.window, f"{path}.window")
    queries = _queries(draft, path, window_ms, every)
    _check_cells(draft.maxGroups, queries, window_ms, f"{path}.maxGroups")
    if draft.expr is not None:
        _check_expression(draft.expr, queries, path)
    if draft.decimals is not None and not 0 <= draft.decimals <= 12:
        raise DashboardError(f"{path}.decimals", f"is {draft.decimals}, expected 0 to 12")
    if draft.min is not None and draft.max is not None and draft.min >= draft.max:
        raise DashboardError(f"{path}.max", f"is {draft.max:g}, expected more than min {draft.min:g}")
    _finite(draft.min, f"{path}.min")
    _finite(draft.max, f"{path}.max")
    thresholds = [_shape(item, Threshold, f"{path}.thresholds[{i}]") for i, item in enumerate(draft.thresholds)]
    for i, threshold in enumerate(thresholds):
        _finite(threshold.above, f"{path}.thresholds[{i}].above")
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
        least = next((ms for ms in _ROUND_MS if wanted * limits.buckets(window_ms, ms) <= limits.MAX_CELLS), None)
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
        draft = _shape(item, _Resolution, path)
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


def _finite(number: float | None, path: str) -> None:
    """JSON, in which dashboards travel, has neither infinities nor NaN."""
    if number is not None and not math.isfinite(number):
        raise DashboardError(path, f"is {number}, which is not a number")


def _queries(draft: _Panel, path: str, window_ms: int, every: str) -> tuple[Query, ...]:
    if (draft.query is None) == (draft.queries is None):
        raise DashboardError(path, "needs either query or queries")
    if draft.queries is None:
        return (_query(draft.query, f"{path}.query", "a", draft.fn, window_ms, every),)
    if not draft.queries:
        raise DashboardError(f"{path}.queries", "is empty")
    queries = tuple(
        _query(item, f"{path}.queries[{i}]", chr(97 + i % 26), draft.fn, window_ms, every)
        for i, item in enumerate(draft.queries)
    )
    _unique([query.id for query in queries], f"{path}.queries", "id")
    return queries


def _query(item: object, path: str, default_id: str, panel_fn: str | list[str] | None, window_ms: int, every: str) -> Query:
    draft = _shape(item, _Query, path)
    query_id = draft.id if draft.id is not None else default_id
    if not ID_PATTERN.match(query_id):
        raise DashboardError(f"{path}.id", f"is {query_id!r}, expected letters, digits and '_', not starting with a digit")
    if not METRIC_PATTERN.match(draft.metric):
        raise DashboardError(f"{path}.metric", f"is {draft.metric!r}, which is not a metric name")
    for i, label in enumerate(draft.by):
        if not LABEL_PATTERN.match(label):
            raise DashboardError(f"{path}.by[{i}]", f"is {label!r}, which is not a label name")
    fns = _functions(draft.fn if draft.fn is not None else panel_fn, f"{path}.fn")
    if draft.each is not None:
        _check_each(draft.each, fns, f"{path}.each")
    every_ms = parse_duration(draft.every or every, f"{path}.every")
    _check_every(every_ms, window_ms, f"{path}.every")
    where = tuple(sorted(_matcher(label, condition, f"{path}.where.{label}") for label, condition in draft.where.items()))
    return Query(query_id, draft.metric, where, tuple(sorted(set(draft.by))), fns, draft.each, every_ms)


def _functions(fn: str | list[str] | None, path: str) -> tuple[str, ...]:
    fns = ["avg"] if fn is None else [fn] if isinstance(fn, str) else fn
    if not fns:
        raise DashboardError(path, "is empty")
    for name in fns:
        if name not in FUNCTIONS:
            raise DashboardError(path, f"{name!r} is not a function; expected one of {', '.join(FUNCTIONS)}")
    _unique(fns, path, "function")
    return tuple(fns)


def _check_each(each: str, fns: tuple[str, ...], path: str) -> None:
    if each not in EACH:
        raise DashboardError(path, f"{each!r} is not one of {', '.join(EACH)}")
    if each != "pool" and (wrong := [fn for fn in fns if fn in ("rate", "increase") or fn in QUANTILES]):
        raise DashboardError(path, f"{each!r} cannot be combined with fn {wrong[0]}; leave it out or use pool")


def _check_every(every_ms: int, window_ms: int, path: str) -> None:
    if not MIN_EVERY_MS <= every_ms <= MAX_EVERY_MS:
        raise DashboardError(path, f"is {format_duration(every_ms)}, expected 50ms to 1h")
    if window_ms > every_ms * MAX_BUCKETS:
        least = next((ms for ms in _ROUND_MS if ms * MAX_BUCKETS >= window_ms), None)
        fits = format_duration(least) if least else f"1h with a window of {MAX_BUCKETS}h"
        raise DashboardError(
            path,
            f"{format_duration(every_ms)} gives {-(-window_ms // every_ms)} buckets in a window of {format_duration(window_ms)},"
            f" {MAX_BUCKETS} at most; {fits} would fit",
        )


_ROUND_MS: Final = (50, 100, 200, 250, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000)  # fmt: skip


def _matcher(label: str, condition: object, path: str) -> Matcher:
    if not LABEL_PATTERN.match(label):
        raise DashboardError(path, "is not a label name")
    match condition:
        case str() if condition.startswith("=~"):
            pattern = condition[2:].strip()
            try:
                re.compile(pattern)
            except (re.error, OverflowError, RecursionError) as error:
                raise DashboardError(path, f"{pattern!r} is not a regular expression: {error}") from None
            return Matcher(label, "=~", (pattern,))
        case str():
            return Matcher(label, "=", (condition,))
        case int() | float():
            return Matcher(label, "=", (_label_value(condition),))
        case list() if condition and all(isinstance(value, str | int | float) for value in condition):
            return Matcher(label, "in", tuple(sorted({_label_value(value) for value in condition})))
    raise DashboardError(path, "expected a value, a list of values, or '=~ regular expression'")


def _label_value(value: str | float) -> str:
    """As it was written: YAML reads 200 as a number and true as a truth."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_expression(text: str, queries: tuple[Query, ...], path: str) -> None:
    try:
        names = parse_expression(text).names
    except ExpressionError as error:
        raise DashboardError(f"{path}.expr", str(error)) from None
    ids = {query.id for query in queries}
    if unknown := sorted(names - ids):
        raise DashboardError(f"{path}.expr", f"{unknown[0]!r} is not the id of a query; there are {', '.join(sorted(ids))}")
    first = queries[0]
    for i, query in enumerate(queries):
        if len(query.fns) != 1:
            raise DashboardError(f"{path}.queries[{i}].fn", "an expression needs one function per query")
        if (query.by, query.every_ms) != (first.by, first.every_ms):
            raise DashboardError(f"{path}.queries[{i}]", "the queries of an expression need the same by and every")


def _layout(drafts: list[_Panel]) -> list[Grid]:
    """Where each panel stands: as written, or else from left to right below everything that is written."""
    written = [None if draft.grid is None else _grid(draft.grid, f"spec.panels[{i}].grid") for i, draft in enumerate(drafts)]
    x, y, row = 0, max((grid.y + grid.h for grid in written if grid), default=0), 0
    grids = []
    for draft, grid in zip(drafts, written, strict=True):
        if grid is None:
            w, h = DEFAULT_SIZES.get(draft.type, (12, 8))
            if x + w > COLUMNS:
                x, y, row = 0, y + row, 0
            grid = Grid(x, y, w, h)
            x, row = x + w, max(row, h)
        grids.append(grid)
    return grids


def _grid(item: object, path: str) -> Grid:
    grid = _shape(item, _Grid, path)
    if not (grid.x >= 0 and 0 <= grid.y <= MAX_ROW and grid.w >= 1 and 1 <= grid.h <= 100 and grid.x + grid.w <= COLUMNS):
        limits = f"x + w must stay within {COLUMNS} columns, h within 100 rows, y within {MAX_ROW}, w and h at least 1"
        raise DashboardError(path, limits)
    return Grid(grid.x, grid.y, grid.w, grid.h)


def _unique(names: list[str], path: str, what: str) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise DashboardError(f"{path}[{i}]", f"{what} {name!r} is there twice")


Shape = TypeVar("Shape")
_IN_MESSAGE: Final = re.compile(r"(?P<reason>.*?)(?: - at `\$(?P<path>.*)`)?\Z", re.DOTALL)


def _shape(item: object, shape: type[Shape], path: str) -> Shape:
    """The item as the shape, or where it differs. msgspec's own words are kept, its path is appended to ours."""
    try:
        return msgspec.convert(item, shape)
    except msgspec.ValidationError as error:
        found = _IN_MESSAGE.match(str(error))
        reason, inner = (found["reason"], found["path"] or "") if found else (str(error), "")
        raise DashboardError((path + inner).lstrip(".") or "document", reason[:1].lower() + reason[1:]) from None
