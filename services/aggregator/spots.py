"""Spots: which samples of many fall into the same bucket of the same selection. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spots:
    """of: the spot of each sample, shape (n,). at: by spot, the place of its selection in the lane and the start of its bucket (epoch ms)."""

    of: I64
    at: list[tuple[int, int]]


def spots(slots: I64, buckets: I64, every_ms: int) -> Spots:
    """slots: by sample, the place of its selection in the lane; buckets: by sample, the number of its bucket since 1970. Both of shape (n,), n > 0."""
    first = int(buckets.min())
    width = int(slots.max()) + 1
    span = (int(buckets.max()) - first + 1) * width
    codes = (buckets - first) * width + slots
    if span <= 4 * len(codes) + 4_096:
        there = np.zeros(span, np.bool_)
        there[codes] = True
        found = np.flatnonzero(there)
        numbers = np.empty(span, np.int64)
        numbers[found] = np.arange(len(found))
        of = numbers[codes]
    else:
        found, of = np.unique(codes, return_inverse=True)
    later, slot = np.divmod(found, width)
    return Spots(of, list(zip(slot.tolist(), ((later + first) * every_ms).tolist(), strict=True)))
