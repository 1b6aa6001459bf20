"""Bucketed: what accumulators have in common: something held per bucket of time, and pages that changed. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from services.aggregator.arena import Arena
from services.aggregator.spots import Spots

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
PageAt = tuple[int, int]  # bucket start, page

Held = TypeVar("Held")

_LAST: Final = int(np.iinfo(np.int64).max)


class Accumulator(Protocol):
    @property
    def dirty(self) -> set[PageAt]:
        """The pages that changed since this set was cleared."""

    def add(self, beside: Sequence[Any], arena: Arena, spots: Spots, groups: I64, times: I64, values: F64) -> None:
        """Add samples in log order, all of shape (n,), to accumulators of this class, of which this is one; a spot's place is that in `beside`."""

    def blobs(self, bucket: int, pages: Sequence[int]) -> list[bytes]:
        """Pages of a bucket as they are stored."""

    def load(self, bucket: int, page: int, blob: bytes) -> None:
        """Take over a stored page."""

    def content(self, bucket: int) -> Any:
        """What a bucket holds, by group and to be read only, as `pooling.pool` takes it; None where it holds nothing."""

    def put(self, bucket: int, content: Any) -> None:
        """Let a bucket hold this, as `pooling.pool` gives it, instead of what it holds. Pages that differ count as changed; no group may be
        lost. This is how a coarse bucket is rolled up."""

    def forget(self, before: int) -> list[PageAt]:
        """Drop buckets that start before this epoch ms; the pages that they had."""

    def pages(self) -> Iterator[PageAt]:
        """Every page that holds something."""

    def live(self) -> I64:
        """The groups that hold something in some bucket, ascending."""

    def keep(self, groups: I64) -> None:
        """Keep these groups, which are ascending and all that hold something; groups[i] becomes i. Every page counts as changed."""


class ByBucket(Generic[Held]):
    """Something held per bucket."""

    def __init__(self) -> None:
        self._dirty: set[PageAt] = set()
        self._buckets: dict[int, Held] = {}
        self._oldest = _LAST  # no bucket starts before it

    @property
    def dirty(self) -> set[PageAt]:
        return self._dirty

    def content(self, bucket: int) -> Any:
        return self._buckets.get(bucket)

    def forget(self, before: int) -> list[PageAt]:
        if before <= self._oldest:
            return []
        gone = [at for at in self.pages() if at[0] < before]
        for bucket in [bucket for bucket in self._buckets if bucket < before]:
            self._drop(bucket)
        self._oldest = min(self._buckets, default=_LAST)
        self.dirty.difference_update(gone)
        return gone

    def pages(self) -> Iterator[PageAt]:
        for bucket, held in self._buckets.items():
            for page in self._pages(held):
                yield bucket, page

    def live(self) -> I64:
        found = [groups for held in self._buckets.values() if len(groups := self._live(held))]
        live = np.zeros(max((int(groups[-1]) + 1 for groups in found), default=0), bool)
        for groups in found:
            live[groups] = True
        return np.flatnonzero(live)

    def keep(self, groups: I64) -> None:
        kept = {bucket: self._kept(held, groups) for bucket, held in self._buckets.items()}
        for bucket, held in kept.items():
            self._drop(bucket)
            self._hold(bucket, held)
        self.dirty.clear()
        self.dirty.update(self.pages())

    def _pages(self, held: Held) -> Iterable[int]:
        raise NotImplementedError

    def _live(self, held: Held) -> I64:
        raise NotImplementedError

    def _kept(self, held: Held, groups: I64) -> Held:
        raise NotImplementedError

    def _hold(self, bucket: int, held: Held) -> Held:
        self._buckets[bucket] = held
        self._oldest = min(self._oldest, bucket)
        return held

    def _drop(self, bucket: int) -> None:
        del self._buckets[bucket]
