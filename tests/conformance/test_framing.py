"""RFC 6455 5: frames, pings, reserved bits, opcodes, fragments. What Autobahn's groups 1 to 5 describe, as this server answers it."""

import struct
from itertools import product

import pytest

from tests.conformance.peer import BINARY, PING, PONG, Peer
from tests.conformance.talk import BAD, BYE, Case, Talk, asking, closed, fragments, heard, last, more, pong, text, told
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.masked import frame

NO_ZEROS = bytes(range(1, 126))

FRAMING: dict[str, Case] = {
    "an empty text is a message, though none of the protocol's": (text(b""), [BAD]),
    **{f"a text of {size} bytes": (text(asking(f"n{size}", size)), [heard(f"n{size}")]) for size in (125, 126, 127, 128, 300)},
    "a text of 8,192 bytes": (text(asking("whole", 8_192)), [heard("whole")]),
    "two messages one after the other": (text(asking("a")) + text(asking("b")), [heard("a"), heard("b")]),
    **{
        f"binary of {size} bytes is refused for good": (frame(BINARY, bytes(size)), [closed(4500)])
        for size in (0, 1, 125, 126, 127, 128, 8_192)
    },
    "what came before binary is answered": (text(asking("a")) + frame(BINARY, b"\xfe"), [heard("a"), closed(4500)]),
    "any mask": (b"".join(frame(1, asking(f"m{mask[0]}"), mask=mask) for mask in (bytes(4), b"\xff" * 4, b"\0\xff\0\xff")), [
        heard("m0"), heard("m255"), heard("m0"),
    ]),
    "a frame without a mask": (frame(1, asking("a"), mask=None), [closed(1002)]),
    "a ping without a mask": (frame(PING, b"", mask=None), [closed(1002)]),
    "a length of 16 bits that fits into 7": (b"\x81\xfe" + struct.pack("!H", 125) + bytes(129), [closed(1002)]),
    "a length of 64 bits that fits into 16": (b"\x81\xff" + struct.pack("!Q", 65_535) + bytes(9), [closed(1002)]),
    "a length of 64 bits that fits into 7": (b"\x81\xff" + struct.pack("!Q", 0) + bytes(4), [closed(1002)]),
    "a length with the highest bit": (b"\x81\xff" + struct.pack("!Q", 1 << 63), [closed(1002)]),
    "a length of 2**63 - 1": (b"\x81\xff" + struct.pack("!Q", (1 << 63) - 1), [closed(1009)]),
}  # fmt: skip

