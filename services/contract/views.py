"""What is computed for dashboards: selections, views, and the plan of a dashboard.

Pure functions of the dashboard alone, so that aggregators (which compute views) and gateways (which show them) agree
on every id without talking to each other.
"""

import hashlib
from functools import cached_property
from typing import Final, Literal

import msgspec

from services.contract import limits
from services.contract.conditions import Matcher
from services.contract.dashboards import Dashboard, Panel
from services.contract.functions import ADDITIVE, Function, parse_function
from services.contract.queries import Query

PLAN_VERSION: Final = 2  # part of every id: raise it when the meaning of a cell changes

Accumulator = Literal["moments", "series", "edges", "series_edges", "variance", "increase", "sketch", "distinct", "topk"]
BY_SERIES: Final = frozenset({"series", "series_edges"})
"""Accumulators of single series: the merge groups them."""


class Selection(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """What a view reads from the log; shared by all views that ask for the same.

    accumulator says what a cell holds of the samples of a group: 'moments' count, sum, min, max, last; 'edges' first and last;
    'variance' count, sum and sum of squares; 'increase' of counters; 'sketch' log buckets; 'distinct' and 'topk' sketches of the values of
    the label `of`, of series where that is ''. 'series' and 'series_edges' are moments and edges of each single series: by is empty then.
    limit: how many groups are kept apart, 0 for no limit; the rest is pooled in the group limits.OVERFLOW.
    rolled_from_ms: of a coarser resolution, `every_ms` of those that it is rolled up from, one from the other, the finest first.
    """

    metric: str
    where: tuple[Matcher, ...]
    by: tuple[str, ...]
    accumulator: Accumulator
    every_ms: int
    limit: int = 0
    rolled_from_ms: tuple[int, ...] = ()
    of: str = ""

    @cached_property
    def id(self) -> str:
        return _digest(self)

    @property
    def finer(self) -> "Selection | None":
        """The selection whose cells this one's are rolled up from; None where they are made of samples."""
        if not self.rolled_from_ms:
            return None
        *before, every_ms = self.rolled_from_ms
        return msgspec.structs.replace(self, every_ms=every_ms, rolled_from_ms=tuple(before))

    @property
    def sampled(self) -> "Selection":
        """What it is made of in the end: itself, or of a coarser resolution the selection whose cells are made of samples."""
        return self.finer.sampled if self.finer is not None else self

    def coarser(self, every_ms: int) -> "Selection":
        """The same in longer buckets, rolled up from this one."""
        return msgspec.structs.replace(self, every_ms=every_ms, rolled_from_ms=(*self.rolled_from_ms, self.every_ms))


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """One query as a view reads it. by: labels of the groups; each: how a series' samples are reduced first; limit: of groups, 0 for none.

    over_ms: a bucket's value is that of the merged buckets of this length that end with it, a multiple of its own; 0: of itself alone.
    """

    name: str
    selection: Selection
    by: tuple[str, ...]
    fn: str
    each: str
    limit: int = 0
    over_ms: int = 0

    @property
    def function(self) -> Function:
        found = parse_function(self.fn)
        if found is None:
            raise ValueError(f"{self.fn!r} is not a function")
        return found


class View(msgspec.Struct, frozen=True, dict=True):
    """One number per (group, bucket): a function of one query, or an expression over several."""

    inputs: tuple[Input, ...]
    expr: str | None

    @cached_property
    def id(self) -> str:
        return _digest(self)

    @property
    def every_ms(self) -> int:
        return self.inputs[0].selection.every_ms

    @property
    def by(self) -> tuple[str, ...]:
        return self.inputs[0].by

    @property
    def coarse(self) -> bool:
        """Whether it is a coarser resolution, rolled up from finer cells."""
        return self.inputs[0].selection.finer is not None

    @property
    def additive(self) -> bool:
        return any(item.function.kind in ADDITIVE for item in self.inputs)

    @property
    def over_ms(self) -> int:
        """How far before a bucket its value looks."""
        return max(item.over_ms for item in self.inputs)


class Line(msgspec.Struct, frozen=True):
    """A view as one panel shows it. query and fn name it: of an expression, query is 'expr' and fn is empty."""

    query: str
    fn: str
    view: View


class PanelPlan(msgspec.Struct, frozen=True):
    panel: Panel
    lines: tuple[Line, ...]


class Beat(msgspec.Struct):
    """What an aggregator says of itself every so often. Times in epoch ms.

    every_ms: how often; who does not say does it once a second.
    log_since: since when it has read the log without an error, None while it cannot.
    caught_up: those of its partitions of which everything is folded and stored; None: it does not say.
    """

    at: int
    log_since: int | None
    log_error: str = ""
    lag: int = 0
    partitions: list[int] = []
    caught_up: list[int] | None = None
    every_ms: int = 1_000


def plan(dashboard: Dashboard) -> tuple[PanelPlan, ...]:
    """The views that each panel shows, in the order in which they are drawn."""
    groups = _group_limits(dashboard)
    return tuple(PanelPlan(panel, _lines(panel, groups)) for panel in dashboard.panels)


def retentions(dashboard: Dashboard) -> dict[View, int]:
    """Every view of a dashboard with the longest window that shows it, in ms."""
    found: dict[View, int] = {}
    for item in plan(dashboard):
        for line in item.lines:
            found[line.view] = max(found.get(line.view, 0), item.panel.window_ms)
    return found


_Groups = dict[tuple[object, ...], int]


def _group_limits(dashboard: Dashboard) -> _Groups:
    """How many groups are shown of each query: what its longest window allows, so that panels that ask for the same share it."""
    found: _Groups = {}
    for panel in dashboard.panels:
        for query in panel.queries:
            limit = limits.fitting(panel.window_ms, query.every_ms, panel.max_groups)
            at = _asked(panel, query)
            found[at] = min(limit, found.get(at, limit))
    return found


def _asked(panel: Panel, query: Query) -> tuple[object, ...]:
    return query.metric, query.where, query.by, query.every_ms, panel.max_groups


def _lines(panel: Panel, groups: _Groups) -> tuple[Line, ...]:
    def item(name: str, query: Query, fn: str) -> Input:
        return _input(name, query, fn, groups[_asked(panel, query)] if query.by else 0)

    if panel.expr is None:
        return tuple(Line(query.id, fn, View((item("", query, fn),), None)) for query in panel.queries for fn in query.fns)
    inputs = tuple(item(query.id, query, query.fns[0]) for query in panel.queries)
    return (Line("expr", "", View(inputs, panel.expr)),)


def _input(name: str, query: Query, fn: str, limit: int) -> Input:
    accumulator, each = _accumulator(query, fn)
    single = accumulator in BY_SERIES
    of = query.of if accumulator in ("distinct", "topk") else ""
    selection = Selection(
        query.metric, query.where, () if single else query.by, accumulator, query.every_ms, 0 if single else limit, of=of
    )
    return Input(name, selection, query.by, fn, each, limit, query.over_ms)


_OF_GROUPS: Final[dict[str, Accumulator]] = {
    "rate": "increase", "increase": "increase", "first": "edges", "stddev": "variance", "distinct": "distinct", "topk": "topk",
    "quantile": "sketch",
}  # fmt: skip


def _accumulator(query: Query, fn: str) -> tuple[Accumulator, str]:
    """What a function needs, and its `each`: 'auto' is the sum of gauges by each series' last value, of others by all values."""
    function = parse_function(fn)
    kind = function.kind if function else fn
    if kind == "delta":
        return "series_edges", "delta"
    if kind == "sum" and query.each is None:
        return "series", "auto"
    if query.each in (None, "pool"):
        return _OF_GROUPS.get(kind, "moments"), "pool"
    return "series_edges" if query.each in ("first", "delta") else "series", query.each or "pool"


def _digest(item: msgspec.Struct) -> str:
    content = msgspec.json.encode([PLAN_VERSION, item], order="deterministic")
    return hashlib.blake2b(content, digest_size=8).hexdigest()
