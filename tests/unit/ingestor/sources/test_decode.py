"""From the records of a source's topic to samples."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from services.contract.batch import Batch, encode
from services.contract.batch import decode as decode_batch
from services.contract.series import Kind, series_key
from services.contract.sources import Source
from services.ingestor.columns import rfc_3339 as parse_time
from services.ingestor.sources.cutting import cut
from services.ingestor.sources.decode import INDEX_BITS, Decoder
from tests.unit.ingestor.sources.worlds import LIMITS, NOW, Given, decoded, given, mapped, samples, source

M = {"metric": "m", "value": "$.v"}


def test_one_json_value_per_record_is_one_sample() -> None:
    order = {
        "metric": "order_value",
        "value": "$.total.eur",
        "time": "$.at",
        "labels": {"region": "$.customer.region", "shop": "main"},
    }
    found = decoded(mapped(order), {"total": {"eur": 17.5}, "at": NOW + 7, "customer": {"region": "eu", "name": "x"}})
    assert samples(found) == [("order_value", {"region": "eu", "shop": "main"}, 17.5, 7)]
    assert (found.faults, found.poison) == ({}, [])


def test_a_record_without_a_time_of_its_own_has_that_of_its_record() -> None:
    found = Decoder(mapped(M | {"time": "$.t"}), 4, LIMITS).decode(
        [Given(0, b'{"v":1}', NOW - 9), Given(1, b'{"v":2,"t":null}', NOW - 8), Given(2, b'{"v":3}', -1)], NOW
    )
    assert [time for *_, time in samples(found)] == [-9, -8, 0]


@pytest.mark.parametrize(
    ("unit", "time", "ms"),
    [
        ("s", NOW // 1000 + 1, 1000),
        ("s", NOW / 1000 + 0.25, 250),
        ("s", str(NOW // 1000 + 2), 2000),
        ("ms", NOW + 5, 5),
        ("ms", NOW + 5.4, 5),
        ("us", NOW * 1000 + 2_999, 2),
        ("ns", NOW * 1_000_000 + 3_999_999, 3),
        ("ns", "2025-11-22T06:00:00.250Z", 250),
    ],
)
def test_times_are_read_in_their_unit(unit: str, time: object, ms: int) -> None:
    assert [it[3] for it in samples(decoded(mapped(M | {"time": "$.t", "timeUnit": unit}), {"v": 1, "t": time}))] == [ms]


def test_lists_give_a_sample_for_each_item_with_what_lies_around_them() -> None:
    disk = {
        "metric": "$.kind", "value": "$.hosts[*].disks[*].used", "time": "$.hosts[*].at",
        "labels": {"host": "$.hosts[*].name", "disk": "$.hosts[*].disks[*].id", "nr": "$.hosts[*].disks[*]~", "first": "$.hosts[0].name"},
    }  # fmt: skip
    value = {"kind": "disk_used", "hosts": [
        {"name": "a", "at": NOW + 1, "disks": [{"id": "x", "used": 1}, {"id": "y", "used": 2}]},
        {"name": "b", "at": NOW + 2, "disks": []},
        {"name": "c", "at": NOW + 3, "disks": [{"id": "z", "used": 3}]},
    ]}  # fmt: skip
    assert samples(decoded(mapped(disk), value)) == [
        ("disk_used", {"host": "a", "disk": "x", "nr": "0", "first": "a"}, 1, 1),
        ("disk_used", {"host": "a", "disk": "y", "nr": "1", "first": "a"}, 2, 1),
        ("disk_used", {"host": "c", "disk": "z", "nr": "0", "first": "a"}, 3, 3),
    ]


def test_members_of_an_object_give_a_sample_each_and_their_names() -> None:
    telegraf = {
        "metric": "$.name", "value": "$.fields[*]", "time": "$.timestamp", "timeUnit": "s", "labels": {"field": "$.fields[*]~", "*": "$.tags"},
    }  # fmt: skip
    value = {
        "name": "cpu",
        "tags": {"host": "a", "cpu": "cpu0"},
        "fields": {"idle": 99.5, "user": 0.5},
        "timestamp": NOW // 1000,
    }
    assert samples(decoded(mapped(telegraf), value)) == [
        ("cpu", {"field": "idle", "host": "a", "cpu": "cpu0"}, 99.5, 0),
        ("cpu", {"field": "user", "host": "a", "cpu": "cpu0"}, 0.5, 0),
    ]


def test_labels_are_texts_numbers_and_truths_and_what_is_empty_is_absent() -> None:
    labels = {"code": "$.code", "ok": "$.ok", "gone": "$.gone", "none": "$.none", "empty": "$.empty", "load": "$.load"}
    found = decoded(mapped(M | {"labels": labels}), {"v": 1, "code": 200, "ok": True, "none": None, "empty": "", "load": 0.5})
    assert samples(found)[0][1] == {"code": "200", "ok": "true", "load": "0.5"}


def test_equal_numbers_and_truths_are_labels_of_their_own() -> None:
    found = decoded(mapped(M | {"labels": {"x": "$.x"}}), *({"v": 1, "x": x} for x in (1, True, 1.0, "1")))
    assert [it[1]["x"] for it in samples(found)] == ["1", "true", "1.0", "1"]


def test_constant_labels_are_of_every_sample_that_has_none_of_that_name() -> None:
    found = decoded(
        mapped(M | {"labels": {"*": "$.tags"}}, labels={"env": "prod", "dc": "1"}),
        {"v": 1, "tags": {"env": "test"}},
        {"v": 1, "tags": {"env": ""}},
    )
    assert [it[1] for it in samples(found)] == [{"env": "test", "dc": "1"}, {"env": "prod", "dc": "1"}]


def test_several_samples_come_out_of_one_value_and_each_may_fail_alone() -> None:
    count = {"metric": "orders", "kind": "delta", "value": 1}
    found = decoded(mapped(M, count), {"v": "17.5"}, {"w": 1}, {"v": True})
    assert [(it[0], it[2]) for it in samples(found)] == [("m", 17.5), ("orders", 1), ("orders", 1), ("m", 1), ("orders", 1)]
    assert found.faults == {"absent": 1}
    assert found.reasons == {"absent": "offset 1: there is no value at $.v"}
    keys, kinds, _ = found.placed.table.dictionary(np.arange(2))
    assert dict(zip(keys, kinds.tolist(), strict=True)) == {
        series_key("m", {}): Kind.gauge,
        series_key("orders", {}): Kind.delta,
    }


def test_without_a_sample_in_the_document_records_are_read_as_the_http_door_takes_them() -> None:
    one = {"metric": "up", "labels": {"host": "a"}, "value": 1, "time": NOW + 1, "kind": "counter"}
    found = decoded(source(), one, [one, one | {"value": 2}], {"metric": "down", "value": 0})
    assert [(it[0], it[2]) for it in samples(found)] == [("up", 1), ("up", 1), ("up", 2), ("down", 0)]


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        ({"v": None}, "absent", "there is no value at $.v"),
        ([], "absent", "there is no value at $.v"),
        ({"v": "abc"}, "value", "value at $.v is the string 'abc', expected a number"),
        ({"v": "1_0"}, "value", "expected a number"),
        ({"v": [1]}, "value", "is a list"),
        ({"v": 10**400}, "value", "infinite or too large"),
        (b'{"v": NaN}', "value", "value at $.v is NaN"),
        (b'{"v": -Infinity}', "value", "infinite"),
        ({"v": 1, "t": NOW + 60_001}, "time", "60.001 s in the future"),
        ({"v": 1, "t": NOW - 3_600_001}, "time", "3600.001 s in the past"),
        ({"v": 1, "t": NOW // 1000}, "time", "is it in seconds?"),
        ({"v": 1, "t": NOW * 1000}, "time", "is it in micro- or nanoseconds?"),
        ({"v": 1, "t": 10**30}, "time", "expected a number or an RFC 3339 string"),
        ({"v": 1, "t": 10**22}, "time", "in the future"),
        ({"v": 1, "t": "1" * 5_000}, "time", "expected a number or an RFC 3339 string"),
        ({"v": 1, "t": "-1"}, "time", "before 1970"),
        ({"v": 1, "t": "soon"}, "time", "neither epoch milliseconds nor RFC 3339"),
        ({"v": 1, "t": {}}, "time", "is an object"),
        ({"v": 1, "name": "1m"}, "name", "metric '1m' is not a name"),
        ({"v": 1, "name": 7}, "name", "metric at $.name is 7, expected a name"),
        ({"v": 1, "kind": "guage"}, "kind", "'guage' is not one of gauge"),
        ({"v": 1, "kind": 3}, "kind", "kind at $.kind is 3, expected a string"),
        ({"v": 1, "host": {"a": 1}}, "labels", "label host at $.host is an object"),
        ({"v": 1, "tags": "x"}, "labels", "labels at $.tags are the string 'x', expected an object"),
        ({"v": 1, "tags": {"a b": "x"}}, "labels", "label 'a b' is not a name"),
        ({"v": 1, "host": "x" * 1025}, "labels", "1025 bytes, more than 1024"),
    ],
)  # fmt: skip
def test_a_bad_sample_is_refused_with_a_code_and_a_sentence(value: object, code: str, reason: str) -> None:
    reading = {"metric": "$.name", "value": "$.v", "time": "$.t", "kind": "$.kind", "labels": {"host": "$.host", "*": "$.tags"}}
    base = {"name": "m"}
    full = (
        base | value
        if isinstance(value, dict)
        else value.replace(b"{", b'{"name": "m", ', 1)
        if isinstance(value, bytes)
        else value
    )
    if value == []:
        reading |= {"metric": "m"}
    found = decoded(mapped(reading), full)
    assert (samples(found), found.faults) == ([], {code: 1})
    assert reason in found.reasons[code]
    assert found.poison == []


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [({}, "absent", "nothing lies at $.list[*]"), ({"list": 3}, "shape", "$.list[*] is 3, expected a list or an object")],
)
def test_what_is_no_list_is_told(value: object, code: str, reason: str) -> None:
    found = decoded(mapped({"metric": "m", "value": "$.list[*].v"}), value)
    assert (found.faults, found.reasons) == ({code: 1}, {code: f"offset 0: {reason}"})


def test_an_empty_list_gives_nothing_and_is_no_fault() -> None:
    found = decoded(mapped({"metric": "m", "value": "$.list[*].v"}), {"list": []})
    assert (samples(found), found.faults) == ([], {})


def test_a_time_is_judged_by_that_of_its_record_so_that_a_bridge_that_was_away_refuses_nothing() -> None:
    late = Given(0, b'{"v":1,"t":%d}' % (NOW - 86_400_000), NOW - 86_400_000)
    found = Decoder(mapped(M | {"time": "$.t"}), 4, LIMITS).decode([late], NOW)
    assert len(samples(found)) == 1


def test_a_time_before_1970_is_refused_though_its_record_is_almost_as_old_since_no_fold_reads_such_a_batch() -> None:
    written = [Given(0, b'{"v":1,"t":-3000}', 1_000), Given(1, b'{"v":2}', 1_000), Given(2, b'{"v":3,"t":0}', 1_000)]
    found = Decoder(mapped(M | {"time": "$.t"}), 1, LIMITS).decode(written, NOW)
    assert ([it[2] for it in samples(found)], found.faults) == ([2, 3], {"time": 1})
    (made,) = cut(found.placed, 1, "orders", NOW)
    assert decode_batch(made.payload).times.tolist() == [1_000, 0]


# Poison


def test_a_record_that_is_not_understood_is_poison_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(mapped(M), 4, LIMITS)
    judge = decoder._judge

    def fails(row: Any, *rest: Any) -> Any:
        if row.value == 2:
            raise KeyError("x" * 5_000)
        return judge(row, *rest)

    monkeypatch.setattr(decoder, "_judge", fails)
    found = decoder.decode(given({"v": 1}, {"v": 2}, {"v": 3}), NOW)
    assert [it[2] for it in samples(found)] == [1, 3]
    ((record, why),) = found.poison
    assert (record.offset, why[:30], len(why)) == (1, "is not understood: KeyError('x", 500)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "JSON is malformed"),
        (b"hello", "JSON is malformed"),
        (b'{"v":1', "JSON is malformed"),
        (b"\xff\xfe", "JSON is malformed"),
        (b'{"v": nan}', "JSON is malformed"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_record_that_is_no_json_is_poison(value: bytes, reason: str) -> None:
    found = decoded(mapped(M), {"v": 1}, value, {"v": 2})
    assert [it[2] for it in samples(found)] == [1, 2]
    ((record, why),) = found.poison
    assert (record.offset, record.value) == (1, value)
    assert reason in why


def test_what_serializers_put_before_json_is_passed_over() -> None:
    found = decoded(mapped(M), b'\0\0\0\0\x07{"v":1}', b'\xef\xbb\xbf{"v":2}')
    assert [it[2] for it in samples(found)] == [1, 2]


# NDJSON


def test_lines_are_values_and_a_broken_line_is_its_own_fault() -> None:
    found = decoded(mapped(M, format="ndjson"), b'{"v":1}\r\n\n{"v":\n{"v":3}\n')
    assert [it[2] for it in samples(found)] == [1, 3]
    assert found.faults == {"json": 1}
    assert [number & 0xFFFFF for number in found.placed.sequences.tolist()] == [0, 2]


@pytest.mark.parametrize("value", [b"", b"\n \n", b"hello\nworld"])
def test_a_record_without_a_line_of_json_is_poison(value: bytes) -> None:
    assert len(decoded(mapped(M, format="ndjson"), value).poison) == 1


# Batches


def batch(**changes: Any) -> bytes:
    base: dict[str, Any] = {
        "instance": 1, "sequence": 2, "ingest_ms": NOW, "keys": [series_key("up", {"host": "a"}), series_key("rx", {})],
        "kinds": np.array([0, 1], np.uint8), "series": np.array([1, 0], np.uint32), "times": np.array([NOW, NOW + 1]), "values": np.array([5.0, 6.0]),
    }  # fmt: skip
    return encode(Batch(**(base | changes)))


def test_batches_of_another_tideboard_are_read() -> None:
    found = decoded(source(format="tideboard", labels={"cluster": "eu"}), batch())
    assert samples(found) == [("rx", {"cluster": "eu"}, 5, 0), ("up", {"host": "a", "cluster": "eu"}, 6, 1)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"XX", "too few for the header"),
        (batch(kinds=np.array([0, 9], np.uint8)), "a series has the kind 9"),
        (batch(keys=[b"up", b"rx"]), "series key does not end"),
        (batch(keys=[b"\xe4\xff", b"rx\xff"]), "is no batch"),
    ],
)
def test_what_is_no_batch_is_poison(value: bytes, reason: str) -> None:
    ((_, why),) = decoded(source(format="tideboard"), value).poison
    assert reason in why


def test_a_name_in_a_batch_that_is_none_is_the_fault_of_its_samples() -> None:
    found = decoded(source(format="tideboard"), batch(keys=[series_key("1up", {}), series_key("rx", {})]))
    assert (len(samples(found)), found.faults) == (1, {"name": 1})


# Starts


def starts(of: Source, *written: object) -> list[tuple[float, int]]:
    """Value of each sample, and since when its counter counts: ms after NOW, or 0."""
    placed = decoded(of, *written).placed
    return [(v, s and s - NOW) for v, s in zip(placed.values.tolist(), placed.starts.tolist(), strict=True)]


def test_the_start_of_a_counter_lies_at_a_path_and_is_read_in_the_unit_of_the_times() -> None:
    counted = M | {"kind": "$.kind", "time": "$.t", "timeUnit": "s", "start": "$.since"}
    base = {"kind": "counter", "t": NOW // 1000}
    found = starts(
        mapped(counted),
        base | {"v": 1, "since": NOW // 1000 - 2},
        base | {"v": 2, "since": "2025-11-22T06:00:00Z"},
        base | {"v": 3, "since": None},
        base | {"v": 4},
        base | {"v": 5, "since": "soon", "kind": "gauge"},
    )
    assert found == [(1, -2_000), (2, 0), (3, 0), (4, 0), (5, 0)]
    assert parse_time("2025-11-22T06:00:00Z") == NOW


def test_a_start_that_no_path_leads_to_is_the_start_of_the_http_door_or_none() -> None:
    one = {"metric": "m", "kind": "counter", "value": 1, "time": NOW, "start": NOW - 7}
    assert starts(source(), one, [one | {"start": "2025-11-22T05:59:59Z"}]) == [(1, -7), (1, -1_000)]
    assert starts(source(format="ndjson"), one) == [(1, -7)]
    assert starts(mapped({"metric": "m", "kind": "counter", "value": "$.value"}), one) == [(1, 0)]


def test_starts_of_a_batch_are_those_of_its_samples() -> None:
    written = batch(kinds=np.array([1, 1], np.uint8), starts=np.array([0, NOW - 9]))
    assert starts(source(format="tideboard"), written, batch()) == [(5, 0), (6, -9), (5, 0), (6, 0)]


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (NOW + 1, "start 1763791200001 is not between 1970 and the time of the sample, 1763791200000"),
        (0, "start 0 is not between 1970"),
        ("soon", "start 'soon' is neither epoch milliseconds nor RFC 3339"),
        (True, "start at $.since is true, expected a number or an RFC 3339 string"),
        (10**30, "expected a number"),
    ],
)
def test_a_start_that_is_none_is_refused_with_its_sample(start: object, reason: str) -> None:
    found = decoded(mapped(M | {"kind": "counter", "start": "$.since"}), {"v": 1, "since": start}, {"v": 2})
    assert ([it[2] for it in samples(found)], found.faults) == ([2], {"time": 1})
    assert reason in found.reasons["time"]


# Places


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["v", "a", "b", "t"]), inner, max_size=3),
    max_leaves=8,
)
READINGS: list[dict[str, Any]] = [
    M,
    {"metric": "$.a", "value": "$.b[*].v", "labels": {"x": "$.b[*]~", "*": "$.a"}, "time": "$.b[*].t"},
    {"metric": "n", "value": "$[*]", "kind": "$.a"},
]


@hypothesis_given(st.lists(st.one_of(values, st.binary(max_size=6)), max_size=6), st.data())
def test_how_records_are_cut_does_not_change_the_samples_nor_their_places(written: list[object], data: st.DataObject) -> None:
    of = mapped(*READINGS)
    records = given(*written, first=5)

    def read(cuts: list[int]) -> list[tuple[Any, ...]]:
        decoder, found = Decoder(of, 4, LIMITS), []
        for begin, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
            part = decoder.decode(records[begin:end], NOW)
            found += [(*it, place) for it, place in zip(map(str, samples(part)), part.placed.sequences.tolist(), strict=True)]
        return found

    whole = read([])
    assert read(sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=3)))) == whole
    places = [place for *_, place in whole]
    assert places == sorted(set(places))
    assert all(5 <= place >> INDEX_BITS < 5 + len(records) for place in places)
