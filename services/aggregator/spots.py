"""Spots: which samples of many fall into the same bucket of the same selection, and how new they are. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
_NEVER: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Spots:
    """of: the spot of each sample, shape (n,). at: by spot, the place of its selection in the lane and the start of its bucket (epoch ms).

    newest: by spot, the latest time of its samples, epoch ms.
    """

    of: I64
    at: list[tuple[int, int]]
    newest: list[int]


def spots(slots: I64, buckets: I64, times: I64, every_ms: int) -> Spots:
    """slots: by sample, the place of its selection in the lane; buckets: by sample, the number of its bucket since 1970; times: epoch ms.

    All of shape (n,), n > 0.
    """
    first = int(buckets.min())
    width = int(slots.max()) + 1
    span = (int(buckets.max()) - first + 1) * width
    codes = (buckets - first) * width + slots
    if span <= 4 * len(codes) + 4_096:
        latest = np.full(span, _NEVER)
        np.maximum.at(latest, codes, times)
        found = np.flatnonzero(latest != _NEVER)
        numbers = np.empty(span, np.int64)
        numbers[found] = np.arange(len(found))
        of, newest = numbers[codes], latest[found]
    else:
        found, of = np.unique(codes, return_inverse=True)
        newest = np.full(len(found), _NEVER)
        np.maximum.at(newest, of, times)
    later, slot = np.divmod(found, width)
    at = list(zip(slot.tolist(), ((later + first) * every_ms).tolist(), strict=True))
    return Spots(of, at, newest.tolist())
