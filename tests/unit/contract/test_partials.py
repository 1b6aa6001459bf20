"""Partials: pages and heads as they lie in Redis and in a fold's log."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.partials import (
    COUNTER,
    INCREASE,
    MOMENTS,
    PAGE,
    VERSION,
    Config,
    FoldState,
    Page,
    PartialsError,
    pack_page,
    pack_sketches,
    unpack_page,
    unpack_sketches,
)
from services.contract.views import Selection

sketches = st.dictionaries(
    st.integers(0, PAGE - 1), st.dictionaries(st.integers(-(2**21), 2**21), st.integers(1, 2**40), max_size=20), max_size=PAGE
)


@pytest.mark.parametrize(("dtype", "size"), [(MOMENTS, 48), (INCREASE, 16), (COUNTER, 16)])
def test_rows_have_the_sizes_that_the_protocol_says(dtype: np.dtype[np.void], size: int) -> None:
    assert dtype.itemsize == size


@pytest.mark.parametrize("n", [0, 1, PAGE])
@pytest.mark.parametrize("dtype", [MOMENTS, INCREASE, COUNTER])
def test_pages_of_rows_round_trip(dtype: np.dtype[np.void], n: int) -> None:
    rows = np.frombuffer(np.random.default_rng(n).bytes(n * dtype.itemsize), dtype)
    blob = pack_page(rows)
    assert blob[0] == VERSION
    assert unpack_page(blob, dtype).tobytes() == rows.tobytes()


def test_a_page_is_little_endian_behind_its_version() -> None:
    rows = np.array([(3, 0.5)], INCREASE)
    assert pack_page(rows).hex() == "01" + "0300000000000000" + "000000000000e03f"


@given(sketches)
def test_pages_of_sketches_round_trip(page: dict[int, dict[int, int]]) -> None:
    assert unpack_sketches(pack_sketches(page)) == page


def test_sketches_are_written_in_one_way_only() -> None:
    assert pack_sketches({1: {5: 1, -3: 2}, 0: {}}) == pack_sketches({0: {}, 1: {-3: 2, 5: 1}})


@pytest.mark.parametrize("blob", [b"", b"\x00", bytes([VERSION + 1]) + bytes(48)])
def test_pages_of_another_version_are_refused(blob: bytes) -> None:
    with pytest.raises(PartialsError, match=f"this reads {VERSION}"):
        unpack_page(blob, MOMENTS)
    with pytest.raises(PartialsError, match=f"this reads {VERSION}"):
        unpack_sketches(blob)


@pytest.mark.parametrize("lost", [1, 8, 47])
def test_a_page_that_was_cut_is_refused(lost: int) -> None:
    blob = pack_page(np.zeros(2, MOMENTS))
    with pytest.raises(PartialsError, match="no whole number of rows"):
        unpack_page(blob[:-lost], MOMENTS)


@given(sketches.filter(bool), st.data())
def test_sketches_that_were_cut_are_refused(page: dict[int, dict[int, int]], data: st.DataObject) -> None:
    blob = pack_sketches(page)
    with pytest.raises(PartialsError):
        unpack_sketches(blob[: data.draw(st.integers(1, len(blob) - 1))])


@given(st.binary(max_size=60))
def test_any_bytes_are_sketches_or_refused(noise: bytes) -> None:
    try:
        unpack_sketches(bytes([VERSION]) + noise)
    except PartialsError:
        return


def test_the_state_of_a_fold_round_trips_with_the_whole_range_of_instances() -> None:
    state = FoldState(VERSION, 2**50, 2**50, {2**64 - 1: (2**64 - 1, 1), 0: (0, -1)})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=FoldState) == state


def test_folds_do_not_share_their_sequences() -> None:
    FoldState().sequences[1] = (1, 1)
    assert FoldState().sequences == {}


SELECTION = Selection("load", (), ("host",), "moments", 1_000)


def test_the_digest_is_of_the_set_and_not_of_its_order() -> None:
    one, other = Config({"a": SELECTION, "b": SELECTION}, {"a": 1, "b": 2}), Config({}, {"b": 2, "a": 1})
    assert one.digest == other.digest
    assert len(one.digest) == 16


@pytest.mark.parametrize("retentions", [{}, {"a": 1}, {"a": 1, "b": 3}, {"a": 1, "b": 2, "c": 2}])
def test_the_digest_tells_what_is_kept_and_for_how_long(retentions: dict[str, int]) -> None:
    assert Config({}, retentions).digest != Config({}, {"a": 1, "b": 2}).digest


def test_a_pages_field_is_its_bucket_and_its_number() -> None:
    assert Page("abc", 1_763_791_200_000, 3).field() == "1763791200000:3"
