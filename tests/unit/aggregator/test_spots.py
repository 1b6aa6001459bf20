"""Spots: which samples fall into the same bucket of the same selection, and how new they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.spots import spots

EVERY = 1_000
samples = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, EVERY - 1)), min_size=1, max_size=40)


@pytest.mark.parametrize("apart", [1, 1_000_000], ids=["together", "far apart"])
@given(samples)
def test_each_sample_has_the_spot_of_its_selection_and_bucket_and_each_spot_the_latest_time(
    apart: int, taken: list[tuple[int, int, int]]
) -> None:
    slots = np.array([slot for slot, _, _ in taken])
    times = np.array([bucket * apart * EVERY + offset for _, bucket, offset in taken])
    found = spots(slots, times // EVERY, times, EVERY)
    at = [(slot, bucket * apart * EVERY) for slot, bucket, _ in taken]
    assert [found.at[spot] for spot in found.of.tolist()] == at
    assert len(found.at) == len(set(at))
    latest = {place: max(time for other, time in zip(at, times.tolist(), strict=True) if other == place) for place in at}
    assert dict(zip(found.at, found.newest, strict=True)) == latest
