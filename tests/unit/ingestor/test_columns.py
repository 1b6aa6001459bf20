"""Rows to columns: every rule has a line, and numbers mean the same series however its labels were written."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.series import Kind, partition_of, series_key
from services.ingestor import columns
from services.ingestor.columns import Judged, SeriesTable, TimeLimits, judge
from services.ingestor.samples import Fault, Rows, decode_lines

NOW = 1_763_791_200_000
LIMITS = TimeLimits(future_ms=60_000, past_ms=3_600_000)


def judged(*items: dict[str, Any], table: SeriesTable | None = None) -> Judged:
    body = "\n".join(json.dumps({"metric": "m", "value": 1} | item) for item in items)
    return judge(decode_lines(body.encode()), table or SeriesTable(4), NOW, LIMITS)


def times(*sent: object) -> list[int]:
    result = judged(*({"time": time} for time in sent))
    assert not result.faults
    found: list[int] = result.columns.times.tolist()
    return found


def fault(**item: Any) -> Fault:
    result = judged({}, item, {})
    assert list(result.faults) == [1]
    assert len(result.columns) == 2
    return result.faults[1]


def test_the_start_of_a_counter_is_a_time_that_is_not_after_its_own() -> None:
    counter = {"kind": "counter", "time": NOW - 1_000}
    result = judged(
        counter | {"start": NOW - 9_000},
        counter,
        counter | {"start": "2025-11-22T05:00:00Z"},
        {"start": 5},
        counter | {"start": None},
    )
    assert not result.faults
    assert result.columns.starts is not None
    assert result.columns.starts.tolist() == [NOW - 9_000, 0, NOW - 3_600_000, 0, 0]


def test_where_no_counter_has_a_start_there_is_no_column_of_them() -> None:
    assert judged({"start": NOW - 5}, {}).columns.starts is None


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (NOW + 1, "start 1763791200001 is not between 1970 and the time of the sample, 1763791200000"),
        (0, "start 0 is not between 1970"),
        ("yesterday", "start 'yesterday' is neither epoch milliseconds nor RFC 3339"),
        (1e300, "start is not one: too large a number"),
        (True, "start is true, expected epoch milliseconds or an RFC 3339 string"),
    ],
)
def test_a_start_that_is_none_is_refused(start: object, reason: str) -> None:
    found = fault(kind="counter", time=NOW, start=start)
    assert (found.code, reason in found.reason) == ("time", True), found.reason


def test_a_missing_time_is_now() -> None:
    assert times(None, None) == [NOW, NOW]
    assert times(NOW - 5, None) == [NOW - 5, NOW]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (NOW, NOW),
        (NOW + 60_000, NOW + 60_000),
        (NOW - 3_600_000, NOW - 3_600_000),
        (NOW + 0.75, NOW),
        ("2025-11-22T06:00:00Z", NOW),
        ("2025-11-22T06:00:00.1239Z", NOW + 123),
        ("2025-11-22t07:30:00.5+01:30", NOW + 500),
        ("2025-11-21 23:00:00-07:00", NOW),
    ],
)
def test_times_are_milliseconds_or_rfc_3339(sent: object, expected: int) -> None:
    assert times(sent) == [expected]
    assert times(sent, NOW) == [expected, NOW]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (NOW + 60_001, "60.001 s in the future, 60 s at most"),
        (NOW - 3_600_001, "3600.001 s in the past, 3600 s at most"),
        (NOW // 1000, "is it in seconds?"),
        (NOW * 1000, "is it in micro- or nanoseconds?"),
        (0, "in the past"),
        (-NOW, "in the past"),
        (2**70, "too large a number"),
        (1e300, "too large a number"),
        ("yesterday", "RFC 3339"),
        ("2025-11-22", "RFC 3339"),
        ("2025-11-22T06:00:00", "RFC 3339"),
        ("2025-13-22T06:00:00Z", "RFC 3339"),
        ("2025-11-22T25:00:00Z", "RFC 3339"),
        ("2025-W47-6T06:00:00Z", "RFC 3339"),
        ("0001-01-01T00:00:00+23:59", "in the past"),
        ("2025-11-22T06:05:00Z", "in the future"),
        ("", "RFC 3339"),
    ],
)
def test_a_time_that_is_none_or_too_far_away_is_refused(sent: object, reason: str) -> None:
    found = fault(time=sent)
    assert found.code == "time"
    assert reason in found.reason


@pytest.mark.parametrize("kind", ["gauge", "counter", "delta", "distribution"])
def test_each_kind_has_its_number(kind: str) -> None:
    table = SeriesTable(4)
    judged({"kind": kind}, table=table)
    _, kinds, _ = table.dictionary(np.zeros(1, np.int64))
    assert kinds.tolist() == [["gauge", "counter", "delta", "distribution"].index(kind)]


@pytest.mark.parametrize("others", [0, 10_000], ids=["few series", "few of many series"])
def test_a_dictionary_names_just_the_series_of_some_samples_in_the_order_of_their_numbers(others: int) -> None:
    table = SeriesTable(4)
    for number in range(others):
        table.intern(b"other%d" % number, Kind.gauge)
    known = [table.intern(*series) for series in ((b"a", Kind.gauge), (b"long", Kind.counter), (b"bc", Kind.delta))]
    keys, kinds, places = table.dictionary(np.array([known[2], known[0], known[2]]))
    assert (list(keys), keys.packed, keys.ends.tolist()) == ([b"a", b"bc"], b"abc", [1, 3])
    assert (kinds.tolist(), places.tolist()) == ([Kind.gauge, Kind.delta], [1, 0, 1])
    assert places.dtype == keys.ends.dtype == np.uint32


@pytest.mark.parametrize(
    ("item", "code", "reason"),
    [
        ({"kind": "histogram"}, "kind", "kind 'histogram' is not one of gauge, counter, delta, distribution"),
        ({"kind": ""}, "kind", "kind ''"),
        ({"metric": ""}, "name", "is not a name"),
        ({"metric": "a b"}, "name", "is not a name"),
        ({"metric": "m" * 257}, "name", "257 bytes"),
        ({"labels": {"a-b": "1"}}, "labels", "label 'a-b' is not a name"),
        ({"labels": {"a": 1}}, "labels", "label 'a' has a value that is not a string"),
        ({"labels": {"a": None}}, "labels", "label 'a' has a value that is not a string"),
        ({"labels": {"a": "x" * 1025}}, "labels", "1025 bytes"),
        ({"labels": {"a" * 129: "x"}}, "labels", "129 bytes"),
        ({"labels": {f"l{i}": "x" for i in range(33)}}, "labels", "33 labels, more than 32"),
        ({"labels": ["a"]}, "labels", "labels are not an object"),
        ({"labels": "a"}, "labels", "labels are not an object"),
    ],
)
def test_a_series_that_is_none_is_refused(item: dict[str, Any], code: str, reason: str) -> None:
    found = fault(**item)
    assert found.code == code
    assert reason in found.reason


def test_labels_that_are_not_utf_8_are_refused() -> None:
    rows = decode_lines(b'{"metric":"m","value":1,"labels":{"a":"\xff"}}')
    assert judge(rows, SeriesTable(4), NOW, LIMITS).faults[0].code == "labels"


def test_a_series_has_one_number_however_its_labels_are_written() -> None:
    table = SeriesTable(4)
    body = b"\n".join(
        b'{"metric":"m","value":1,"labels":%s}' % labels
        for labels in (b'{"a":"1","b":"2"}', b'{"b":"2","a":"1"}', b'{"a":"1", "b":"2","c":""}', b'{"a":"\\u0031","b":"2"}')
    )
    result = judge(decode_lines(body), table, NOW, LIMITS)
    assert result.columns.series.tolist() == [0, 0, 0, 0]
    assert table.keys == [series_key("m", {"a": "1", "b": "2"})]


def test_no_labels_null_and_an_empty_object_are_the_same() -> None:
    table = SeriesTable(4)
    assert judged({}, {"labels": None}, {"labels": {}}, table=table).columns.series.tolist() == [0, 0, 0]


def test_the_same_key_of_two_kinds_is_two_series() -> None:
    table = SeriesTable(4)
    assert judged({"kind": "gauge"}, {"kind": "counter"}, {"kind": "gauge"}, table=table).columns.series.tolist() == [0, 1, 0]


def test_faults_found_while_decoding_stay_and_come_first() -> None:
    rows = decode_lines(b'{"metric":"m","value":1}\nnope\n{"metric":"","value":1}\n{"metric":"m","value":2}')
    result = judge(rows, SeriesTable(4), NOW, LIMITS)
    assert {index: found.code for index, found in result.faults.items()} == {1: "json", 2: "name"}
    assert result.columns.values.tolist() == [1.0, 2.0]


def test_nothing_at_all_gives_nothing() -> None:
    result = judge(Rows([]), SeriesTable(4), NOW, LIMITS)
    assert (len(result.columns), result.faults) == (0, {})


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), min_size=1, max_size=40), st.integers(1, 9))
def test_owners_are_the_partitions_of_the_keys(values: list[str], partitions: int) -> None:
    table = SeriesTable(partitions)
    result = judged(*({"labels": {"l": value}} for value in values), table=table)
    owners = table.owners(result.columns.series)
    assert owners.tolist() == [partition_of(series_key("m", {"l": value}), partitions) for value in values]


def test_a_table_grows_past_its_first_room() -> None:
    table = SeriesTable(7)
    result = judged(*({"labels": {"l": str(i)}} for i in range(3000)), table=table)
    assert len(np.unique(result.columns.series)) == 3000
    assert table.owners(result.columns.series).tolist() == [partition_of(key, 7) for key in table.keys]


def test_a_table_is_full_by_number_or_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MAX_SERIES", 3)
    table = SeriesTable(4)
    judged({}, {"metric": "b"}, table=table)
    assert not _full(table)
    judged({"metric": "c"}, table=table)
    assert _full(table)
    monkeypatch.setattr(columns, "MAX_SERIES", 100)
    assert not _full(table)
    monkeypatch.setattr(columns, "MAX_TABLE_BYTES", 10)
    assert _full(table)


def _full(table: SeriesTable) -> bool:
    return table.full
