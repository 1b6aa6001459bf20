"""Batch: what goes in comes out, damaged bytes are refused and never anything else."""

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.batch import DOOR, MAX_TIME, OPTIONAL, Batch, BatchError, decode, encode
from services.contract.series import series_key

HEADER = 40


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    keys = draw(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
    count = draw(st.integers(0, 20))
    kinds = draw(st.lists(st.integers(0, 3), min_size=len(keys), max_size=len(keys)))
    series = draw(st.lists(st.integers(0, len(keys) - 1), min_size=count, max_size=count))
    times = draw(st.lists(st.integers(0, MAX_TIME - 1), min_size=count, max_size=count))
    values = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=count, max_size=count))
    starts = draw(st.none() | st.lists(st.integers(0, MAX_TIME - 1), min_size=count, max_size=count))
    return Batch(
        instance=draw(st.integers(0, 2**64 - 1)),
        sequence=draw(st.integers(0, 2**64 - 1)),
        ingest_ms=draw(st.integers(-(2**63), 2**63 - 1)),
        keys=keys,
        kinds=np.array(kinds, np.uint8),
        series=np.array(series, np.uint32),
        times=np.array(times, np.int64),
        values=np.array(values, np.float64),
        starts=None if starts is None else np.array(starts, np.int64),
        source=draw(st.just(DOOR) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)),
    )


@st.composite
def numbered(draw: st.DrawFn) -> Batch:
    """A batch whose samples have sequences of their own."""
    batch = draw(batches().filter(lambda found: len(found.series) > 0))
    count = len(batch.series)
    own = sorted(draw(st.sets(st.integers(0, 2**64 - 1), min_size=count, max_size=count)))
    return replace(batch, sequence=own[-1], sequences=np.array(own, np.uint64))


def small() -> Batch:
    """Two series, three samples."""
    return Batch(
        7, 9, 1_763_791_200_123, [series_key("up", {"host": "a"}), series_key("rx", {})], np.array([0, 1], np.uint8),
        np.array([1, 0, 1], np.uint32), np.array([10, 20, 30], np.int64), np.array([1.5, -2.0, 1e300]),
    )  # fmt: skip


def plain(batch: Batch) -> tuple[Any, ...]:
    columns = (batch.kinds, batch.series, batch.times, batch.values)
    own = None if batch.sequences is None else batch.sequences.tolist()
    starts = None if batch.starts is None else batch.starts.tolist()
    head = starts, batch.instance, batch.sequence, batch.ingest_ms, list(batch.keys), batch.source, own
    return *head, *(column.tolist() for column in columns)


@given(batches() | numbered())
def test_what_is_encoded_is_decoded(batch: Batch) -> None:
    assert plain(decode(encode(batch))) == plain(batch)


def test_the_bytes_are_those_of_the_protocol() -> None:
    data = encode(small())
    assert data[:4] == b"TB\x01\x06"
    assert struct.unpack_from("<IQQqII", data, 4) == (0, 7, 9, 1_763_791_200_123, 2, 3)
    assert struct.unpack_from("<HHI", data, HEADER) == (1, 0, 2)
    assert data[HEADER + 8 : HEADER + 16] == bytes([0, 1]) + bytes(6)
    at = HEADER + 16
    assert struct.unpack_from("<HHIII", data, at) == (2, 0, 8, 10, 13)
    at += 16
    assert struct.unpack_from("<HHI", data, at) == (3, 0, 13)
    assert data[at + 8 : at + 21] == b"up\xffhost\xfea\xff" + b"rx\xff"
    assert len(data) % 8 == 0


def test_columns_are_read_in_place() -> None:
    data = encode(small())
    batch = decode(data)
    assert all(not column.flags.owndata for column in (batch.kinds, batch.series, batch.times, batch.values))
    assert not batch.values.flags.writeable


@given(batches() | numbered(), st.data())
def test_a_record_that_is_cut_off_is_refused(batch: Batch, data: st.DataObject) -> None:
    whole = encode(batch)
    # Padding after the last block may be missing; nothing was lost then.
    short = whole[: data.draw(st.integers(0, len(whole) - 8))]
    with pytest.raises(BatchError):
        decode(short)


