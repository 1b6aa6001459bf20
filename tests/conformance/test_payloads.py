"""Compressed messages of all sizes and fragments of Autobahn's groups 12 (five kinds of content) and 13 (seven offers).

Autobahn sends a thousand messages of each and hears them again; here some are sent and answered by a name that is at their end. What is
binary there is refused, and so is what is larger than a client's messages may be before compression.
"""

import json
import random
import zlib
from collections.abc import Callable

import pytest

from tests.conformance.peer import BINARY, TEXT, Peer
from tests.conformance.talk import BAD, BYE, DEFLATE, Told, asking, closed, heard, told
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.masked import frame

LIMIT = 8_192
TIMES = 25
NAMES = 10
ROWS = [
    *((size, 0) for size in (16, 64, 256, 1_024, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072)),
    *((size, 256) for size in (8_192, 16_384, 32_768, 65_536, 131_072)),
    *((131_072, fragment) for fragment in (1_024, 4_096, 32_768)),
]
"""(size of a message before compression, bytes of its fragments after it, 0: one frame)."""
LARGEST = 131_072


def _json(chance: random.Random) -> bytes:
    return "".join(f"{{id: {n}, value: {chance.random():.6f}, ok: true}}, " for n in range(4_000)).encode()


def _picture(chance: random.Random) -> bytes:
    return bytes((x // 3 + y // 2 + chance.randrange(4)) & 0xFF for y in range(256) for x in range(512))


def _prose(chance: random.Random) -> bytes:
    words = [
        "Habe",
        "nun",
        "ach",
        "Philosophie",
        "Juristerei",
        "und",
        "Medizin",
        "und",
        "leider",
        "auch",
        "Theologie",
        "durchaus",
        "studiert",
        "mit",
        "heißem",
        "Bemühn",
    ]
    return " ".join(chance.choice(words) for _ in range(30_000)).encode()


def _html(chance: random.Random) -> bytes:
    return "".join(f"<li><a href=/p/{chance.randrange(1 << 20)}>page {n}</a></li>" for n in range(5_000)).encode()


def _archive(chance: random.Random) -> bytes:
    return b"%PDF-1.4" + chance.randbytes(LARGEST)


KINDS: list[tuple[int, Callable[[random.Random], bytes]]] = [
    (TEXT, _json), (BINARY, _picture), (BINARY, _prose), (TEXT, _html), (BINARY, _archive),
]  # fmt: skip
"""Of groups 12.1 to 12.5: opcode, content."""
CONTENTS = [(opcode, make(random.Random(1))[:LARGEST]) for opcode, make in KINDS]


def packed(message: bytes, rsv: int, opcode: int, fragment: int) -> bytes:
    """rsv: 4 where it is to be compressed."""
    packer = zlib.compressobj(wbits=-15)
    data = (packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4] if rsv else message
    size = fragment or len(data)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(
        frame(0 if at else opcode, piece, fin=at == len(pieces) - 1, rsv=0 if at else rsv) for at, piece in enumerate(pieces)
    )


def message(content: bytes, size: int, name: str) -> tuple[bytes, Told]:
    """A text of just this size with this content in it, and its answer."""
    room = size - len(asking(name))
    if room < 0:
        return content[:size], BAD
    inside = content[:room].decode(errors="ignore").ljust(room)
    inside = inside[: room - (len(inside.encode()) - len(inside))]
    made = asking(name).replace(b'"pad": ""', b'"pad": "' + inside.encode() + b'"')
    assert json.loads(made)["dashboard"] == name
    return made, heard(name)


def holds(port: int, offer: str, opcode: int, content: bytes, row: tuple[int, int]) -> None:
    """Many messages, or one where that is the last."""
    size, fragment = row
    with Peer(port) as peer:
        taken = peer.open(**{"Sec-WebSocket-Extensions": offer}).headers.get("sec-websocket-extensions")
        rsv = 4 if taken else 0
        if opcode == BINARY or size > LIMIT:
            peer.send(packed((content * 2)[:size], rsv, opcode, fragment))
            assert [told(each) for each in peer.all()] == [closed(1009 if size > LIMIT else 4500)]
            return
        for n in range(TIMES):
            said, answer = message(content, size, f"n{n % NAMES}")
            peer.send(packed(said, rsv, opcode, fragment))
            assert told(peer.hear()) == answer
        peer.send(BYE)
        assert [told(each) for each in peer.all()] == [closed(1000)]


@pytest.mark.parametrize("row", range(1, len(ROWS) + 1))
@pytest.mark.parametrize("kind", range(1, len(KINDS) + 1), ids=[f"12.{kind}" for kind in range(1, len(KINDS) + 1)])
def test_contents_of_all_kinds_arrive(gateway: GatewayProcess, kind: int, row: int) -> None:
    opcode, content = CONTENTS[kind - 1]
    holds(
        gateway.port, "permessage-deflate; client_no_context_takeover; client_max_window_bits", opcode, content, ROWS[row - 1]
    )


_CLIENT = "client_no_context_takeover; client_max_window_bits"
_WANTED = ("", "server_no_context_takeover", "server_max_window_bits=9", "server_max_window_bits=15",
           "server_no_context_takeover; server_max_window_bits=9", "server_no_context_takeover; server_max_window_bits=15")  # fmt: skip
OFFERS = ["; ".join(filter(None, ("permessage-deflate", _CLIENT, wanted))) for wanted in _WANTED]
OFFERS.append(", ".join((OFFERS[4], OFFERS[1], OFFERS[0])))
TAKEN = [
    DEFLATE,
    DEFLATE,
    None,
    f"{DEFLATE}; server_max_window_bits=12",
    None,
    f"{DEFLATE}; server_max_window_bits=12",
    DEFLATE,
]
"""A window of 9 bits is not one of the server's: it goes on without compression."""


@pytest.mark.parametrize("row", range(1, len(ROWS) + 1))
@pytest.mark.parametrize("offer", range(1, len(OFFERS) + 1), ids=[f"13.{offer}" for offer in range(1, len(OFFERS) + 1)])
def test_messages_arrive_under_every_offer(gateway: GatewayProcess, offer: int, row: int) -> None:
    with Peer(gateway.port) as peer:
        answer = peer.open(**{"Sec-WebSocket-Extensions": OFFERS[offer - 1]})
        assert answer.headers.get("sec-websocket-extensions") == TAKEN[offer - 1]
    holds(gateway.port, OFFERS[offer - 1], *CONTENTS[0], ROWS[row - 1])
