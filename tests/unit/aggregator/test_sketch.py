"""Sketches of log buckets: what a quantile may be off by, and that merging loses nothing."""

import bisect
import math
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.sketch import (
    NOTHING,
    OFFSET,
    RELATIVE_ERROR,
    Bins,
    codes,
    codes_of,
    keys,
    merged,
    pooled,
    quantiles,
    regrouped,
    values_of,
)

normal = st.floats(-1e300, 1e300).filter(lambda value: value == 0 or abs(value) >= sys.float_info.min)
finite = st.floats(allow_nan=False, allow_infinity=False)
ranks = st.sampled_from([1, 29_000, 50_000, 75_000, 99_000, 99_900, 99_999])


def sketch(values: list[float], group: int = 0) -> Bins:
    found = sorted(Counter(codes(np.array(values, np.float64)).tolist()).items())
    numbers = np.array([code for code, _ in found], np.int64)
    return Bins(keys(np.full(len(found), group), numbers), np.array([count for _, count in found], np.int64))


def listed(bins: Bins) -> list[tuple[int, int]]:
    return list(zip(bins.keys.tolist(), bins.counts.tolist(), strict=True))


def quantile(bins: Bins, q: int) -> float:
    _, values = quantiles(bins, q)
    return float(values[0])


def value_of(code: int) -> float:
    return float(values_of(np.array([code]))[0])


@given(st.lists(normal, min_size=1, max_size=60), ranks)
def test_a_quantile_is_the_exact_one_but_for_the_relative_error(values: list[float], q: int) -> None:
    exact = sorted(values)[q * (len(values) - 1) // 100_000]
    assert abs(quantile(sketch(values), q) - exact) <= abs(exact) * RELATIVE_ERROR * (1 + 1e-9)


@pytest.mark.parametrize("value", [1.0, 2.0, 0.5, 2**-1022, 2.0**1023, 3.0, 1e-300, 1e300, sys.float_info.max])
@pytest.mark.parametrize("sign", [1, -1])
def test_powers_of_two_and_the_ends_of_the_range_are_met(value: float, sign: int) -> None:
    assert math.isclose(quantile(sketch([sign * value]), 50_000), sign * value, rel_tol=RELATIVE_ERROR * (1 + 1e-9))


@pytest.mark.parametrize("value", [5e-324, 2.5e-323, 1e-310, 2.2e-308])
def test_subnormal_numbers_are_met_as_well_as_they_can_be_written(value: float) -> None:
    assert abs(quantile(sketch([value]), 50_000) - value) <= max(value * RELATIVE_ERROR * 1.01, 5e-324)


def test_zero_is_exact_and_has_no_sign() -> None:
    assert codes(np.array([0.0, -0.0])).tolist() == [0, 0]
    assert value_of(0) == 0.0


@given(st.lists(finite, min_size=2, max_size=40))
def test_codes_sort_like_values(values: list[float]) -> None:
    in_order = codes(np.sort(np.array(values))).tolist()
    assert in_order == sorted(in_order)


@given(finite)
def test_a_value_and_its_negative_have_opposite_codes(value: float) -> None:
    one, other = codes(np.array([value, -value])).tolist()
    assert one == -other
    assert (one > 0, one == 0) == (value > 0, value == 0)


@given(finite)
def test_the_value_of_a_code_lies_in_its_bucket(value: float) -> None:
    code = int(codes(np.array([value]))[0])
    if abs(value) >= sys.float_info.min and abs(value) < sys.float_info.max / 2:
        assert int(codes(np.array([value_of(code)]))[0]) == code
    assert abs(code) < 2 * OFFSET


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(finite, max_size=30)), min_size=2, max_size=5))
def test_merging_and_pooling_are_the_sketch_of_all(parts: list[tuple[int, list[float]]]) -> None:
    sketches = [sketch(values, group) for group, values in parts]
    expected = Counter(
        key
        for group, values in parts
        for key in keys(np.full(len(values), group), codes(np.array(values, np.float64))).tolist()
    )
    before = [listed(one) for one in sketches]
    assert listed(pooled(sketches)) == sorted(expected.items())
    held = NOTHING
    for one in sketches:
        held = merged(held, one)
    assert listed(held) == sorted(expected.items())
    assert [listed(one) for one in sketches] == before


@given(st.lists(st.lists(finite, max_size=9), min_size=1, max_size=6), st.data())
def test_groups_of_a_sketch_can_be_numbered_otherwise(groups: list[list[float]], data: st.DataObject) -> None:
    bins = pooled([sketch(values, group) for group, values in enumerate(groups)])
    numbers = data.draw(st.permutations(range(len(groups))))
    expected = pooled([sketch(values, numbers[group]) for group, values in enumerate(groups)])
    assert listed(regrouped(bins, np.array(numbers))) == listed(expected)


@given(st.lists(st.lists(finite, max_size=9), min_size=1, max_size=6), ranks)
def test_quantiles_of_many_groups_are_those_of_each(groups: list[list[float]], q: int) -> None:
    found, values = quantiles(pooled([sketch(values, group) for group, values in enumerate(groups)]), q)
    assert found.tolist() == [group for group, held in enumerate(groups) if held]
    assert values.tolist() == [quantile(sketch(held), q) for held in groups if held]


@given(st.integers(0, 2**24 - 1), finite)
def test_keys_hold_group_and_code(group: int, value: float) -> None:
    code = codes(np.array([value]))
    assert codes_of(keys(np.array([group]), code)).tolist() == code.tolist()


@given(finite)
def test_codes_are_found_as_a_search_among_the_bounds_finds_them(value: float) -> None:
    bounds = [2.0 ** ((k - 64) / 64) for k in range(65)]
    mantissa, exponent = math.frexp(abs(value))
    index = exponent * 64 + bisect.bisect_left(bounds, mantissa) - 64
    expected = 0 if value == 0 else index + OFFSET if value > 0 else -(index + OFFSET)
    assert codes(np.array([value])).tolist() == [expected]


@pytest.mark.parametrize("k", range(65))
def test_a_bound_and_its_neighbours_fall_on_the_right_sides(k: int) -> None:
    bound = 2.0 ** ((k - 64) / 64)
    at, below, above = codes(np.array([bound, math.nextafter(bound, 0), math.nextafter(bound, 2)])).tolist()
    assert (below - at, above - at) == (0, 1)


@given(st.lists(finite, min_size=1, max_size=40))
def test_codes_do_not_depend_on_how_many_are_computed_at_once(values: list[float]) -> None:
    assert codes(np.array(values)).tolist() == [int(codes(np.array([value]))[0]) for value in values]


def test_an_empty_sketch_has_no_quantile() -> None:
    groups, values = quantiles(NOTHING, 50_000)
    assert (len(groups), len(values)) == (0, 0)


@pytest.mark.parametrize(("q", "rank"), [(1, 0), (50_000, 49), (90_000, 89), (99_000, 98), (99_999, 98)])
def test_the_rank_is_counted_from_the_lowest(q: int, rank: int) -> None:
    values = [float(i + 1) for i in range(100)]
    assert math.isclose(quantile(sketch(values), q), values[rank], rel_tol=RELATIVE_ERROR * 1.01)