PINGS: dict[str, Case] = {
    "an empty ping": (frame(PING), [pong()]),
    "a ping with text": (frame(PING, b"Hello"), [pong(b"Hello")]),
    "a ping with bytes that are no text": (
        frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
        [pong(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")],
    ),
    "a ping of 125 bytes": (frame(PING, NO_ZEROS), [pong(NO_ZEROS)]),
    "a ping of 126 bytes": (frame(PING, bytes(126)), [closed(1002)]),
    "a ping of 70,000 bytes": (frame(PING, bytes(70_000))[:10], [closed(1002)]),
    "a pong that nobody asked for": (frame(PONG), []),
    "a pong with a payload": (frame(PONG, b"unasked"), []),
    "a pong and then a ping": (frame(PONG, b"unasked") + frame(PING, b"p"), [pong(b"p")]),
    "ten pings are answered in order": (
        b"".join(frame(PING, b"%d" % n) for n in range(10)),
        [pong(b"%d" % n) for n in range(10)],
    ),
    "a ping between two messages": (text(asking("a")) + frame(PING) + text(asking("b")), [heard("a"), pong(), heard("b")]),
}

RESERVED: dict[str, Case] = {
    **{f"reserved bits {rsv} of a text": (text(asking("a"), rsv=rsv), [closed(1002)]) for rsv in range(1, 8)},
    **{f"reserved bits {rsv} of a ping": (frame(PING, b"p", rsv=rsv), [closed(1002)]) for rsv in range(1, 8)},
    **{f"reserved bits {rsv} of a close": (frame(8, b"\x03\xe8", rsv=rsv), [closed(1002)]) for rsv in range(1, 8)},
    **{f"reserved bits {rsv} of binary": (frame(BINARY, b"x", rsv=rsv), [closed(1002)]) for rsv in range(1, 8)},
    "reserved bits of a continuation": (text(b"x", fin=False) + frame(0, b"y", rsv=2), [closed(1002)]),
    **{
        f"reserved bits {rsv} after a good message and before a ping": (
            text(asking("a")) + text(asking("b"), rsv=rsv) + frame(PING),
            [heard("a"), closed(1002)],
        )
        for rsv in range(1, 8)
    },
}

OPCODES: dict[str, Case] = {
    f"opcode {opcode} {having}": (before + frame(opcode, payload) + after, [*answers, closed(1002)])
    for opcode, (having, payload, before, answers, after) in product(
        (3, 4, 5, 6, 7, 11, 12, 13, 14, 15),
        [
            ("without a payload", b"", b"", [], b""),
            ("with a payload", b"payload", b"", [], b""),
            ("after a message and a ping", b"", text(asking("a")) + frame(PING), [heard("a"), pong()], b""),
            ("after a message and before a ping", b"", text(asking("a")), [heard("a")], frame(PING)),
            ("with a payload, after a message and before a ping", b"payload", text(asking("a")), [heard("a")], frame(PING)),
        ],
    )
}

WHOLE = asking("fragmented")
FRAGMENTS: dict[str, Case] = {
    "a ping in two fragments": (frame(PING, b"a", fin=False) + last(b"b"), [closed(1002)]),
    "a pong in two fragments": (frame(PONG, b"a", fin=False) + last(b"b"), [closed(1002)]),
    "a close in two fragments": (frame(8, b"\x03", fin=False) + last(b"\xe8"), [closed(1002)]),
    "a text in two fragments": (text(WHOLE[:9], fin=False) + last(WHOLE[9:]), [heard("fragmented")]),
    "a text in fragments of a byte": (fragments(WHOLE, 1), [heard("fragmented")]),
    "a text between empty fragments": (
        text(b"", fin=False) + more(b"") + more(WHOLE) + more(b"") + last(b""),
        [heard("fragmented")],
    ),
    "a text of empty fragments only": (text(b"", fin=False) + more(b"") + last(b""), [BAD]),
    "a ping between fragments is answered at once": (
        text(WHOLE[:9], fin=False) + frame(PING, b"p") + last(WHOLE[9:]),
        [pong(b"p"), heard("fragmented")],
    ),
    "pings and pongs between all fragments": (
        text(WHOLE[:9], fin=False) + frame(PING, b"1") + more(WHOLE[9:11]) + frame(PONG) + frame(PING, b"2") + last(WHOLE[11:]),
        [pong(b"1"), pong(b"2"), heard("fragmented")],
    ),
    "a continuation of nothing": (more(b"x") + text(asking("a")), [closed(1002)]),
    "a last continuation of nothing": (last(b"x") + text(asking("a")), [closed(1002)]),
    "a continuation after a whole message": (text(asking("a")) + last(b"x"), [heard("a"), closed(1002)]),
    "a continuation after a message in fragments": (fragments(WHOLE, 9) + last(b"x"), [heard("fragmented"), closed(1002)]),
    "a continuation after a message in fragments, and another message": (
        fragments(WHOLE, 20) + more(b"x") + text(asking("b")),
        [heard("fragmented"), closed(1002)],
    ),
    **{
        f"twice a {what} of nothing and a message in fragments": ((begin + fragments(WHOLE, 20)) * 2, [closed(1002)])
        for what, begin in (("continuation", more(b"x")), ("last continuation", last(b"x")))
    },
    "a text inside of a text": (text(b"a", fin=False) + text(b"b"), [closed(1002)]),
    "a text in fragments inside of a text": (text(b"a", fin=False) + text(b"b", fin=False) + last(b"c"), [closed(1002)]),
    "binary inside of a text": (text(b"a", fin=False) + frame(BINARY, b"b"), [closed(1002)]),
    "binary in fragments": (frame(BINARY, b"a", fin=False) + frame(PING) + last(b"b"), [pong(), closed(4500)]),
    "two messages in fragments": (fragments(WHOLE, 9) + fragments(asking("b"), 5), [heard("fragmented"), heard("b")]),
    "a close inside of a message": (text(b"a", fin=False) + frame(8, b"\x03\xe8"), [closed(1000)]),
}


@pytest.mark.parametrize("case", FRAMING.values(), ids=FRAMING)
def test_frames_are_read_as_they_are_written(talk: Talk, case: Case) -> None:
    talk.holds(case)


@pytest.mark.parametrize("case", PINGS.values(), ids=PINGS)
def test_pings_are_answered_with_what_they_carry(talk: Talk, case: Case) -> None:
    talk.holds(case)


@pytest.mark.parametrize("case", RESERVED.values(), ids=RESERVED)
def test_reserved_bits_mean_nothing_until_they_are_agreed_on(talk: Talk, case: Case) -> None:
    talk.holds(case)


@pytest.mark.parametrize("case", OPCODES.values(), ids=OPCODES)
def test_reserved_opcodes_fail_the_connection(talk: Talk, case: Case) -> None:
    talk.holds(case)


@pytest.mark.parametrize("case", FRAGMENTS.values(), ids=FRAGMENTS)
def test_fragments_are_put_together(talk: Talk, case: Case) -> None:
    talk.holds(case)


def test_a_ping_between_fragments_is_answered_before_the_rest_of_the_message_is_there(
    talk: Talk, gateway: GatewayProcess
) -> None:
    pieces = [WHOLE[at : at + 12] for at in range(0, len(WHOLE), 12)]
    with Peer(gateway.port, talk.step) as peer:
        peer.open()
        peer.send(text(pieces[0], fin=False) + more(pieces[1]) + frame(PING, b"1"))
        assert told(peer.hear()) == pong(b"1")
        peer.send(b"".join(more(piece) for piece in pieces[2:-1]) + frame(PING, b"2"))
        assert told(peer.hear()) == pong(b"2")
        peer.send(last(pieces[-1]) + BYE)
        assert [told(each) for each in peer.all()] == [heard("fragmented"), closed(1000)]
