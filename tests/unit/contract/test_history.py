"""History: rows of a view and messages of its changes."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.history import (
    ROW,
    VERSION,
    Cells,
    Change,
    HistoryError,
    NewGroup,
    decode_change,
    encode_change,
    pack_rows,
    unpack_rows,
)

integers = st.integers(0, 2**53)
cells = st.integers(0, 5).flatmap(
    lambda n: st.builds(
        Cells,
        start=integers,
        groups=st.lists(st.integers(0, 2**32 - 1), min_size=n, max_size=n),
        values=st.lists(st.none() | st.floats(allow_nan=False), min_size=n, max_size=n),
    )
)
groups = st.builds(NewGroup, number=st.integers(0, 2**32 - 1), labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
changes = st.builds(
    Change, v=st.just(VERSION), epoch=st.text(max_size=8), prev=integers, version=integers, closed=integers, at=integers,
    newest=integers, groups=st.lists(groups, max_size=3), cells=st.lists(cells, max_size=3),
)  # fmt: skip

CHANGE = Change(VERSION, "9f2c", 1, 2, 3, 4, 5, [NewGroup(0, {"host": "a"})], [Cells(1_000, [0, 1], [0.5, None])])


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1), st.floats()), max_size=40))
def test_rows_round_trip(rows: list[tuple[int, int, float]]) -> None:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    numbers, versions = np.array(columns[0], np.uint32), np.array(columns[1], np.int64)
    values = np.array(columns[2], np.float64)
    found = unpack_rows(pack_rows(numbers, versions, values))
    assert found["group"].tolist() == numbers.tolist()
    assert found["version"].tolist() == versions.tolist()
    assert found["value"].tobytes() == values.tobytes()


def test_a_row_is_twenty_bytes_behind_the_version_of_the_blob() -> None:
    blob = pack_rows(np.array([7], np.uint32), np.array([2], np.int64), np.array([0.5]))
    assert ROW.itemsize == 20
    assert blob.hex() == "01" + "07000000" + "0200000000000000" + "000000000000e03f"


@pytest.mark.parametrize("blob", [b"", b"\x00", bytes([VERSION + 1]) + bytes(20)])
def test_rows_of_another_version_are_refused(blob: bytes) -> None:
    with pytest.raises(HistoryError, match=f"this reads {VERSION}"):
        unpack_rows(blob)


@pytest.mark.parametrize("lost", [1, 4, 19])
def test_rows_that_were_cut_are_refused(lost: int) -> None:
    blob = pack_rows(np.zeros(2, np.uint32), np.zeros(2, np.int64), np.zeros(2))
    with pytest.raises(HistoryError, match="no whole number of rows"):
        unpack_rows(blob[:-lost])


@given(changes)
def test_changes_round_trip(change: Change) -> None:
    assert decode_change(encode_change(change)) == change


@pytest.mark.parametrize("unknown", [{"filled": 1_000, "first": 2, "sampled": 3}, {"first": 2, "sampled": 3}, {"sampled": 3}])
def test_versions_that_do_not_know_when_a_view_is_filled_its_terms_or_its_samples_read_and_are_read(
    unknown: dict[str, int],
) -> None:
    known = [(name, kind) for name, kind in Change.__annotations__.items() if name not in unknown]
    before = msgspec.defstruct("Before", known)
    old = msgspec.msgpack.encode(before(*(getattr(CHANGE, name) for name in before.__struct_fields__)))
    assert decode_change(old) == CHANGE
    msgspec.msgpack.decode(encode_change(msgspec.structs.replace(CHANGE, **unknown)), type=before)


def test_a_change_of_another_version_is_refused() -> None:
    with pytest.raises(HistoryError, match=f"version {VERSION + 1}"):
        decode_change(encode_change(msgspec.structs.replace(CHANGE, v=VERSION + 1)))


@given(st.integers(0, len(encode_change(CHANGE)) - 1))
def test_a_change_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(HistoryError):
        decode_change(encode_change(CHANGE)[:length])


@given(st.binary(max_size=80))
def test_any_bytes_are_a_change_or_refused(noise: bytes) -> None:
    try:
        decode_change(noise)
    except HistoryError:
        return


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    content = msgspec.msgpack.decode(encode_change(CHANGE)) | {"later": 1}
    assert decode_change(msgspec.msgpack.encode(content)) == CHANGE
