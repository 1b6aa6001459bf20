"""Bodies to rows: one bad sample never harms the others, and everything that is wrong is told."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.samples import BodyError, Rows, Sample, decode_json, decode_lines

GOOD = b'{"metric":"up","value":1}'


def plain(rows: Rows) -> list[tuple[str, float, bytes, object, str] | str]:
    return [
        rows.faults[index].reason
        if index in rows.faults
        else (sample.metric, sample.value, bytes(sample.labels), sample.time, sample.kind)
        for index, sample in enumerate(rows.samples)
    ]


UP = ("up", 1.0, b"{}", None, "gauge")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (GOOD, [UP]),
        (b" \r\n" + GOOD + b"\n", [UP]),
        (b"[" + GOOD + b"," + GOOD + b"]", [UP, UP]),
        (GOOD + b"\n" + GOOD, [UP, UP]),
        (GOOD + b"\r\n\r\n" + GOOD + b"\r\n", [UP, UP]),
        (b'{\n "metric": "up",\n "value": 1\n}', [UP]),
        (b"[]", []),
        (
            b'{"metric":"a","value":-1.5,"labels":{"x": "1"},"time":5,"kind":"delta","more":[{}]}',
            [("a", -1.5, b'{"x": "1"}', 5, "delta")],
        ),
        (b'{"metric":"a","value":1,"labels":null,"time":null}', [("a", 1.0, b"null", None, "gauge")]),
        (b'{"metric":"a","value":1208925819614629174706176}', [("a", 2.0**80, b"{}", None, "gauge")]),
    ],
)
def test_what_is_json_is_taken_in_each_of_its_shapes(body: bytes, expected: object) -> None:
    assert plain(decode_json(body)) == expected


def test_lines_that_are_announced_as_lines_are_taken() -> None:
    assert plain(decode_lines(GOOD + b"\n\n" + GOOD + b"\n")) == [UP, UP]


FAULTS = [
    (b'{"metric":"a","value":NaN}', "value", "value is NaN"),
    (b'{"metric":"a","value":-Infinity}', "value", "value is infinite"),
    (b'{"metric":"a","value":1e999}', "value", "value is infinite or too large"),
    (b'{"metric":"a","value":"7"}', "value", 'value is the string "7", expected a number'),
    (b'{"metric":"a","value":"NaN"}', "value", 'value is the string "NaN", expected a number'),
    (b'{"metric":"a","value":true}', "value", "value is true, expected a number"),
    (b'{"metric":"a","value":null}', "value", "value is null, expected a number"),
    (b'{"metric":"a","value":[1]}', "value", "value is a list, expected a number"),
    (b'{"metric":"a"}', "shape", "value is missing"),
    (b'{"value":1}', "shape", "metric is missing"),
    (b'{"metric":7,"value":1}', "name", "metric is a number, expected a string"),
    (b'{"metric":"a","value":1,"time":true}', "time", "time is true, expected epoch milliseconds or an RFC 3339 string"),
    (b'{"metric":"a","value":1,"time":{}}', "time", "time is an object"),
    (b'{"metric":"a","value":1,"kind":3}', "kind", "kind is a number, expected a string"),
    (b'{"metric":"a","value":1,"kind":null}', "kind", "kind is null, expected a string"),
]


@pytest.mark.parametrize(("item", "code", "reason"), FAULTS)
def test_a_faulty_sample_is_told_why_and_leaves_its_neighbours_alone(item: bytes, code: str, reason: str) -> None:
    for rows in (decode_json(b"[" + GOOD + b"," + item + b"," + GOOD + b"]"), decode_lines(b"\n".join([GOOD, item, GOOD]))):
        assert list(rows.faults) == [1]
        assert rows.faults[1].code == code
        assert rows.faults[1].reason.startswith(reason)
        assert [rows.samples[0].metric, rows.samples[2].metric] == ["up", "up"]


@pytest.mark.parametrize("item", [b"7", b'"up"', b"null", b"[]", b"NaN"])
def test_an_item_that_is_no_object_is_that_items_fault(item: bytes) -> None:
    rows = decode_json(b"[" + GOOD + b"," + item + b"]")
    assert list(rows.faults) == [1]
    assert rows.faults[1].reason.endswith("expected an object")


def test_a_broken_line_is_that_lines_fault_and_says_where() -> None:
    rows = decode_json(GOOD + b'\n{"metric":"a","value":x}\n{"metric":\n' + GOOD)
    assert list(rows.faults) == [1, 2]
    assert rows.faults[1].reason == "JSON is malformed: invalid character at byte 22 (line 1, column 23)"
    assert "at byte 10" in rows.faults[2].reason
    assert len(rows.samples) == 4


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n ", "the body is empty"),
        (b"[" + GOOD + b",]", "at byte 27 (line 1, column 28)"),
        (b"[" + GOOD + b",\n {]", "at byte 30 (line 2, column 3)"),
        (b'{\n"metric":"a",\n"value":x}', "at byte 24 (line 3, column 9)"),
        (b'{"metric"', "at byte 9 (line 1, column 10)"),
        (b"hello", "JSON is malformed"),
        (b"7", "neither an object, nor a list of objects"),
        (b'"up"', "neither an object, nor a list of objects"),
        (b"[" * 100_000, "JSON is malformed"),
        (b'[{"metric":"a","value":NaN},]', "JSON is malformed"),
    ],
)
def test_a_body_that_is_broken_is_refused_whole_with_the_place(body: bytes, reason: str) -> None:
    with pytest.raises(BodyError) as error:
        decode_json(body)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    "item",
    [b'{"metric":"a","value":1,"x":' + b"[" * 100_000, b'{"metric":"\xff","value":1}', b'{"metric":"a\\ud800","value":1}'],
)
def test_a_line_that_is_no_text_or_too_deep_is_that_lines_fault(item: bytes) -> None:
    rows = decode_lines(GOOD + b"\n" + item)
    assert list(rows.faults) == [1]
    assert rows.faults[1].code == "json"


def test_an_item_of_a_list_that_is_no_text_is_that_items_fault() -> None:
    rows = decode_json(b"[" + GOOD + b',{"metric":"\xff","value":1}]')
    assert rows.faults[1].reason == "JSON is malformed: not UTF-8"
    assert list(rows.faults) == [1]


def test_a_nan_next_to_a_label_that_is_no_text_harms_nobody() -> None:
    rows = decode_json(b'[{"metric":"a","value":NaN},{"metric":"b","value":1,"labels":{"x":"\\ud800"}},' + GOOD + b"]")
    assert {index: fault.code for index, fault in rows.faults.items()} == {0: "value", 1: "labels"}
    assert rows.samples[2].metric == "up"


def test_labels_of_another_shape_are_judged_later_also_next_to_an_item_that_only_the_lenient_reader_takes() -> None:
    odd = b'{"metric":"a","value":1,"labels":[]}'
    for rows in (decode_json(b"[" + odd + b',{"metric":"b","value":Infinity}]'), decode_json(b"[" + odd + b"]")):
        assert 0 not in rows.faults
        assert rows.samples[0].labels == msgspec.Raw(b"[]")


ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SAMPLES = st.fixed_dictionaries(
    {"metric": st.text(max_size=8) | ITEMS, "value": st.floats() | st.integers() | ITEMS},
    optional={"labels": ITEMS, "time": ITEMS, "kind": ITEMS, "more": ITEMS},
)


@given(st.lists(SAMPLES | ITEMS, min_size=1, max_size=5))
def test_whatever_is_sent_every_item_gets_a_verdict_and_list_and_lines_agree(items: list[object]) -> None:
    lines = decode_lines("\n".join(json.dumps(item) for item in items).encode())
    assert len(lines.samples) == len(items)
    for index, item in enumerate(items):
        if index not in lines.faults:
            assert isinstance(item, dict)
            assert lines.samples[index].metric == item["metric"]
            assert lines.samples[index].value == float(item["value"])
    try:
        whole = decode_json(json.dumps(items).encode())
    except BodyError:
        return
    assert set(whole.faults) <= set(lines.faults)


@given(st.binary(max_size=60))
def test_any_bytes_are_rows_or_a_body_error(body: bytes) -> None:
    for decode in (decode_json, decode_lines):
        try:
            rows = decode(body)
        except BodyError:
            continue
        assert all(isinstance(sample, Sample) for sample in rows.samples)


def test_labels_are_not_looked_into() -> None:
    rows = decode_lines(b'{"metric":"a","value":1,"labels":{"x":[1,{}]}}')
    assert not rows.faults
    assert rows.samples[0].labels == msgspec.Raw(b'{"x":[1,{}]}')
