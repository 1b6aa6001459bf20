import contextlib
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.deflate import (
    WINDOW,
    ExtensionsError,
    InflateError,
    Inflater,
    deflate,
    negotiate,
    offers,
)
from tests.unit.gateway.steady import steady

BASE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

ACCEPTED = {
    "nothing asked for": ("permessage-deflate", BASE),
    "as Chromium offers": ("permessage-deflate; client_max_window_bits", BASE),
    "as the websockets library offers": (
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        f"{BASE}; server_max_window_bits=12",
    ),
    "no context takeover": ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", BASE),
    "the largest window": ("permessage-deflate; server_max_window_bits=15", f"{BASE}; server_max_window_bits=12"),
    "a window of 14 bits": (
        "permessage-deflate; server_max_window_bits=14",
        f"{BASE}; server_max_window_bits=12",
    ),
    "a window of the client's": ("permessage-deflate; client_max_window_bits=8", BASE),
    "a quoted value": ('permessage-deflate; server_max_window_bits="12"', f"{BASE}; server_max_window_bits=12"),
    "a quoted value with an escape": (
        r'permessage-deflate; server_max_window_bits="1\5"',
        f"{BASE}; server_max_window_bits=12",
    ),
    "no blanks": ("permessage-deflate;client_max_window_bits;server_no_context_takeover", BASE),
    "many blanks": (" permessage-deflate \t;  client_max_window_bits = 9 ; server_no_context_takeover ", BASE),
    "another extension first": ("x-webkit-deflate-frame, permessage-deflate", BASE),
    "the second offer after one of a window that is too small": (
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        BASE,
    ),
    "the second offer after one with an unknown parameter": ("permessage-deflate; mux=1, permessage-deflate", BASE),
    "empty elements of the list": (", ,permessage-deflate,", BASE),
}


@pytest.mark.parametrize(("offer", "answer"), ACCEPTED.values(), ids=ACCEPTED)
def test_an_offer_that_can_be_taken_is_answered_as_the_rfc_says(offer: str, answer: str) -> None:
    assert negotiate([offer]) == answer


DECLINED = {
    "none": "",
    "another extension": "permessage-bzip2",
    "a name in another case": "Permessage-Deflate",
    "an unknown parameter": "permessage-deflate; level=9",
    "a parameter twice": "permessage-deflate; client_max_window_bits; client_max_window_bits=15",
    "a flag twice": "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "a flag with a value": "permessage-deflate; server_no_context_takeover=1",
    "a client's flag with a value": "permessage-deflate; client_no_context_takeover=true",
    "a server's window without a value": "permessage-deflate; server_max_window_bits",
    "a window that is too large": "permessage-deflate; server_max_window_bits=16",
    "a window that no zlib has": "permessage-deflate; server_max_window_bits=8",
    "a window that is too small for two": "permessage-deflate; server_max_window_bits=11",
    "a client's window that is too small": "permessage-deflate; client_max_window_bits=7",
    "a leading zero": "permessage-deflate; server_max_window_bits=012",
    "a sign": "permessage-deflate; server_max_window_bits=+12",
    "a word": "permessage-deflate; server_max_window_bits=twelve",
}


@pytest.mark.parametrize("offer", DECLINED.values(), ids=DECLINED)
def test_what_cannot_be_taken_is_declined_and_the_connection_goes_on_without(offer: str) -> None:
    assert negotiate([offer]) == ""


MALFORMED = {
    "a value without a name": "=1",
    "a parameter without a name": "permessage-deflate; =1",
    "an empty parameter": "permessage-deflate;",
    "a value that is missing": "permessage-deflate; server_max_window_bits=",
    "two names": "permessage deflate",
    "a quote that is not closed": 'permessage-deflate; server_max_window_bits="12',
    "an empty quoted value": 'permessage-deflate; server_max_window_bits=""',
    "a quoted value that is no token": 'permessage-deflate; server_max_window_bits="1 2"',
    "a letter that is no token": "permessage-deflate; ä",
    "anything after a good offer": "permessage-deflate, @",
}


@pytest.mark.parametrize("header", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_header_is_an_error(header: str) -> None:
    with pytest.raises(ExtensionsError, match="Sec-WebSocket-Extensions"):
        negotiate([header])


def test_offers_may_come_in_several_lines() -> None:
    lines = ["permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=13"]
    assert negotiate(lines) == f"{BASE}; server_max_window_bits=12"


def test_offers_are_read_in_order() -> None:
    assert list(offers(['a; b; c=d; e="f"', "g"])) == [("a", [("b", None), ("c", "d"), ("e", "f")]), ("g", [])]


@steady()
@given(st.lists(st.text(alphabet='permessage-deflate;=", \t\\12', max_size=60), max_size=3))
def test_any_header_is_read_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(ExtensionsError):
        assert negotiate(lines) in ("", BASE, f"{BASE}; server_max_window_bits=12")


def inflated(data: bytes, room: int = 1 << 20, step: int = 1 << 20) -> bytes:
    inflater, out = Inflater(), b""
    for at in range(0, len(data), step):
        out += inflater.feed(data[at : at + step], room - len(out))
    return out + inflater.end(room - len(out))


@steady()
@given(payload=st.binary(max_size=20_000) | st.text(max_size=5_000).map(str.encode), step=st.integers(1, 500))
def test_what_is_compressed_comes_out_again_in_any_parts(payload: bytes, step: int) -> None:
    assert inflated(deflate(payload), step=step) == payload


@pytest.mark.parametrize("distance", [4_000, 4_096, 4_097, 8_192, 40_000])
def test_nothing_is_compressed_with_more_than_the_window(distance: int) -> None:
    payload = random.Random(1).randbytes(distance) * 3
    for_window = zlib.decompressobj(-WINDOW)
    assert for_window.decompress(deflate(payload) + b"\x00\x00\xff\xff") == payload


EXAMPLES = {
    "one block": bytes.fromhex("f248cdc9c90700"),
    "no compression": bytes.fromhex("000500faff48656c6c6f00"),
    "a block with BFINAL": bytes.fromhex("f348cdc9c9070000"),
    "two blocks": bytes.fromhex("f24805000000ffffcac9c90700"),
}


@pytest.mark.parametrize("data", EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_the_examples_of_the_rfc_say_hello(data: bytes, step: int) -> None:
    assert inflated(data, step=step) == b"Hello"


def test_an_empty_message_may_be_one_byte() -> None:
    assert inflated(b"\x00") == b""


def test_no_more_is_inflated_than_there_is_room_for() -> None:
    bomb = deflate(bytes(10_000_000))
    assert len(bomb) < 20_000
    assert len(Inflater().feed(bomb, 100)) == 100


@pytest.mark.parametrize("data", [b"\xff", b"Hello, this is not deflated", bytes.fromhex("f248cdc9c907ff")])
def test_what_is_not_deflated_data_is_an_error(data: bytes) -> None:
    with pytest.raises(InflateError):
        inflated(data)
