import random
import struct
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.deflate import MIN_BYTES, WINDOW, deflate
from services.gateway.frames import Closed, FrameError, Message, Opcode, Reader, decode_close, encode, encode_close, encode_text
from tests.unit.gateway.masked import frame
from tests.unit.gateway.steady import steady

LIMIT = 8_192


def read(*chunks: bytes, limit: int = LIMIT, deflated: bool = False) -> list[Message]:
    reader = Reader(limit, deflated)
    return [message for chunk in chunks for message in reader.feed(chunk) if message]


def refused(*chunks: bytes, limit: int = LIMIT, deflated: bool = False) -> Closed:
    with pytest.raises(FrameError) as caught:
        read(*chunks, limit=limit, deflated=deflated)
    assert caught.value.reason
    return caught.value.code


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[Message], bytes]:
    """What a client says, and its bytes: messages in fragments, with control frames between them."""
    said: list[Message] = []
    data = b""
    control = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))
    for text in draw(st.lists(st.text(max_size=400), max_size=4)):
        payload = text.encode()
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        pieces = [payload[a:b] for a, b in pairwise([0, *cuts, len(payload)])]
        for at, piece in enumerate(pieces):
            for opcode, content in draw(st.lists(control, max_size=1)):
                said.append((opcode, content))
                data += frame(opcode, content, mask=draw(st.binary(min_size=4, max_size=4)))
            kind = Opcode.TEXT if at == 0 else Opcode.CONTINUATION
            data += frame(kind, piece, fin=at == len(pieces) - 1, mask=draw(st.binary(min_size=4, max_size=4)))
        said.append((Opcode.TEXT, payload))
    return said, data


@steady()
@given(messages(), st.lists(st.integers(0, 5_000), max_size=8))
def test_messages_arrive_whole_however_their_bytes_are_split(spoken: tuple[list[Message], bytes], cuts: list[int]) -> None:
    said, data = spoken
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    assert read(*(data[a:b] for a, b in pairwise(bounds))) == said


@steady()
@given(messages())
def test_messages_arrive_whole_byte_by_byte(spoken: tuple[list[Message], bytes]) -> None:
    said, data = spoken
    assert read(*(data[at : at + 1] for at in range(len(data)))) == said


@steady()
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data)
    except FrameError as error:
        assert error.code in (Closed.PROTOCOL_ERROR, Closed.INVALID_DATA, Closed.TOO_BIG)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_lengths_at_the_edges_go_both_ways(size: int) -> None:
    payload = b"a" * size
    assert read(frame(Opcode.TEXT, payload), limit=70_000) == [(Opcode.TEXT, payload)]
    written = encode_text(payload)
    assert written.endswith(payload)
    assert len(written) - size == (2 if size < 126 else 4 if size < 65_536 else 10)
    assert written[0] == 0x81
    assert not written[1] & 0x80, "a server does not mask"


