"""How many records are decoded at once."""

from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.sources.carrying import SLICE, SLICE_BYTES, slices
from services.transport.log import Record

VALUES = {size: bytes(size) for size in (0, 10, 50_000, 200_000, 3_000_000)}


@given(st.lists(st.sampled_from(sorted(VALUES)), max_size=40), st.sampled_from([1, 30]))
def test_records_are_taken_a_few_at_a_time_and_long_ones_fewer(sizes: list[int], times: int) -> None:
    records = [Record(0, offset, 0, VALUES[size]) for offset, size in enumerate(sizes * times)]
    found = list(slices(records))
    assert [record for some in found for record in some] == records
    assert all(0 < len(some) <= SLICE for some in found)
    assert all(sum(len(it.value) for it in some[:-1]) < SLICE_BYTES for some in found), "it stops with the one that is too much"
    assert all(len(a) == SLICE or sum(len(it.value) for it in a) >= SLICE_BYTES for a in found[:-1])
