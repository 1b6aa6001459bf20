"""Pooling: the cells of several parts as one. Pure.

Parts are partitions, the buckets of a sliding window, or the fine buckets under a coarse one. They are gone through in their order, so
that the same parts give the same bits, whoever pools them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from services.aggregator import items, sketch
from services.aggregator.rows import LAYOUTS, Layout
from services.aggregator.sketch import CODE_BITS, NOTHING, Bins
from services.contract.partials import Rows

I64 = npt.NDArray[np.int64]
Cell = TypeVar("Cell")

_MERGED: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {"distinct": items.merged_distinct, "topk": items.merged_top}


def pool(name: str, parts: Sequence[tuple[Any, I64]], size: int = 0) -> Any:
    """What several parts hold as one, by groups: rows, or of 'sketch' bins, or of 'distinct' and 'topk' cells by group.

    name: of the accumulator; parts: what its `content` gave, and the place that each of its groups takes (several may take the same);
    size: least number of rows. A cell that only one part has may be that part's own: to be read only.
    """
    if (layout := LAYOUTS.get(name)) is not None:
        return _pool_rows(layout, parts, size)
    return _pool_bins(parts) if name == "sketch" else _pool_cells(_MERGED[name], parts)


def groups_in(content: Any) -> I64:
    """The groups that hold something in what `content` gave, ascending."""
    match content:
        case Bins():
            return np.unique(content.keys >> CODE_BITS)
        case dict():
            return np.array(sorted(content), np.int64)
    return np.flatnonzero(content["count"])


def _pool_rows(layout: Layout, parts: Sequence[tuple[Rows, I64]], size: int = 0) -> Rows:
    out = layout.rows(max([size, *(int(places.max()) + 1 for _, places in parts if len(places))]))
    for rows, places in parts:
        mine = rows[: len(places)]
        held = np.flatnonzero(mine["count"])
        at = places[held]
        if layout.copies and not out["count"][at].any() and (at[1:] > at[:-1]).all():
            out[at] = mine[held]
        else:
            layout.merge(out, at, mine[held])
    return out


def _pool_bins(parts: Sequence[tuple[Bins, I64]]) -> Bins:
    found = [sketch.regrouped(bins, places) for bins, places in parts if len(bins.keys)]
    return sketch.pooled(found) if found else NOTHING


def _pool_cells(merged: Callable[[Sequence[Cell]], Cell], parts: Sequence[tuple[Mapping[int, Cell], I64]]) -> dict[int, Cell]:
    found: dict[int, list[Cell]] = {}
    for cells, places in parts:
        for group in sorted(cells):
            found.setdefault(int(places[group]), []).append(cells[group])
    return {group: cells[0] if len(cells) == 1 else merged(cells) for group, cells in found.items()}
