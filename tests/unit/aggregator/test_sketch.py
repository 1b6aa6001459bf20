"""Sketches of log buckets: what a quantile may be off by, and that merging loses nothing."""

import math
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.sketch import OFFSET, RELATIVE_ERROR, codes, merged, quantile, value_of

normal = st.floats(-1e300, 1e300).filter(lambda value: value == 0 or abs(value) >= sys.float_info.min)
finite = st.floats(allow_nan=False, allow_infinity=False)
quantiles = st.sampled_from([0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0])


def sketch(values: list[float]) -> dict[int, int]:
    return dict(Counter(codes(np.array(values, np.float64)).tolist()))


@given(st.lists(normal, min_size=1, max_size=60), quantiles)
def test_a_quantile_is_the_exact_one_but_for_the_relative_error(values: list[float], q: float) -> None:
    exact = sorted(values)[int(q * (len(values) - 1))]
    assert abs(quantile(sketch(values), q) - exact) <= abs(exact) * RELATIVE_ERROR * (1 + 1e-9)


@pytest.mark.parametrize("value", [1.0, 2.0, 0.5, 2**-1022, 2.0**1023, 3.0, 1e-300, 1e300, sys.float_info.max])
@pytest.mark.parametrize("sign", [1, -1])
def test_powers_of_two_and_the_ends_of_the_range_are_met(value: float, sign: int) -> None:
    assert math.isclose(quantile(sketch([sign * value]), 0.5), sign * value, rel_tol=RELATIVE_ERROR * (1 + 1e-9))


@pytest.mark.parametrize("value", [5e-324, 2.5e-323, 1e-310, 2.2e-308])
def test_subnormal_numbers_are_met_as_well_as_they_can_be_written(value: float) -> None:
    assert abs(quantile(sketch([value]), 0.5) - value) <= max(value * RELATIVE_ERROR * 1.01, 5e-324)


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


@given(st.lists(finite, max_size=30), st.lists(finite, max_size=30))
def test_merging_is_the_sketch_of_both(one: list[float], other: list[float]) -> None:
    held = sketch(one)
    assert merged(held, sketch(other)) == sketch(one + other)
    assert held == sketch(one)


@given(st.lists(finite, min_size=1, max_size=40))
def test_codes_do_not_depend_on_how_many_are_computed_at_once(values: list[float]) -> None:
    assert codes(np.array(values)).tolist() == [int(codes(np.array([value]))[0]) for value in values]


def test_an_empty_sketch_has_no_quantile() -> None:
    assert math.isnan(quantile({}, 0.5))


@pytest.mark.parametrize(("q", "rank"), [(0.0, 0), (0.5, 49), (0.9, 89), (0.99, 98), (1.0, 99)])
def test_the_rank_is_counted_from_the_lowest(q: float, rank: int) -> None:
    values = [float(i + 1) for i in range(100)]
    assert math.isclose(quantile(sketch(values), q), values[rank], rel_tol=RELATIVE_ERROR * 1.01)
