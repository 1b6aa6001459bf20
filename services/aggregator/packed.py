"""Packed: cells of a coarse resolution, held page by page as they are stored. Pure.

They are written seldom and whole, and there are many buckets of few groups each; so they are unpacked only when they are looked at.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.aggregator.accumulators import accumulator
from services.aggregator.bucketed import Accumulator, PageAt
from services.aggregator.pooling import groups_in
from services.contract.views import Selection

I64 = npt.NDArray[np.int64]


class Packed:
    """An Accumulator that takes no samples. name: of the accumulator whose cells it holds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._buckets: dict[int, dict[int, bytes]] = {}
        self._dirty: set[PageAt] = set()

    @property
    def dirty(self) -> set[PageAt]:
        return self._dirty

    def add(self, *_: Any) -> None:
        raise TypeError("coarse cells are rolled up from finer ones, and take no samples")

    def blobs(self, bucket: int, pages: Sequence[int]) -> list[bytes]:
        return [self._buckets[bucket][page] for page in pages]

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        self._buckets.setdefault(bucket, {})[page] = blob

    def content(self, bucket: int) -> Any:
        pages = self._buckets.get(bucket)
        return None if pages is None else self._unpacked(bucket, pages).content(bucket)

    def put(self, bucket: int, content: Any) -> None:
        loose = accumulator(self._name)
        loose.put(bucket, content)
        pages = [page for _, page in loose.pages()]
        for page, blob in zip(pages, loose.blobs(bucket, pages), strict=True):
            self._replace(bucket, page, blob)

    def refill(self, bucket: int, page: int, blob: bytes) -> None:
        """Hold a stored page again that is held no longer."""
        self._buckets.setdefault(bucket, {}).setdefault(page, blob)

    def forget(self, before: int) -> list[PageAt]:
        gone = [(bucket, page) for bucket, pages in self._buckets.items() if bucket < before for page in pages]
        for bucket in {bucket for bucket, _ in gone}:
            del self._buckets[bucket]
        self._dirty.difference_update(gone)
        return gone

    def release(self, before: int) -> None:
        """Hold buckets that start before this epoch ms no longer: they are stored, and will not change any more."""
        unstored = {bucket for bucket, _ in self._dirty}
        for bucket in [bucket for bucket in self._buckets if bucket < before and bucket not in unstored]:
            del self._buckets[bucket]

    def pages(self) -> Iterator[PageAt]:
        for bucket, pages in self._buckets.items():
            for page in pages:
                yield bucket, page

    def live(self) -> I64:
        found = [groups_in(self.content(bucket)) for bucket in self._buckets]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def keep(self, groups: I64) -> None:
        for bucket, pages in self._buckets.items():
            loose = self._unpacked(bucket, pages)
            loose.keep(groups)
            left = [page for _, page in loose.pages()]
            self._buckets[bucket] = dict(zip(left, loose.blobs(bucket, left), strict=True))
        self._dirty = set(self.pages())

    def _replace(self, bucket: int, page: int, blob: bytes) -> None:
        held = self._buckets.setdefault(bucket, {})
        if held.get(page) != blob:
            held[page] = blob
            self._dirty.add((bucket, page))

    def _unpacked(self, bucket: int, pages: dict[int, bytes]) -> Accumulator:
        loose = accumulator(self._name)
        for page, blob in sorted(pages.items()):
            loose.load(bucket, page, blob)
        return loose


def cells_of(selection: Selection) -> Accumulator:
    """What holds the cells of a selection."""
    return accumulator(selection.accumulator) if selection.finer is None else Packed(selection.accumulator)


def pages_between(first: int, last: int, every_ms: int, groups: int, page_size: int) -> Sequence[PageAt]:
    """Every page that buckets from `first` on and before `last` (epoch ms) can have with so many groups."""
    begin = -(-first // every_ms) * every_ms
    return [(bucket, page) for bucket in range(begin, last, every_ms) for page in range(-(-groups // page_size))]