LONG = "x" * 126
CASES = {
    "a reserved bit": (frame(1, b"x", rsv=4), Closed.PROTOCOL_ERROR),
    "an unknown data opcode": (frame(3), Closed.PROTOCOL_ERROR),
    "an unknown control opcode": (frame(11), Closed.PROTOCOL_ERROR),
    "no mask": (frame(1, b"x", mask=None), Closed.PROTOCOL_ERROR),
    "a long ping": (frame(9, b"x" * 126), Closed.PROTOCOL_ERROR),
    "a fragmented ping": (frame(9, b"", fin=False), Closed.PROTOCOL_ERROR),
    "a continuation of nothing": (frame(0, b"x"), Closed.PROTOCOL_ERROR),
    "a message inside of a message": (frame(1, b"x", fin=False) + frame(1, b"y"), Closed.PROTOCOL_ERROR),
    "a length that could be shorter": (b"\x81\xfe\x00\x05" + b"\0" * 9, Closed.PROTOCOL_ERROR),
    "a long length that could be shorter": (b"\x81\xff" + struct.pack("!Q", 300), Closed.PROTOCOL_ERROR),
    "a length with the highest bit": (b"\x82\xff" + struct.pack("!Q", 1 << 63), Closed.PROTOCOL_ERROR),
    "text that is not UTF-8": (frame(1, b"\xc3\x28"), Closed.INVALID_DATA),
    "text that ends inside of a character": (frame(1, "é".encode()[:1]), Closed.INVALID_DATA),
    "a fragment that cannot become UTF-8": (frame(1, b"x\xf4\x90", fin=False), Closed.INVALID_DATA),
    "a fragment that does not go on with the character": (
        frame(1, b"\xe2", fin=False) + frame(0, b"x", fin=False),
        Closed.INVALID_DATA,
    ),
    "the first bytes of a frame that cannot become UTF-8": (frame(1, b"\xf4\x90" + bytes(100))[:8], Closed.INVALID_DATA),
    "the head of a continuation of nothing": (frame(0, bytes(100))[:2], Closed.PROTOCOL_ERROR),
    "the head of a message inside of a message": (frame(1, b"x", fin=False) + frame(2, b"y")[:2], Closed.PROTOCOL_ERROR),
    "a surrogate": (frame(1, b"\xed\xa0\x80"), Closed.INVALID_DATA),
    "a message of too many bytes": (frame(1, b"x" * (LIMIT + 1))[:10], Closed.TOO_BIG),
    "too many bytes in fragments": (frame(1, b"x" * LIMIT, fin=False) + frame(0, b"x")[:2], Closed.TOO_BIG),
}


@pytest.mark.parametrize(("data", "code"), CASES.values(), ids=CASES)
def test_what_breaks_the_protocol_is_refused_as_soon_as_it_can_be_seen(data: bytes, code: Closed) -> None:
    assert refused(data) == code


def test_what_came_before_a_broken_frame_is_still_heard() -> None:
    heard: list[Message] = []
    with pytest.raises(FrameError):
        heard.extend(filter(None, Reader(LIMIT).feed(frame(1, b"first") + frame(3))))
    assert heard == [(Opcode.TEXT, b"first")]


def test_a_character_may_be_split_between_fragments() -> None:
    euro = "€".encode()
    assert read(frame(1, euro[:1], fin=False), frame(0, euro[1:])) == [(Opcode.TEXT, euro)]


def test_close_frames_carry_code_and_reason() -> None:
    written = encode_close(4000, "bye")
    assert decode_close(written[2:]) == (4000, "bye")
    assert decode_close(b"") == (Closed.NO_STATUS, "")


def test_a_long_reason_is_cut_at_a_character() -> None:
    written = encode_close(4500, "é" * 100)
    assert len(written) <= 127
    assert decode_close(written[2:])[1] == "é" * 61


@pytest.mark.parametrize(
    "payload", [b"\x03", *(struct.pack("!H", code) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000))]
)
def test_close_codes_that_may_not_be_sent_are_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        decode_close(payload)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999])
def test_close_codes_that_may_be_sent_are_read(code: int) -> None:
    assert decode_close(struct.pack("!H", code))[0] == code


def test_a_pong_repeats_its_ping() -> None:
    assert encode(Opcode.PONG, b"hi") == b"\x8a\x02hi"


def test_each_message_has_the_whole_limit_for_itself() -> None:
    whole = frame(1, b"x" * (LIMIT - 1), fin=False) + frame(0, b"x")
    assert len(read(whole, whole, frame(1, b"y" * LIMIT))) == 3


def test_reading_costs_in_proportion_to_what_came() -> None:
    class Counted(bytes):
        copied = 0

        def __getitem__(self, key: Any) -> Any:
            found = super().__getitem__(key)
            if isinstance(found, int):
                return found
            Counted.copied += len(found)
            return Counted(found)

    data = Counted(frame(Opcode.PONG) * 5_000)
    assert len(read(data)) == 5_000
    assert Counted.copied <= 2 * len(data)


PACKED = deflate(b"Hello")
BOMB = deflate(bytes(1_000_000))
ZEROS = bytes(LIMIT)


