"""Queries of a panel, checked: functions, conditions, groups, and how fine."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from services.contract.conditions import Matcher, parse_where
from services.contract.document import DocumentError, check_unique, format_duration, parse_duration, shape
from services.contract.expressions import ExpressionError, parse_expression
from services.contract.functions import MAX_TOP, NAMES, Function, parse_function
from services.contract.series import LABEL_PATTERN, METRIC_PATTERN

ID_PATTERN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
MAX_BUCKETS: Final = 2_000  # window / every of one view
MAX_PANES: Final = 600  # over / every
MIN_EVERY_MS: Final = 50
MAX_EVERY_MS: Final = 3_600_000
EACH: Final = ("pool", "last", "first", "avg", "sum", "min", "max", "count", "delta")
_WITHOUT_EACH: Final = ("rate", "increase", "delta", "quantile", "distinct", "topk")


class Query(msgspec.Struct, frozen=True):
    """One query of a panel. every_ms: length of a bucket. fns: each gives a view of its own.

    of: the label whose values `distinct` and `topk` are about, '' for none. over_ms: length of a sliding window, 0 for the bucket alone.
    """

    id: str
    metric: str
    where: tuple[Matcher, ...]
    by: tuple[str, ...]
    fns: tuple[str, ...]
    each: str | None
    every_ms: int
    of: str = ""
    over_ms: int = 0


class _Query(msgspec.Struct, forbid_unknown_fields=True):
    metric: str
    id: str | None = None
    where: dict[str, Any] = {}
    by: list[str] = []
    fn: str | list[str] | None = None
    of: str | None = None
    each: str | None = None
    every: str | None = None
    over: str | None = None


class Defaults(msgspec.Struct, frozen=True):
    """What a query takes from its panel and dashboard."""

    fn: str | list[str] | None
    window_ms: int
    every: str


def parse_query(item: object, path: str, default_id: str, defaults: Defaults) -> Query:
    """The query that is written here. DocumentError names the first thing that is wrong."""
    draft = shape(item, _Query, path)
    query_id = draft.id if draft.id is not None else default_id
    if not ID_PATTERN.match(query_id):
        raise DocumentError(f"{path}.id", f"is {query_id!r}, expected letters, digits and '_', not starting with a digit")
    if not METRIC_PATTERN.match(draft.metric):
        raise DocumentError(f"{path}.metric", f"is {draft.metric!r}, which is not a metric name")
    for i, label in enumerate(draft.by):
        if not LABEL_PATTERN.match(label):
            raise DocumentError(f"{path}.by[{i}]", f"is {label!r}, which is not a label name")
    functions = _functions(draft.fn if draft.fn is not None else defaults.fn, f"{path}.fn")
    if draft.each is not None:
        _check_each(draft.each, functions, f"{path}.each")
    _check_of(draft, functions, path)
    every_ms = parse_duration(draft.every or defaults.every, f"{path}.every")
    _check_every(every_ms, defaults.window_ms, f"{path}.every")
    over_ms = _over(draft.over, every_ms, f"{path}.over")
    where = parse_where(draft.where, f"{path}.where")
    names = tuple(function.name for function in functions)
    return Query(
        query_id, draft.metric, where, tuple(sorted(set(draft.by))), names, draft.each, every_ms, draft.of or "", over_ms
    )


def check_expression(text: str, queries: Sequence[Query], path: str) -> None:
    """Refuse what cannot be computed of these queries."""
    try:
        names = parse_expression(text).names
    except ExpressionError as error:
        raise DocumentError(f"{path}.expr", str(error)) from None
    ids = {query.id for query in queries}
    if unknown := sorted(names - ids):
        raise DocumentError(f"{path}.expr", f"{unknown[0]!r} is not the id of a query; there are {', '.join(sorted(ids))}")
    first = queries[0]
    for i, query in enumerate(queries):
        if len(query.fns) != 1:
            raise DocumentError(f"{path}.queries[{i}].fn", "an expression needs one function per query")
        if query.fns[0].startswith("topk"):
            raise DocumentError(f"{path}.queries[{i}].fn", "topk makes groups of its own; an expression cannot take it")
        if (query.by, query.every_ms) != (first.by, first.every_ms):
            raise DocumentError(f"{path}.queries[{i}]", "the queries of an expression need the same by and every")


def _functions(fn: str | list[str] | None, path: str) -> list[Function]:
    texts = ["avg"] if fn is None else [fn] if isinstance(fn, str) else fn
    if not texts:
        raise DocumentError(path, "is empty")
    found = []
    for text in texts:
        if (function := parse_function(text)) is None:
            raise DocumentError(path, f"{text!r} is not a function; {_expected(text)}")
        found.append(function)
    check_unique([function.name for function in found], path, "function")
    return found


def _expected(text: str) -> str:
    if text.startswith("topk"):
        return f"expected topk(n) with n from 1 to {MAX_TOP}"
    if re.match(r"p[0-9]", text):
        return "expected a number of percent between 0 and 100 with three decimals at most, such as p99 or p99.9"
    return f"expected one of {', '.join(NAMES)}"


def _check_each(each: str, functions: Sequence[Function], path: str) -> None:
    if each not in EACH:
        raise DocumentError(path, f"{each!r} is not one of {', '.join(EACH)}")
    if each != "pool" and (wrong := [item.name for item in functions if item.kind in _WITHOUT_EACH]):
        raise DocumentError(path, f"{each!r} cannot be combined with fn {wrong[0]}; leave it out or use pool")


def _check_of(draft: _Query, functions: Sequence[Function], path: str) -> None:
    if draft.of is None:
        if wrong := [item.name for item in functions if item.kind == "topk"]:
            raise DocumentError(f"{path}.of", f"is missing; {wrong[0]} needs the label whose values it lists")
        return
    if not LABEL_PATTERN.match(draft.of):
        raise DocumentError(f"{path}.of", f"is {draft.of!r}, which is not a label name")
    if wrong := [item.name for item in functions if item.kind not in ("distinct", "topk")]:
        raise DocumentError(f"{path}.of", f"cannot be combined with fn {wrong[0]}; only distinct and topk take it")
    if draft.of in draft.by:
        raise DocumentError(
            f"{path}.of", f"{draft.of!r} is in by too, where each group has one value of it; take it out of one"
        )


def _check_every(every_ms: int, window_ms: int, path: str) -> None:
    if not MIN_EVERY_MS <= every_ms <= MAX_EVERY_MS:
        raise DocumentError(path, f"is {format_duration(every_ms)}, expected 50ms to 1h")
    if window_ms > every_ms * MAX_BUCKETS:
        least = next((ms for ms in ROUND_MS if ms * MAX_BUCKETS >= window_ms), None)
        fits = format_duration(least) if least else f"1h with a window of {MAX_BUCKETS}h"
        raise DocumentError(
            path,
            f"{format_duration(every_ms)} gives {-(-window_ms // every_ms)} buckets in a window of {format_duration(window_ms)},"
            f" {MAX_BUCKETS} at most; {fits} would fit",
        )


def _over(text: str | None, every_ms: int, path: str) -> int:
    """Length of the sliding window, 0 where it is the bucket."""
    if text is None:
        return 0
    over_ms = parse_duration(text, path)
    every, over = format_duration(every_ms), format_duration(over_ms)
    if over_ms % every_ms:
        fits = format_duration((over_ms // every_ms + 1) * every_ms)
        raise DocumentError(path, f"is {over}, expected a multiple of every {every}; {fits} would fit")
    if over_ms > every_ms * MAX_PANES:
        least = next((ms for ms in ROUND_MS if ms * MAX_PANES >= over_ms and over_ms % ms == 0), None)
        fits = f"every {format_duration(least)}" if least else f"over {format_duration(every_ms * MAX_PANES)}"
        raise DocumentError(
            path, f"is {over}, which takes {over_ms // every_ms} buckets of {every}, {MAX_PANES} at most; {fits} would fit"
        )
    return over_ms if over_ms > every_ms else 0


ROUND_MS: Final = (50, 100, 200, 250, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000)  # fmt: skip
