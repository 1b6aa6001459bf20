"""RFC 7692: what Autobahn's groups 12 and 13 describe. All combinations of parameters, and messages of all sizes in all fragments, compressed by zlib."""

import random
import zlib
from itertools import product

import pytest

from tests.conformance.peer import BINARY, CLOSE, PING, PONG, Peer
from tests.conformance.talk import (
    BAD,
    BYE,
    DEFLATE,
    LARGE,
    Case,
    Talk,
    asking,
    closed,
    fragments,
    heard,
    last,
    more,
    pong,
    text,
)  # fmt: skip
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.masked import frame

RSV1 = 4
NOISE = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=7_900))


def packed(message: bytes, level: int = 6, window: int = 15, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -window)
    data = packer.compress(message) + packer.flush(flush)
    return data[:-4] if flush == zlib.Z_SYNC_FLUSH else data


def noisy(name: str) -> bytes:
    """A message of nearly the full size that does not get much smaller."""
    return asking(name).replace(b'"pad": ""', b'"pad": "' + NOISE.encode() + b'"')


SIZES = (16, 64, 256, 1_024, 4_096, 8_192)
CASES: dict[str, Case] = {
    **{f"{size} bytes": (text(packed(asking("z", size)), rsv=RSV1), [heard("z")]) for size in SIZES},
    **{
        f"{size} bytes in fragments of {pieces}": (fragments(packed(asking("z", size)), pieces, rsv=RSV1), [heard("z")])
        for size, pieces in product(SIZES, (1, 7, 64))
    },
    **{f"noise at level {level}": (text(packed(noisy("z"), level), rsv=RSV1), [heard("z")]) for level in (0, 1, 9)},
    **{f"noise in a window of {bits} bits": (text(packed(noisy("z"), 6, bits), rsv=RSV1), [heard("z")]) for bits in range(9, 16)},
    "noise in fragments of 1,000 bytes": (fragments(packed(noisy("z")), 1_000, rsv=RSV1), [heard("z")]),
    "a hundred messages": (b"".join(text(packed(asking(f"z{n}")), rsv=RSV1) for n in range(60)), [heard(f"z{n}") for n in range(60)]),
    "an empty message": (text(b"\x00", rsv=RSV1), [BAD]),
    "no bytes at all": (text(b"", rsv=RSV1), [BAD]),
    "empty fragments around it": (
        text(b"", fin=False, rsv=RSV1) + more(b"") + more(packed(asking("z"))) + last(b""),
        [heard("z")],
    ),
    "not every message is compressed": (text(asking("a")) + text(packed(asking("z")), rsv=RSV1) + text(asking("b")), [
        heard("a"), heard("z"), heard("b"),
    ]),
    "a message of several blocks": (
        text(packed(b'{"type":"subscribe",') + b"\x00\x00\xff\xff" + packed(b'"dashboard":"z"}'), rsv=RSV1),
        [heard("z")],
    ),
    "a message that ends with BFINAL": (text(packed(asking("z"), flush=zlib.Z_FINISH) + b"\x00", rsv=RSV1), [heard("z")]),
    "a message that ends with BFINAL and nothing after it": (text(packed(asking("z"), flush=zlib.Z_FINISH), rsv=RSV1), [heard("z")]),
    "a message with BFINAL in its middle": (
        text(packed(b'{"type":"subscribe",', flush=zlib.Z_FINISH) + packed(b'"dashboard":"z"}'), rsv=RSV1),
        [heard("z")],
    ),
    "a ping between compressed fragments": (
        text(packed(asking("z"))[:9], fin=False, rsv=RSV1) + frame(PING, b"p") + last(packed(asking("z"))[9:]),
        [pong(b"p"), heard("z")],
    ),
    "compressed binary": (frame(BINARY, packed(b"binary"), rsv=RSV1), [closed(4500)]),
    "a bomb": (text(packed(bytes(5_000_000)), rsv=RSV1), [closed(1009)]),
    "a bomb of one byte too many": (text(packed(asking("z", 8_193)), rsv=RSV1), [closed(1009)]),
    "a bomb in fragments": (fragments(packed(bytes(5_000_000)), 20, rsv=RSV1), [closed(1009)]),
    "more than the limit although compressed": (text(packed(random.Random(2).randbytes(20_000)), rsv=RSV1), [closed(1009)]),
    "blocks of nothing without end": (text(b"\x00\x00\x00\xff\xff" * 4_000, rsv=RSV1), [closed(1009)]),
    "what is not deflated": (text(b"\xff\xff\xff", rsv=RSV1), [closed(1007)]),
    "a stored block whose length is wrong": (text(b"\x00\x05\x00\x05\x00Hello", rsv=RSV1), [closed(1007)]),
    "a distance before the message": (text(packed(asking("z")), rsv=RSV1) + text(b"\x02\x84\x00", rsv=RSV1), [heard("z"), closed(1007)]),
    "text that is not UTF-8": (text(packed(b"\xce\xba\xf4\x90\x80\x80"), rsv=RSV1), [closed(1007)]),
    "text that is not UTF-8, before the message ends": (text(packed(b"\xff" + bytes(500)), fin=False, rsv=RSV1), [closed(1007)]),
    "text that ends inside of a character": (text(packed(b"\xe2\x82"), rsv=RSV1), [closed(1007)]),
    "RSV1 of a ping": (frame(PING, packed(b"p"), rsv=RSV1), [closed(1002)]),
    "RSV1 of a pong": (frame(PONG, packed(b"p"), rsv=RSV1), [closed(1002)]),
    "RSV1 of a close": (frame(CLOSE, b"\x03\xe8", rsv=RSV1), [closed(1002)]),
    "RSV1 of a continuation": (
        text(packed(asking("z"))[:9], fin=False, rsv=RSV1) + frame(0, packed(asking("z"))[9:], rsv=RSV1),
        [closed(1002)],
    ),
    "RSV1 of a continuation only": (text(b"{", fin=False) + frame(0, b"}", rsv=RSV1), [closed(1002)]),
    **{f"reserved bits {rsv}": (text(packed(asking("z")), rsv=rsv), [closed(1002)]) for rsv in (1, 2, 3, 5, 6, 7)},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_compressed_messages_are_read(talk: Talk, case: Case) -> None:
    talk.holds(case, deflated=True)


def test_compression_is_refused_where_it_was_not_agreed_on(talk: Talk) -> None:
    talk.holds((text(packed(asking("z")), rsv=RSV1), [closed(1002)]))


# Every combination of what the four parameters may be; "" leaves one out, None gives it without a value.
SERVER_BITS = ("", *map(str, range(8, 16)))
CLIENT_BITS = ("", None, "8", "9", "12", "15")
FLAGS = (False, True)


def offer(server_bits: str, client_bits: str | None, server_fresh: bool, client_fresh: bool) -> str:
    words = ["permessage-deflate"]
    words += [f"server_max_window_bits={server_bits}"] if server_bits else []
    words += (
        ["client_max_window_bits"] if client_bits is None else [f"client_max_window_bits={client_bits}"] if client_bits else []
    )
    words += ["server_no_context_takeover"] if server_fresh else []
    words += ["client_no_context_takeover"] if client_fresh else []
    return "; ".join(words)


OFFERS = [
    (offer(server, client, *fresh), "" if server and int(server) < 12 else f"{DEFLATE}; server_max_window_bits=12" if server else DEFLATE)
    for server, client, *fresh in product(SERVER_BITS, CLIENT_BITS, FLAGS, FLAGS)
]  # fmt: skip


@pytest.mark.parametrize(("offered", "answer"), OFFERS, ids=[offered for offered, _ in OFFERS])
def test_every_offer_is_answered_and_then_kept(gateway: GatewayProcess, offered: str, answer: str) -> None:
    with Peer(gateway.port) as peer:
        assert peer.open(**{"Sec-WebSocket-Extensions": offered}).headers.get("sec-websocket-extensions", "") == answer
        said = text(packed(noisy("z"), window=9), rsv=RSV1) if answer else text(noisy("z"))
        peer.send(said + text(asking("plain")) + BYE)
        assert [frame.message["dashboard"] for frame in peer.all()[:-1]] == ["z", "plain"]


SEVERAL = {
    "the first that can be taken": ("permessage-deflate; server_max_window_bits=9, permessage-deflate", DEFLATE),
    "not the last": (
        "permessage-deflate; server_max_window_bits=13, permessage-deflate",
        f"{DEFLATE}; server_max_window_bits=12",
    ),
    "none of two": ("permessage-deflate; server_max_window_bits=9, permessage-deflate; client_max_window_bits=7", ""),
    "another extension besides": ("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", DEFLATE),
}


@pytest.mark.parametrize(("offered", "answer"), SEVERAL.values(), ids=SEVERAL)
def test_of_several_offers_one_is_taken(gateway: GatewayProcess, offered: str, answer: str) -> None:
    with Peer(gateway.port) as peer:
        assert peer.open(**{"Sec-WebSocket-Extensions": offered}).headers.get("sec-websocket-extensions", "") == answer


def test_what_the_server_compresses_fits_into_the_window_and_stands_alone(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.open(**{"Sec-WebSocket-Extensions": "permessage-deflate; server_max_window_bits=12"})
        for _ in range(2):
            peer.send(text(b'{"type":"subscribe","dashboard":"%b"}' % LARGE.encode()))
            while (frame := peer.hear()).message["type"] != "snapshot":
                pass
            assert frame.compressed
            assert len(frame.payload) < len(frame.text) // 2
