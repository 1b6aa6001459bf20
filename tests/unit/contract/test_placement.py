"""By how many partitions the records of a source are placed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.placement import MAX_SPANS, Placement, PlacementError, begun, decode, encode

GROWN = begun(4).turn(100, 8).turn(250, 12)


def test_records_are_placed_by_the_number_that_held_from_their_offset_on() -> None:
    assert list(GROWN.parts([7, 99, 100, 101, 249, 300, 301])) == [(4, 0, 2), (8, 2, 5), (12, 5, 7)]
    assert list(GROWN.parts([100])) == [(8, 0, 1)]
    assert list(GROWN.parts([])) == []
    assert (GROWN.count, GROWN.since) == (12, 250)


def test_a_new_number_holds_behind_what_is_reserved_and_behind_the_number_before() -> None:
    assert begun(4).reserve(120).turn(100, 8).spans == ((0, 4), (120, 8))
    assert begun(4).reserve(120).reserve(90).turn(100, 8).spans == ((0, 4), (120, 8))
    assert GROWN.turn(3, 16).spans == ((0, 4), (100, 8), (250, 16))
    assert begun(4).turn(0, 8).spans == ((0, 8),)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(0, 30))), st.lists(st.integers(0, 60), max_size=20)
)
def test_every_record_is_placed_once_and_as_before_though_another_number_holds_later(
    turns: list[tuple[int, int, int]], offsets: list[int]
) -> None:
    def placed(by: Placement) -> dict[int, int]:
        return {offset: count for count, a, b in by.parts(at) for offset in at[a:b]}

    at, placement = sorted(set(offsets)), begun(3)
    for offset, count, reserved in turns:
        before = placed(placement)
        placement = placement.reserve(reserved).turn(offset, count)
        after = placed(placement)
        assert sorted(after) == at
        assert all(after[it] == before[it] for it in at if it < max(offset, reserved))
        assert all(after[it] == count for it in at if it >= placement.since)
    if len(placement.spans) < MAX_SPANS:
        assert decode(encode(placement)) == placement


def test_of_two_the_one_that_was_agreed_on_later_holds_with_all_that_is_reserved() -> None:
    older = begun(4).reserve(300)
    assert older.newer(GROWN) == GROWN.newer(older) == GROWN.reserve(300)
    other = begun(4).turn(250, 9)
    assert GROWN.newer(other) == GROWN


@pytest.mark.parametrize(
    "blob",
    [
        b"", b"{", b"[]", b'{"spans":[]}', b'{"spans":[[3,4]]}', b'{"spans":[[0,4],[0,5]]}', b'{"spans":[[0,0]]}',
        b'{"spans":[[0,4]],"v":2}', b'{"spans":[[0,4,5]]}',
    ],
)  # fmt: skip
def test_what_is_not_understood_is_no_placement(blob: bytes) -> None:
    with pytest.raises(PlacementError):
        decode(blob)
