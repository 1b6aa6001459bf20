"""Partials: pages and heads as they lie in Redis and in a fold's log."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.partials import (
    COUNTER,
    EDGES,
    INCREASE,
    MOMENTS,
    PAGE,
    SKETCH_VERSION,
    VARIANCE,
    VERSION,
    Config,
    FoldState,
    Header,
    Page,
    PartialsError,
    pack_bins,
    pack_page,
    unpack_bins,
    unpack_page,
)
from services.contract.views import Selection

CODES = 1 << 22
sketches = st.dictionaries(
    st.integers(0, PAGE - 1),
    st.dictionaries(st.integers(-(2**21), 2**21 - 1), st.integers(1, 2**10) | st.integers(1, 2**62), max_size=20),
    max_size=PAGE,
)


def columns(page: dict[int, dict[int, int]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A page by place and code, as the columns of bins and counts that it is written from."""
    rows = sorted((place * CODES + code + CODES // 2, count) for place, held in page.items() for code, count in held.items())
    return np.array([key for key, _ in rows], np.uint32), np.array([count for _, count in rows], np.int64)


def packed(page: dict[int, dict[int, int]]) -> bytes:
    return pack_bins(*columns(page))


@pytest.mark.parametrize(("dtype", "size"), [(MOMENTS, 48), (EDGES, 40), (VARIANCE, 32), (INCREASE, 16), (COUNTER, 40)])
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
    bins, counts = unpack_bins(packed(page))
    assert [bins.tolist(), counts.tolist()] == [column.tolist() for column in columns(page)]


def test_a_page_of_sketches_is_codes_and_counts_as_wide_as_they_must_be() -> None:
    assert packed({1: {5: 255, -3: 2}}).hex() == "0201" + "fdff5f00" + "05006000" + "02" + "ff"
    assert packed({0: {0: 256}}).hex() == "0202" + "00002000" + "0001"


@given(sketches)
def test_pages_of_sketches_of_version_1_are_read(page: dict[int, dict[int, int]]) -> None:
    old = bytes([VERSION]) + msgspec.msgpack.encode([[place, sorted(held.items())] for place, held in sorted(page.items())])
    bins, counts = unpack_bins(old)
    assert [bins.tolist(), counts.tolist()] == [column.tolist() for column in columns(page)]


@pytest.mark.parametrize("blob", [b"", b"\x00", bytes([VERSION + 1]) + bytes(48)])
def test_pages_of_another_version_are_refused(blob: bytes) -> None:
    with pytest.raises(PartialsError, match=f"this reads {VERSION}"):
        unpack_page(blob, MOMENTS)


@pytest.mark.parametrize("lost", [1, 8, 47])
def test_a_page_that_was_cut_is_refused(lost: int) -> None:
    blob = pack_page(np.zeros(2, MOMENTS))
    with pytest.raises(PartialsError, match="no whole number of rows"):
        unpack_page(blob[:-lost], MOMENTS)


@pytest.mark.parametrize("blob", [b"", b"\x00", bytes([SKETCH_VERSION + 1]) + bytes(48)])
def test_sketches_of_another_version_are_refused(blob: bytes) -> None:
    with pytest.raises(PartialsError, match=f"this reads {SKETCH_VERSION}"):
        unpack_bins(blob)


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 40), st.integers(1, 4))
def test_sketches_that_were_cut_are_refused(width: int, n: int, lost: int) -> None:
    blob = bytes([SKETCH_VERSION, width]) + bytes(n * (4 + width))
    with pytest.raises(PartialsError):
        unpack_bins(blob[:-lost])


@given(st.sampled_from([VERSION, SKETCH_VERSION]), st.binary(max_size=60))
def test_any_bytes_are_sketches_or_refused(version: int, noise: bytes) -> None:
    try:
        unpack_bins(bytes([version]) + noise)
    except PartialsError:
        return


def test_the_state_of_a_fold_round_trips_with_the_whole_range_of_instances() -> None:
    state = FoldState(VERSION, 2**50, 2**50, {2**64 - 1: (2**64 - 1, 1), 0: (0, -1)})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=FoldState) == state


@pytest.mark.parametrize(
    ("found", "default"),
    [
        (FoldState(clock=5, max_time=4, sampled={"a": 3}), FoldState(clock=5, max_time=4)),
        (Header(1, "d", 0, 1, 5, 4, False, [], sampled={"a": 3}), Header(1, "d", 0, 1, 5, 4, False, [])),
    ],
)
def test_versions_that_do_not_say_how_new_the_samples_of_a_selection_are_read_and_are_read(
    found: FoldState | Header, default: FoldState | Header
) -> None:
    known = {name: value for name, value in msgspec.structs.asdict(found).items() if name != "sampled"}
    before = msgspec.defstruct("Before", [(name, type(found).__annotations__[name]) for name in known])
    old = msgspec.msgpack.encode(before(**known))
    assert msgspec.msgpack.decode(old, type=type(found)) == default
    assert default.sampled is None, "that it has no samples is something else"
    assert msgspec.structs.asdict(msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=before)) == known


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
