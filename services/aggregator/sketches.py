"""Sketches: an accumulator whose cells are sketches of log buckets (`sketch`). Pure.

All sketches of one bucket of time are one sorted column of keys, group and code in one number, beside a column of counts. Samples are
sorted and counted as they come; what came between two looks is merged in at the second one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.aggregator import sketch
from services.aggregator.arena import Arena
from services.aggregator.bucketed import ByBucket
from services.aggregator.sketch import CODE_BITS, NOTHING, Bins
from services.aggregator.spots import Spots
from services.contract.partials import PAGE, pack_bins, unpack_bins

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

GROUP_BITS: Final = 24
MAX_SPOTS: Final = 1 << (63 - GROUP_BITS - CODE_BITS)
_PAGE_BITS: Final = PAGE.bit_length() - 1
_KEY_BITS: Final = GROUP_BITS + CODE_BITS
_PAGE_KEYS: Final = PAGE << CODE_BITS
_SPOT_PAGE_BITS: Final = GROUP_BITS - _PAGE_BITS
"""Of the number of a page within a spot."""


@dataclass(slots=True)
class Held:
    """The sketches of a bucket. runs: what came since they were looked at; pages: what was loaded since then, instead of what is held of them."""

    bins: Bins = NOTHING
    runs: list[Bins] = field(default_factory=list)
    pages: dict[int, Bins] = field(default_factory=dict)

    def settle(self) -> Bins:
        """All of it."""
        if self.pages:
            self.bins = _replaced(self.bins, self.pages)
            self.pages = {}
        if self.runs:
            self.bins = sketch.merged(self.bins, sketch.pooled(self.runs))
            self.runs = []
        return self.bins


class Sketches(ByBucket[Held]):
    """A sketch per cell."""

    def add(self, beside: Sequence["Sketches"], arena: Arena, spots: Spots, groups: I64, times: I64, values: F64) -> None:
        for low in range(0, len(spots.at), MAX_SPOTS):
            at = spots.at[low : low + MAX_SPOTS]
            mine = slice(None) if len(at) == len(spots.at) else np.flatnonzero((spots.of >= low) & (spots.of < low + len(at)))
            keys = (spots.of[mine] - low) << _KEY_BITS | sketch.keys(groups[mine], sketch.codes(values[mine]))
            self._add_sorted(beside, at, np.sort(keys))

    def blobs(self, bucket: int, pages: Sequence[int]) -> list[bytes]:
        bins = self._buckets[bucket].settle()
        begins = np.searchsorted(bins.keys, np.array(pages) * _PAGE_KEYS).tolist()
        ends = np.searchsorted(bins.keys, (np.array(pages) + 1) * _PAGE_KEYS).tolist()
        keys = (bins.keys % _PAGE_KEYS).astype(np.uint32)
        return [pack_bins(keys[a:b], bins.counts[a:b]) for a, b in zip(begins, ends, strict=True)]

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        keys, counts = unpack_bins(blob)
        held = self.held(bucket)
        if held.runs:
            held.settle()
        held.pages[page] = Bins(keys + page * _PAGE_KEYS, counts)

    def put(self, bucket: int, content: Any) -> None:
        bins: Bins = content
        held = self.held(bucket)
        before, held.bins = held.settle(), bins
        self.dirty.update((bucket, page) for page in _differing(before, bins))

    def content(self, bucket: int) -> Bins | None:
        held = self._buckets.get(bucket)
        return None if held is None else held.settle()

    @staticmethod
    def _add_sorted(beside: Sequence["Sketches"], at: Sequence[tuple[int, int]], keys: I64) -> None:
        """keys: spot, group and code in one number, ascending."""
        first = sketch.firsts(keys)
        counts = np.diff(first, append=len(keys))
        keys = keys[first]
        pages = keys >> (CODE_BITS + _PAGE_BITS)
        pages = pages[sketch.firsts(pages)]
        spots = np.arange(1, len(at))
        ends = [*np.searchsorted(keys, spots << _KEY_BITS).tolist(), len(keys)]
        page_ends = [*np.searchsorted(pages, spots << _SPOT_PAGE_BITS).tolist(), len(pages)]
        keys &= (1 << _KEY_BITS) - 1
        numbers = (pages & ((1 << _SPOT_PAGE_BITS) - 1)).tolist()
        begin = page_begin = 0
        for (slot, bucket), end, page_end in zip(at, ends, page_ends, strict=True):
            beside[slot].held(bucket).runs.append(Bins(keys[begin:end], counts[begin:end]))
            beside[slot].dirty.update(zip(repeat(bucket), numbers[page_begin:page_end]))
            begin, page_begin = end, page_end

    def _live(self, held: Held) -> I64:
        return np.unique(held.settle().keys >> CODE_BITS)

    def _kept(self, held: Held, groups: I64) -> Held:
        places = np.zeros(int(groups[-1]) + 1 if len(groups) else 0, np.int64)
        places[groups] = np.arange(len(groups))
        return Held(sketch.regrouped(held.settle(), places))

    def _pages(self, held: Held) -> Iterable[int]:
        return _pages_of(held.settle().keys)

    def held(self, bucket: int) -> Held:
        """What a bucket holds, nothing at first."""
        held = self._buckets.get(bucket)
        return self._hold(bucket, Held()) if held is None else held


def _differing(old: Bins, new: Bins) -> list[int]:
    """The pages that are not the same."""
    if not len(old.keys):
        return _pages_of(new.keys)
    at = np.minimum(np.searchsorted(old.keys, new.keys), len(old.keys) - 1)
    known = old.keys[at] == new.keys
    gone = np.ones(len(old.keys), np.bool_)
    gone[at[known]] = False
    other = np.concatenate((new.keys[~known | (old.counts[at] != new.counts)], old.keys[gone]))
    return _pages_of(other)


def _pages_of(keys: I64) -> list[int]:
    pages: list[int] = np.flatnonzero(np.bincount(keys // _PAGE_KEYS)).tolist()
    return pages


def _replaced(bins: Bins, pages: Mapping[int, Bins]) -> Bins:
    """The same with other pages."""
    if not len(bins.keys) and len(pages) == 1:
        return next(iter(pages.values()))
    order = sorted(pages)
    begins = np.searchsorted(bins.keys, np.array(order) * _PAGE_KEYS).tolist()
    ends = np.searchsorted(bins.keys, (np.array(order) + 1) * _PAGE_KEYS).tolist()
    keys: list[I64] = []
    counts: list[I64] = []
    at = 0
    for page, begin, end in zip(order, begins, ends, strict=True):
        keys += (bins.keys[at:begin], pages[page].keys)
        counts += (bins.counts[at:begin], pages[page].counts)
        at = end
    return Bins(np.concatenate((*keys, bins.keys[at:])), np.concatenate((*counts, bins.counts[at:])))
