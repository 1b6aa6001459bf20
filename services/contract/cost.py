"""What a dashboard costs in Redis once everything that it keeps is there: an estimate from measured bytes per cell. Pure.

How many groups there will be nobody knows beforehand; the estimate says which number it takes. Cells of sketch, distinct and topk grow with what is
different in them: they are taken to have 20 values, users or the like. `python -m tests.bench memory` measures the bytes.
"""

from typing import Final

import msgspec

from services.contract import limits
from services.contract.dashboards import Dashboard
from services.contract.levels import kept
from services.contract.partials import PAGE
from services.contract.views import BY_SERIES, Input, Selection

GROUPS: Final = 10
"""How many groups a query by labels is taken to have, and how many series."""
BUCKET_BYTES: Final = 195  # a bucket of a history: its field, and its place by time and by version
CELL_BYTES: Final = 20
PAGE_BYTES: Final = 40  # a page of partial cells
ROW_BYTES: Final = {
    "moments": 48, "series": 48, "edges": 40, "series_edges": 40, "variance": 32, "increase": 16, "sketch": 100, "distinct": 98, "topk": 456,
}  # fmt: skip


class Cost(msgspec.Struct, frozen=True):
    """bytes: with `groups` groups in every query by labels; most: with as many as the limits admit."""

    bytes: int
    most: int
    groups: int


def cost(dashboard: Dashboard, groups: int = GROUPS) -> Cost:
    """What its views and their selections hold. What other dashboards ask for too is counted in each."""
    return Cost(_bytes(dashboard, groups), _bytes(dashboard, None), groups)


def _bytes(dashboard: Dashboard, groups: int | None) -> int:
    total, selections = 0, dict[Selection, int]()
    for view, kept_ms in kept(dashboard).items():
        total += limits.buckets(kept_ms, view.every_ms) * (
            BUCKET_BYTES + CELL_BYTES * max(_shown(item, groups) for item in view.inputs)
        )
        for item in view.inputs:
            selections[item.selection] = max(kept_ms, selections.get(item.selection, 0))
    for selection, kept_ms in selections.items():
        held = _held(selection, groups)
        page = -(-held // PAGE) * PAGE_BYTES + held * ROW_BYTES.get(selection.accumulator, 300)
        total += limits.buckets(kept_ms, selection.every_ms) * page
    return total


def _shown(item: Input, groups: int | None) -> int:
    if not item.by:
        return 1
    return (item.limit or item.selection.limit or limits.DEFAULT_GROUPS) if groups is None else groups


def _held(selection: Selection, groups: int | None) -> int:
    """Cells per bucket in all partitions."""
    if selection.accumulator in BY_SERIES:
        return limits.DEFAULT_GROUPS if groups is None else groups
    if not selection.by:
        return 4 if groups is None else 1
    return (selection.limit or limits.DEFAULT_GROUPS) if groups is None else groups
