"""Admission: which groups are shown apart when the groups of all partitions are put together. Pure.

Every partition lists its groups in the order of its log, and keeps as many apart as are allowed. Together they may be more: then the first ones
by place in their partition's list, of equal places the one of the earlier partition, are shown, and the rest is pooled in the overflow group.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

NO_PLACE: Final = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class Admitted:
    """shown: by group the group that it is shown in, None where each is shown apart. pooled: groups that are not."""

    shown: I64 | None = None
    pooled: I64 = field(default_factory=lambda: np.zeros(0, np.int64))

    def same(self, other: "Admitted") -> bool:
        return np.array_equal(self.pooled, other.pooled)


def ranks(places: Sequence[I64], size: int) -> I64:
    """By group its rank, NO_PLACE of one that no partition lists any more. places: by partition, the group at each place of its list."""
    found = np.full(size, NO_PLACE)
    for number, place in enumerate(places):
        np.minimum.at(found, place, np.arange(len(place)) * len(places) + number)
    return found


def admit(rank: I64, limit: int, overflow: int) -> Admitted:
    """limit: of groups, 0 for none; overflow: the number of the overflow group, which may be len(rank)."""
    candidates = np.flatnonzero(rank != NO_PLACE)
    candidates = candidates[candidates != overflow]
    if not limit or len(candidates) <= limit:
        return Admitted()
    pooled = np.sort(candidates[np.argsort(rank[candidates], kind="stable")][limit:])
    shown = np.arange(max(len(rank), overflow + 1))
    shown[pooled] = overflow
    return Admitted(shown, pooled)


def partial(places: Sequence[I64], size: int, overflow: int) -> int:
    """How many groups may lack samples: some partition has pooled groups and does not list this one. None where no group is in two partitions."""
    listed = np.zeros((len(places), max(size, overflow + 1)), bool)
    for number, place in enumerate(places):
        listed[number, place] = True
    pooling = listed[:, overflow].copy()
    listed[:, overflow] = False
    if not pooling.any() or not (listed.sum(axis=0) > 1).any():
        return 0
    return int((listed.any(axis=0) & ~listed[pooling].all(axis=0)).sum())
