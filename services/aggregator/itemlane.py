"""Item lanes: lanes of selections that take items, values of a label or series, and no values of samples. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from services.aggregator.asked import SelectionCells
from services.aggregator.columns import Column
from services.aggregator.itemcells import ItemCells
from services.aggregator.lanes import Lane, Samples
from services.aggregator.matching import item_name
from services.aggregator.spots import Spots
from services.contract.series import Kind

I64 = npt.NDArray[np.int64]

MAX_WEIGHT: Final = 1 << 40
"""What one delta weighs at most, so that the sum of all stays far from the end of its range."""


class ItemLane(Lane):
    """As Lane. A sample weighs one, a delta its value, as a whole number."""

    def __init__(self, cells: Sequence[SelectionCells]) -> None:
        super().__init__(cells)
        self._names: dict[tuple[int, int], str] = {}  # by series and place of the selection
        self._deltas = Column()  # by series: whether it is a delta

    def take(self, series: int, kind: int, key: bytes, labels: Mapping[str, str], targets: Sequence[tuple[int, int]]) -> None:
        super().take(series, kind, key, labels, targets)
        for slot, _ in targets:
            self._names[series, slot] = item_name(self.cells[slot].selection, kind, key, labels) or ""
        if kind == Kind.delta:
            self._deltas.put(series, 1)

    def keep(self, series: I64, known: int) -> None:
        super().keep(series, known)
        new = {number: place for place, number in enumerate(series.tolist())}
        self._names = {(new[number], slot): name for (number, slot), name in self._names.items() if number in new}
        self._deltas.keep(series)

    def _accumulate(self, spots: Spots, slots: I64, groups: I64, samples: Samples) -> None:
        names = [self._names[at] for at in zip(samples.series.tolist(), slots.tolist(), strict=True)]
        self._deltas.reach(int(samples.series.max()) + 1)
        deltas = self._deltas.at(samples.series) != 0
        weights = np.where(deltas, np.clip(np.rint(samples.values), 0, MAX_WEIGHT), 1).astype(np.int64)
        accumulators = cast("Sequence[ItemCells[object]]", self._accumulators)
        accumulators[0].add_items(accumulators, spots, groups, weights, names)


def lanes(cells: Sequence[SelectionCells]) -> list[Lane]:
    """Lanes for all of them."""
    alike: dict[tuple[str, int, int], list[SelectionCells]] = {}
    for item in cells:
        key = type(item.cells).__name__, item.selection.every_ms, item.retention_ms
        alike.setdefault(key, []).append(item)
    return [ItemLane(items) if isinstance(items[0].cells, ItemCells) else Lane(items) for items in alike.values()]
