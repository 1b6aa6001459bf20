"""Accumulators of items: how many different ones came, and which came most often. Pure.

What an item is, `itemlane` says; the sketches of single cells are `items`' business.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from datasketches import frequent_strings_sketch, hll_sketch

from services.aggregator import items
from services.aggregator.arena import Arena
from services.aggregator.bucketed import ByBucket
from services.aggregator.spots import Spots
from services.contract.partials import PAGE, pack_images, unpack_images

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Cell = TypeVar("Cell")


class ItemCells(ByBucket[dict[int, Cell]], Generic[Cell]):
    """A sketch of a library per cell."""

    new: ClassVar[Callable[[], Any]]
    image: ClassVar[Callable[[Any], bytes]]
    of_image: ClassVar[Callable[[bytes], Any]]

    def add(self, beside: Sequence[Any], arena: Arena, spots: Spots, groups: I64, times: I64, values: F64) -> None:
        raise TypeError("takes items, not values")

    def add_items(self, beside: Sequence[Any], spots: Spots, groups: I64, weights: I64, names: Sequence[str]) -> None:
        """As `add`, with a name and a weight of each sample; shape (n,)."""
        raise NotImplementedError

    def cell(self, bucket: int, group: int) -> Cell:
        """The cell of a group, which is about to be written."""
        cells = self._cells(bucket)
        if group not in cells:
            cells[group] = type(self).new()
        self._dirty.add((bucket, group // PAGE))
        return cells[group]

    def blobs(self, bucket: int, pages: Sequence[int]) -> list[bytes]:
        return [self._blob(self._buckets[bucket], page) for page in pages]

    def _blob(self, cells: dict[int, Cell], page: int) -> bytes:
        held = [group for group in range(page * PAGE, (page + 1) * PAGE) if group in cells]
        return pack_images({group % PAGE: type(self).image(cells[group]) for group in held})

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        cells = self._cells(bucket)
        for group in range(page * PAGE, (page + 1) * PAGE):
            cells.pop(group, None)
        for place, image in unpack_images(blob).items():
            cells[page * PAGE + place] = type(self).of_image(image)

    def put(self, bucket: int, content: Mapping[int, Cell]) -> None:
        held = self._cells(bucket)
        for group, cell in content.items():
            image = type(self).image(cell)
            if group not in held or type(self).image(held[group]) != image:
                held[group] = type(self).of_image(image)  # one of our own: what was given may be written on elsewhere
                self._dirty.add((bucket, group // PAGE))

    def _live(self, held: dict[int, Cell]) -> I64:
        return np.array(sorted(held), np.int64)

    def _kept(self, held: dict[int, Cell], groups: I64) -> dict[int, Cell]:
        return {int(np.searchsorted(groups, group)): cell for group, cell in held.items()}

    def _pages(self, held: Mapping[int, Cell]) -> Iterable[int]:
        return sorted({group // PAGE for group in held})

    def _cells(self, bucket: int) -> dict[int, Cell]:
        cells = self._buckets.get(bucket)
        return self._hold(bucket, {}) if cells is None else cells


class Distinct(ItemCells[hll_sketch]):
    """The items of each cell, each counted once."""

    new = items.new_distinct
    image = items.distinct_image
    of_image = items.distinct_of_image

    def add_items(self, beside: Sequence["Distinct"], spots: Spots, groups: I64, weights: I64, names: Sequence[str]) -> None:
        seen: set[tuple[int, int, str]] = set()
        for at in zip(spots.of.tolist(), groups.tolist(), names, strict=True):
            if at not in seen:  # a sketch passes over what it has met as well, but takes longer
                seen.add(at)
                slot, bucket = spots.at[at[0]]
                beside[slot].cell(bucket, at[1]).update(at[2])


class Top(ItemCells[frequent_strings_sketch]):
    """The items of each cell with the greatest weights."""

    new = items.new_top
    image = items.top_image
    of_image = items.top_of_image

    def add_items(self, beside: Sequence["Top"], spots: Spots, groups: I64, weights: I64, names: Sequence[str]) -> None:
        # One after the other: which item makes room for another depends on the order, and must not on how polls were cut.
        met: dict[tuple[int, int], frequent_strings_sketch] = {}
        for spot, group, weight, name in zip(spots.of.tolist(), groups.tolist(), weights.tolist(), names, strict=True):
            cell = met.get((spot, group))
            if cell is None:
                slot, bucket = spots.at[spot]
                cell = met[spot, group] = beside[slot].cell(bucket, group)
            cell.update(name, weight)
