"""Items: how far off numbers of different ones and weights may be, and that what is stored does not depend on how it came about."""

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from datasketches import frequent_strings_sketch, hll_sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator.items import (
    COUNTERS,
    DISTINCT_ERROR,
    TOP_ERROR,
    distinct_image,
    distinct_of_image,
    distinct_value,
    merged_distinct,
    merged_top,
    new_distinct,
    new_top,
    top_image,
    top_of_image,
    top_values,
)

Weighted = tuple[str, int]
names = st.integers(0, 3_000).map(str) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
weighted = st.lists(st.tuples(names, st.integers(0, 50)), max_size=60)


def distinct(items: Sequence[str]) -> hll_sketch:
    cell = new_distinct()
    for item in items:
        cell.update(item)
    return cell


def top(items: Sequence[Weighted]) -> frequent_strings_sketch:
    cell = new_top()
    for item, weight in items:
        cell.update(item, weight)
    return cell


def skewed(chance: random.Random, n: int, kinds: int) -> list[Weighted]:
    """Few items often, many seldom."""
    return [(str(int(kinds ** chance.random())), chance.randrange(1, 4)) for _ in range(n)]


@pytest.mark.parametrize("n", [0, 1, 9, 100, 384])
def test_few_different_items_are_counted_exactly(n: int) -> None:
    assert distinct_value(distinct([str(i) for i in range(n)] * 2)) == n


@pytest.mark.parametrize("n", [1_000, 10_000, 100_000])
def test_many_different_items_are_counted_within_the_error_that_is_told(n: int) -> None:
    errors = [distinct_value(distinct([f"{turn} {i}" for i in range(n)])) / n - 1 for turn in range(12)]
    assert math.sqrt(sum(error * error for error in errors) / len(errors)) < 1.6 * DISTINCT_ERROR
    assert max(map(abs, errors)) < 4 * DISTINCT_ERROR


@settings(max_examples=50, deadline=None)
@given(st.lists(names, max_size=60), st.integers(0, 60), st.integers(0, 2_000))
def test_a_stored_count_goes_on_as_if_it_had_never_been_stored(items: list[str], cut: int, before: int) -> None:
    start = [f"before {i}" for i in range(before)]
    stored = distinct_of_image(distinct_image(distinct(start + items[:cut])))
    for item in items[cut:]:
        stored.update(item)
    whole = distinct(start + items)
    assert distinct_image(stored) == distinct_image(whole)
    assert stored.get_estimate() == whole.get_estimate()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 1_000)), min_size=2, max_size=4))
def test_items_that_several_have_count_once(ranges: list[tuple[int, int]]) -> None:
    parts = [[str(i) for i in range(low, low + n)] for low, n in ranges]
    both = {item for part in parts for item in part}
    found = distinct_value(merged_distinct([distinct(part) for part in parts]))
    assert abs(found - len(both)) <= (0 if len(both) < 380 else 5 * DISTINCT_ERROR * len(both))


@given(weighted, st.integers(1, 20))
def test_weights_of_few_items_are_exact_and_in_order(items: list[Weighted], n: int) -> None:
    weights: Counter[str] = Counter()
    for item, weight in items:
        weights[item] += weight
    best = sorted((-weight, item) for item, weight in weights.items() if weight)[:n]
    assert top_values(top(items), n) == [(item, float(-weight)) for weight, item in best]


@pytest.mark.parametrize("seed", range(5))
def test_of_many_items_no_weight_is_too_low_and_none_too_high_by_more_than_is_told(seed: int) -> None:
    items = skewed(random.Random(seed), 20_000, 10_000)
    weights: Counter[str] = Counter()
    for item, weight in items:
        weights[item] += weight
    total = sum(weights.values())
    parts = [top(items[at::4]) for at in range(4)]
    for cell in (top(items), merged_top(parts)):
        found = dict(top_values(cell, 10_000))
        assert len(weights) > COUNTERS
        assert all(0 <= value - weights[item] <= TOP_ERROR * total for item, value in found.items())
        assert {item for item, weight in weights.items() if weight > TOP_ERROR * total} <= set(found)


@settings(max_examples=40, deadline=None)
@given(weighted, st.integers(0, 60), st.integers(0, 4_000), st.integers(0, 3))
def test_stored_weights_go_on_as_if_they_had_never_been_stored(items: list[Weighted], cut: int, before: int, seed: int) -> None:
    start = skewed(random.Random(seed), before, 3_000)
    stored = top_of_image(top_image(top(start + items[:cut])))
    for item, weight in items[cut:]:
        stored.update(item, weight)
    assert top_image(stored) == top_image(top(start + items))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 9)), min_size=1, max_size=4))
def test_merged_weights_do_not_show_which_of_the_parts_had_been_stored(parts: list[tuple[int, int]]) -> None:
    cells = [top(skewed(random.Random(seed), n, 3_000)) for n, seed in parts]
    stored = [top_of_image(top_image(cell)) for cell in cells]
    assert top_image(merged_top(cells)) == top_image(merged_top(stored))
