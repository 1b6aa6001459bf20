"""Series keys: canonical, unambiguous, and back again."""

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.series import (
    MAX_LABEL_NAME_BYTES,
    MAX_LABEL_VALUE_BYTES,
    MAX_LABELS,
    MAX_METRIC_BYTES,
    name_fault,
    parse_series_key,
    partition_of,
    series_key,
)

METRICS = st.from_regex(r"[A-Za-z_:][A-Za-z0-9_:.]{0,20}", fullmatch=True)
LABELS = st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,10}", fullmatch=True), st.text(max_size=20), max_size=6)


def test_a_key_is_metric_and_sorted_labels_with_their_separators() -> None:
    assert series_key("up", {"b": "2", "a": "ä"}) == b"up\xffa\xfe\xc3\xa4\xffb\xfe2\xff"


@given(METRICS, LABELS)
def test_a_key_says_what_it_was_made_of(metric: str, labels: dict[str, str]) -> None:
    present = {name: value for name, value in labels.items() if value}
    assert parse_series_key(series_key(metric, labels)) == (metric, present)


@given(METRICS, LABELS, st.data())
def test_the_order_of_labels_does_not_matter(metric: str, labels: dict[str, str], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(labels.items()))))
    assert series_key(metric, shuffled) == series_key(metric, labels)


@given(st.tuples(METRICS, LABELS), st.tuples(METRICS, LABELS))
def test_different_series_have_different_keys(one: tuple[str, dict[str, str]], other: tuple[str, dict[str, str]]) -> None:
    same = one[0] == other[0] and {k: v for k, v in one[1].items() if v} == {k: v for k, v in other[1].items() if v}
    assert (series_key(*one) == series_key(*other)) == same


@pytest.mark.parametrize("key", [b"", b"up", b"up\xffa\xfe1", b"up\xffa\xff", b"\x80\xff"])
def test_bytes_that_are_no_key_are_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"series key|utf-8"):
        parse_series_key(key)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_key_or_a_value_error(data: bytes) -> None:
    try:
        parse_series_key(data)
    except ValueError:
        return


def test_a_partition_is_crc_32_of_the_key() -> None:
    key = series_key("up", {"host": "a"})
    assert partition_of(key, 4) == crc32(key) % 4
    assert [partition_of(b"123456789", n) for n in (1, 7, 1000)] == [0, 0xCBF43926 % 7, 0xCBF43926 % 1000]


GOOD = [
    ("up", {}),
    ("http.server:requests_total", {"http.route": "/"}),
    ("m" * MAX_METRIC_BYTES, {"l" * MAX_LABEL_NAME_BYTES: "v" * MAX_LABEL_VALUE_BYTES}),
    ("m", {f"l{i}": "v" for i in range(MAX_LABELS)}),
    ("m", {"l": ""}),
]
BAD = [
    ("", {}, "is not a name"),
    ("9a", {}, "is not a name"),
    (".a", {}, "is not a name"),
    ("a b", {}, "is not a name"),
    ("a\n", {}, "is not a name"),
    ("ä", {}, "is not a name"),
    ("m" * (MAX_METRIC_BYTES + 1), {}, "257 bytes"),
    ("m", {f"l{i}": "v" for i in range(MAX_LABELS + 1)}, "33 labels"),
    ("m", {"a-b": "v"}, "label 'a-b'"),
    ("m", {"": "v"}, "label ''"),
    ("m", {"l" * (MAX_LABEL_NAME_BYTES + 1): "v"}, "129 bytes"),
    ("m", {"l": "ä" * 513}, "1026 bytes"),
]


@pytest.mark.parametrize(("metric", "labels"), GOOD)
def test_a_name_that_is_one_has_no_fault(metric: str, labels: dict[str, str]) -> None:
    assert name_fault(metric, labels) is None


@pytest.mark.parametrize(("metric", "labels", "reason"), BAD)
def test_a_name_that_is_none_is_told_why(metric: str, labels: dict[str, str], reason: str) -> None:
    fault = name_fault(metric, labels)
    assert fault is not None
    assert reason in fault