@pytest.mark.parametrize(
    "chunks",
    [
        [frame(1, PACKED, rsv=4)],
        [frame(1, PACKED[:3], rsv=4, fin=False) + frame(0, PACKED[3:])],
        [frame(1, b"", rsv=4, fin=False) + frame(0, b"", fin=False) + frame(0, PACKED)],
        [frame(1, PACKED, rsv=4, fin=False) + frame(0, b"")],
        [bytes((byte,)) for byte in frame(1, PACKED, rsv=4)],
        [frame(1, b"Hello")],
    ],
    ids=["whole", "in fragments", "after empty fragments", "before an empty fragment", "byte by byte", "not compressed"],
)
def test_a_compressed_message_arrives_as_it_was(chunks: list[bytes]) -> None:
    assert read(*chunks, deflated=True) == [(Opcode.TEXT, b"Hello")]


def test_control_frames_may_come_between_compressed_fragments() -> None:
    spoken = frame(1, PACKED[:2], rsv=4, fin=False) + frame(9, b"!") + frame(0, PACKED[2:])
    assert read(spoken, deflated=True) == [(Opcode.PING, b"!"), (Opcode.TEXT, b"Hello")]


def test_each_compressed_message_stands_alone() -> None:
    assert read(frame(1, PACKED, rsv=4) * 3 + frame(2, b"x"), deflated=True)[2:] == [
        (Opcode.TEXT, b"Hello"),
        (Opcode.BINARY, b"x"),
    ]


def test_a_message_may_fill_the_limit_once_it_is_inflated() -> None:
    assert read(frame(1, deflate(ZEROS), rsv=4), deflated=True) == [(Opcode.TEXT, ZEROS)]
    noise = bytes(random.Random(1).randbytes(LIMIT))
    packed = deflate(noise)
    assert len(packed) > LIMIT
    assert read(frame(2, packed, rsv=4), deflated=True) == [(Opcode.BINARY, noise)]


BLOCKS = b"\x00\x00\x00\xff\xff" * 2_000
"""Empty blocks, which inflate to nothing."""
CASES_DEFLATED = {
    "a compressed ping": (frame(9, b"", rsv=4), Closed.PROTOCOL_ERROR),
    "a compressed close": (frame(8, b"", rsv=4), Closed.PROTOCOL_ERROR),
    "a continuation that says it is compressed": (
        frame(1, PACKED[:2], rsv=4, fin=False) + frame(0, PACKED[2:], rsv=4),
        Closed.PROTOCOL_ERROR,
    ),
    "RSV2": (frame(1, PACKED, rsv=2), Closed.PROTOCOL_ERROR),
    "RSV1 and RSV3": (frame(1, PACKED, rsv=5), Closed.PROTOCOL_ERROR),
    "a bomb": (frame(1, BOMB, rsv=4), Closed.TOO_BIG),
    "a bomb in fragments, before its end": (
        frame(1, BOMB[:5], rsv=4, fin=False) + frame(0, BOMB[5:], fin=False),
        Closed.TOO_BIG,
    ),
    "a lot that inflates to nothing": (frame(1, BLOCKS, rsv=4)[:4], Closed.TOO_BIG),
    "what is not deflated": (frame(1, b"\xff" * 9, rsv=4), Closed.INVALID_DATA),
    "compressed text that is not UTF-8": (frame(1, deflate(b"\xc3\x28"), rsv=4), Closed.INVALID_DATA),
    "compressed text that ends inside of a character": (frame(1, deflate(b"\xc3"), rsv=4), Closed.INVALID_DATA),
}


@pytest.mark.parametrize(("data", "code"), CASES_DEFLATED.values(), ids=CASES_DEFLATED)
def test_what_breaks_the_rules_of_compression_is_refused(data: bytes, code: Closed) -> None:
    assert refused(data, deflated=True) == code


def test_a_long_text_is_compressed_for_those_who_agreed_on_it() -> None:
    payload = b'{"type":"delta"}' * 100
    written = encode_text(payload, deflated=True)
    assert len(written) < len(payload) // 4
    assert written[0] == 0xC1
    assert zlib.decompressobj(-WINDOW).decompress(written[2:] + b"\x00\x00\xff\xff") == payload


@pytest.mark.parametrize("payload", [b"", b"x" * (MIN_BYTES - 1), random.Random(1).randbytes(MIN_BYTES)])
def test_what_gains_nothing_goes_as_it_is(payload: bytes) -> None:
    assert encode_text(payload, deflated=True) == encode_text(payload)
