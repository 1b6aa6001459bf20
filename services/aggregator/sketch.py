"""Quantiles: a mergeable sketch of log buckets. Pure.

Bucket i of a positive value holds (2^((i-1)/64), 2^(i/64)], as OpenTelemetry's and Prometheus' exponential histograms of scale 6 do,
so that they can be merged without loss later. Any quantile is at most (g-1)/(g+1) = 0.55 % off, g = 2^(1/64).
A bucket's code is one integer that sorts like the values: 0 for zero, i + OFFSET for positive, the negated code of |v| for negative ones.
Group and code in one number are a key, so that the sketches of all groups are two columns and what is done to one is done to all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.contract.functions import WHOLE

SCALE: Final = 6
PER_OCTAVE: Final = 1 << SCALE
OFFSET: Final = 1 << 20  # more than any index: exponents of doubles reach 1074 * 64 = 68,736
RELATIVE_ERROR: Final = (2 ** (1 / PER_OCTAVE) - 1) / (2 ** (1 / PER_OCTAVE) + 1)

# Upper bounds of the buckets of one octave, [0.5, 1]. Looked up rather than computed by a logarithm, whose last bit
# may differ between machines and between the vector and the scalar path of one machine.
_BOUNDS: Final = np.array([2.0 ** ((k - PER_OCTAVE) / PER_OCTAVE) for k in range(PER_OCTAVE + 1)])
# An octave in parts so small that none holds two bounds: how many bounds lie before each part.
_PARTS: Final = 2 * PER_OCTAVE
_BEFORE: Final = np.searchsorted(_BOUNDS, 0.5 + np.arange(_PARTS) / (2 * _PARTS))
_GROWTH: Final = 2 ** (1 / PER_OCTAVE)
# The values that stand for the buckets of one octave: their relative distance to both bounds is the same.
_MIDDLES: Final = np.array([2 ** (part / PER_OCTAVE) * 2 / (1 + _GROWTH) for part in range(PER_OCTAVE)])

CODE_BITS: Final = 22
_SHIFT: Final = 1 << (CODE_BITS - 1)  # makes codes positive

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bins:
    """Sketches of several groups: keys, ascending, none twice, and how many samples fell into each; both of shape (n,)."""

    keys: I64
    counts: I64


NOTHING: Final = Bins(np.zeros(0, np.int64), np.zeros(0, np.int64))


def codes(values: F64) -> I64:
    """The code of each value's bucket; values finite, shape (n,)."""
    mantissa, exponent = np.frexp(np.abs(values))
    before = _BEFORE[(mantissa * (2 * _PARTS)).astype(np.int64) - _PARTS]
    # Its place among the bounds, as np.searchsorted finds it. Of zero, which has no mantissa, any.
    index = exponent.astype(np.int64) * PER_OCTAVE + before + (mantissa > _BOUNDS[before]) - PER_OCTAVE
    return np.where(values == 0, 0, np.where(values > 0, index + OFFSET, -(index + OFFSET)))


def keys(groups: I64, codes: I64) -> I64:
    """One number of each group and code, that sorts by group and then by code."""
    return groups << CODE_BITS | (codes + _SHIFT)


def codes_of(keys: I64) -> I64:
    return (keys & ((1 << CODE_BITS) - 1)) - _SHIFT


def firsts(keys: I64) -> I64:
    """The places at which another number begins, of ascending ones; shape (n,)."""
    new = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return np.flatnonzero(new)


def pooled(parts: Sequence[Bins]) -> Bins:
    """The sketches of all, which may have keys in common."""
    if len(parts) == 1:
        return parts[0]
    both = np.concatenate([part.keys for part in parts])
    if (both[1:] > both[:-1]).all():  # the groups of one part come after those of the other
        return Bins(both, np.concatenate([part.counts for part in parts]))
    order = np.argsort(both, kind="stable")  # parts are in order already, which this makes use of
    both = both[order]
    first = firsts(both)
    counts = np.concatenate([part.counts for part in parts])[order]
    return Bins(both[first], np.add.reduceat(counts, first) if len(first) else counts)


def merged(one: Bins, other: Bins) -> Bins:
    """The sketches of both; quick where the second is small."""
    if not len(one.keys):
        return other
    at = np.searchsorted(one.keys, other.keys)
    known = one.keys[np.minimum(at, len(one.keys) - 1)] == other.keys
    counts = one.counts.copy()
    counts[at[known]] += other.counts[known]
    if known.all():
        return Bins(one.keys, counts)
    new = np.flatnonzero(~known)
    places = at[new] + np.arange(len(new))
    old = np.ones(len(counts) + len(new), np.bool_)
    old[places] = False
    return Bins(_woven(old, one.keys, places, other.keys[new]), _woven(old, counts, places, other.counts[new]))


def _woven(old: npt.NDArray[np.bool_], one: I64, places: I64, other: I64) -> I64:
    """One column where `old` says, the other at these places. np.insert does it in ten times the time for few numbers."""
    found = np.empty(len(old), np.int64)
    found[old] = one
    found[places] = other
    return found


def regrouped(bins: Bins, groups: I64) -> Bins:
    """The same sketches where group i is groups[i]; several may become one."""
    if (groups == np.arange(len(groups))).all():
        return bins
    numbers = groups[bins.keys >> CODE_BITS]
    keys = numbers << CODE_BITS | bins.keys & ((1 << CODE_BITS) - 1)
    if not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys)
        keys, counts = keys[order], bins.counts[order]
        first = firsts(keys)
        return Bins(keys[first], np.add.reduceat(counts, first))
    return Bins(keys, bins.counts)


def values_of(codes: I64) -> F64:
    """The value that stands for each bucket."""
    whole, part = np.divmod(np.abs(codes) - OFFSET, PER_OCTAVE)
    middles = np.ldexp(_MIDDLES[part], whole)
    return np.where(codes == 0, 0.0, np.where(codes > 0, middles, -middles))


def quantiles(bins: Bins, number: int) -> tuple[I64, F64]:
    """(groups, ascending; of each the sample at rank floor(number * (n - 1) / WHOLE), counted from 0). number: as functions.Function has it."""
    group = bins.keys >> CODE_BITS
    first = firsts(group)
    seen = np.cumsum(bins.counts)
    total = np.diff(seen[np.append(first[1:], len(seen)) - 1] if len(first) else seen, prepend=0)
    rank = number * (total - 1) // WHOLE
    at = np.searchsorted(seen, seen[first] - bins.counts[first] + rank, side="right")
    return group[first], values_of(codes_of(bins.keys[at]))
