"""Quantiles: a mergeable sketch of log buckets. Pure.

Bucket i of a positive value holds (2^((i-1)/64), 2^(i/64)], as OpenTelemetry's and Prometheus' exponential histograms of scale 6 do,
so that they can be merged without loss later. Any quantile is at most (g-1)/(g+1) = 0.55 % off, g = 2^(1/64).
A bucket's code is one integer that sorts like the values: 0 for zero, i + OFFSET for positive, the negated code of |v| for negative ones.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

SCALE: Final = 6
PER_OCTAVE: Final = 1 << SCALE
OFFSET: Final = 1 << 20  # more than any index: exponents of doubles reach 1074 * 64 = 68,736
RELATIVE_ERROR: Final = (2 ** (1 / PER_OCTAVE) - 1) / (2 ** (1 / PER_OCTAVE) + 1)

# Upper bounds of the buckets of one octave, [0.5, 1]. Looked up rather than computed by a logarithm, whose last bit
# may differ between machines and between the vector and the scalar path of one machine.
_BOUNDS: Final = np.array([2.0 ** ((k - PER_OCTAVE) / PER_OCTAVE) for k in range(PER_OCTAVE + 1)])


def codes(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The code of each value's bucket; values finite, shape (n,)."""
    mantissa, exponent = np.frexp(np.abs(values))
    index = exponent.astype(np.int64) * PER_OCTAVE + np.searchsorted(_BOUNDS, mantissa) - PER_OCTAVE
    return np.where(values == 0, 0, np.where(values > 0, index + OFFSET, -(index + OFFSET)))


def merged(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    """The sketch of both."""
    found = dict(one)
    for code, count in other.items():
        found[code] = found.get(code, 0) + count
    return found


@lru_cache(maxsize=1 << 14)
def value_of(code: int) -> float:
    """The value that stands for a bucket: the one whose relative distance to both bounds is the same."""
    if code == 0:
        return 0.0
    index = abs(code) - OFFSET
    whole, part = divmod(index, PER_OCTAVE)
    growth = 2 ** (1 / PER_OCTAVE)
    middle = float(np.ldexp(2 ** (part / PER_OCTAVE) * 2 / (1 + growth), whole))
    return middle if code > 0 else -middle


def quantile(sketch: Mapping[int, int], q: float) -> float:
    """The sample at rank floor(q * (n - 1)), counted from 0; NaN of an empty sketch."""
    if not sketch:
        return float("nan")
    rank = int(q * (sum(sketch.values()) - 1))
    seen = 0
    for code in sorted(sketch):
        seen += sketch[code]
        if seen > rank:
            return value_of(code)
    raise AssertionError("the rank is less than the count")
