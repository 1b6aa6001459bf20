"""The client's side of RFC 6455 against the gateway's own, and against the RFC's examples."""

import base64
import random

import pytest

from services.check.frames import ClosedError, Reader, accepts, encode_text, request
from services.gateway import frames as server

KEY = base64.b64decode("dGhlIHNhbXBsZSBub25jZQ==")
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_rfcs_example_of_a_handshake_is_agreed_to() -> None:
    assert accepts(AGREED, KEY)


@pytest.mark.parametrize(
    "head", [AGREED.replace(b"s3p", b"S3p"), AGREED.replace(b"101", b"401"), b"HTTP/1.1 101 Switching Protocols", b""]
)
def test_any_other_answer_is_not(head: bytes) -> None:
    assert not accepts(head, KEY)


def test_a_request_carries_the_token_where_there_is_one() -> None:
    assert b"\r\nAuthorization: Bearer abc\r\n" in request("host:80", "/live", KEY, "a", "abc")
    assert b"Authorization" not in request("host:80", "/live", KEY, "a", "")
    assert b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in request("host:80", "/live", KEY, "a", "")


def test_the_rfcs_example_of_a_masked_frame() -> None:
    assert encode_text(b"Hello", bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_messages_of_every_length_form_are_read_in_any_pieces(length: int) -> None:
    messages = [b"a" * length, b"b"]
    wire = b"".join(server.encode_text(message) for message in messages)
    reader, found, at = Reader(), list[bytes](), 0
    draw = random.Random(length)
    while at < len(wire):
        step = draw.choice((1, 2, 7, 50_000))
        found += reader.feed(wire[at : at + step])
        at += step
    assert found == messages


def test_fragments_make_one_message_and_a_ping_between_them_is_answered() -> None:
    reader = Reader()
    wire = bytes([0x01, 2]) + b"he" + server.encode(server.Opcode.PING, b"?") + bytes([0x80, 3]) + b"llo"
    assert list(reader.feed(wire)) == [b"hello"]
    assert bytes(reader.owed) == bytes([0x8A, 0x81]) + bytes(4) + b"?"


@pytest.mark.parametrize(
    ("frame", "said"), [(server.encode_close(4004, "token_ended"), "4004 token_ended"), (b"\x88\x00", "1005")]
)
def test_an_end_is_told_with_its_reason(frame: bytes, said: str) -> None:
    with pytest.raises(ClosedError, match=said):
        list(Reader().feed(frame))
