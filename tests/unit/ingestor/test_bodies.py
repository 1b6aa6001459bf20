"""Content types and encodings: what is taken, and that a bomb is never inflated."""

import gzip
import tracemalloc

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.bodies import TooLargeError, UnsupportedError, is_lines, plain
from services.ingestor.samples import BodyError

LIMIT = 1 << 20


def zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


PACK = {"gzip": gzip.compress, "zstd": zstd}


@pytest.mark.parametrize(
    ("content_type", "lines"),
    [
        ("", False),
        ("application/json", False),
        ("Application/JSON; charset=UTF-8", False),
        ('application/json;charset="utf-8"', False),
        ("application/x-ndjson", True),
        ("application/x-ndjson; charset=utf-8", True),
        ("application/jsonl", True),
    ],
)
def test_json_and_lines_are_taken(content_type: str, lines: bool) -> None:
    assert is_lines(content_type) is lines


@pytest.mark.parametrize(
    "content_type", ["text/csv", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json"]
)
def test_other_types_are_not_taken(content_type: str) -> None:
    with pytest.raises(UnsupportedError, match="is not taken, only"):
        is_lines(content_type)


@given(st.binary(max_size=2000))
def test_what_was_compressed_comes_out(data: bytes) -> None:
    wanted = data.removeprefix(b"\xef\xbb\xbf")
    for encoding, pack in PACK.items():
        assert plain(pack(data), encoding, LIMIT) == wanted
    assert plain(data, "", LIMIT) == plain(data, "identity", LIMIT) == wanted


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_the_limit_is_the_last_length_that_is_taken(encoding: str) -> None:
    assert len(plain(PACK[encoding](bytes(1000)), encoding, 1000)) == 1000
    with pytest.raises(TooLargeError, match="more than 1000 bytes after decompression"):
        plain(PACK[encoding](bytes(1001)), encoding, 1000)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_costs_no_more_memory_than_the_limit(encoding: str) -> None:
    bomb = PACK[encoding](bytes(256 << 20))
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            plain(bomb, encoding, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 3 * LIMIT
    finally:
        tracemalloc.stop()


def test_parts_that_were_compressed_one_by_one_are_one_body() -> None:
    assert plain(gzip.compress(b"ab") + gzip.compress(b"cd"), "gzip", LIMIT) == b"abcd"
    assert plain(zstd(b"ab") + zstd(b"cd"), "zstd", LIMIT) == b"abcd"
    with pytest.raises(TooLargeError):
        plain(gzip.compress(bytes(600)) + gzip.compress(bytes(600)), "gzip", 1000)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: b"no" + d, lambda d: d + b"trailing", lambda _: b"plain"])
def test_damaged_bodies_are_refused(encoding: str, damage: object) -> None:
    assert callable(damage)
    with pytest.raises(BodyError, match=encoding):
        plain(damage(PACK[encoding](bytes(range(256)) * 9)), encoding, LIMIT)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_an_empty_body_under_an_encoding_is_no_crash(encoding: str) -> None:
    try:
        assert plain(b"", encoding, LIMIT) == b""
    except BodyError as error:
        assert encoding in str(error)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd", "snappy"])
def test_other_encodings_are_not_taken(encoding: str) -> None:
    with pytest.raises(UnsupportedError, match="only gzip and zstd"):
        plain(b"x", encoding, LIMIT)


def test_a_plain_body_has_the_limit_of_decoded_ones_too() -> None:
    with pytest.raises(TooLargeError):
        plain(bytes(11), "", 10)