@given(batches() | numbered(), st.data())
def test_damage_is_refused_or_gives_a_batch_of_its_declared_size(batch: Batch, data: st.DataObject) -> None:
    damaged = bytearray(encode(batch))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(damaged))
    except BatchError:
        return
    assert len(found.series) == len(found.times) == len(found.values)
    assert len(found.keys) == len(found.kinds)
    assert not len(found.series) or int(found.series.max()) < len(found.keys)
    assert all(0 <= time < MAX_TIME for time in found.times.tolist())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_a_batch_error(data: bytes) -> None:
    for candidate in (data, b"TB\x01" + data):
        try:
            decode(candidate)
        except BatchError:
            continue


def test_a_block_that_may_be_passed_over_is() -> None:
    data = encode(small())
    extra = struct.pack("<HHI", OPTIONAL | 77, 0, 3) + b"new" + bytes(5)
    extended = data[:3] + bytes([7]) + data[4:HEADER] + extra + data[HEADER:]
    assert plain(decode(extended)) == plain(small())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: b"XX" + d[2:], "starts with"),
        (lambda d: d[:2] + b"\x02" + d[3:], "version 2"),
        (lambda d: d[:HEADER] + struct.pack("<H", 77) + d[HEADER + 2 :], "type 77"),
        (lambda d: d[:3] + b"\x05" + d[4:], "block 6 is missing"),
        (lambda d: d[:32] + struct.pack("<I", 9) + d[36:], "block 1"),
        (lambda d: d[:36] + struct.pack("<I", 9) + d[40:], "block 4"),
        (lambda d: d[: HEADER + 24] + struct.pack("<I", 99) + d[HEADER + 28 :], "ends of keys"),
        (lambda d: d[: HEADER + 20] + struct.pack("<I", 2**31) + d[HEADER + 24 :], "claims"),
    ],
)
def test_a_record_that_is_none_is_told_why(change: Any, reason: str) -> None:
    with pytest.raises(BatchError, match=reason):
        decode(change(encode(small())))


def test_a_sample_of_a_series_that_is_not_there_is_refused() -> None:
    batch = small()
    broken = replace(batch, keys=batch.keys[:1], kinds=batch.kinds[:1])
    with pytest.raises(BatchError, match="series 1 of 1"):
        decode(encode(broken))


@pytest.mark.parametrize("time", [-1, MAX_TIME])
def test_a_time_that_cannot_be_one_is_refused(time: int) -> None:
    batch = small()
    with pytest.raises(BatchError, match="a sample has the time"):
        decode(encode(replace(batch, times=np.array([10, time, 30], np.int64))))


def test_a_batch_of_the_http_door_is_as_it_was_before_there_were_sources() -> None:
    assert encode(small())[3] == 6
    assert decode(encode(small())).source == "samples"
    assert decode(encode(small())).sequences is None


def test_starts_that_are_none_are_refused() -> None:
    for start in (-1, MAX_TIME):
        with pytest.raises(BatchError, match=f"a sample has the start {start}"):
            decode(encode(replace(small(), starts=np.full(len(small().series), start, np.int64))))


def test_a_batch_without_starts_has_no_block_for_them() -> None:
    assert decode(encode(small())).starts is None


@pytest.mark.parametrize("own", [[1, 1, 9], [1, 9, 8], [1, 2, 3]])
def test_sequences_that_do_not_grow_up_to_that_of_the_batch_are_refused(own: list[int]) -> None:
    with pytest.raises(BatchError, match="sequences do not grow up to 9"):
        decode(encode(replace(small(), sequences=np.array(own, np.uint64))))


def test_a_source_that_is_no_text_is_refused() -> None:
    data = encode(replace(small(), source="orders"))
    with pytest.raises(BatchError, match="is no name"):
        decode(data.replace(b"orders", b"or\xffers"))
