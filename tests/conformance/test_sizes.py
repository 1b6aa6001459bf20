"""Messages from a client that are larger than it may send, in all sizes, fragments and pieces of Autobahn's group 9, and many small ones after each other.

Autobahn's server echoes any size. Here a message of more than 8,192 bytes is refused with 1009, which has to reach a client that still sends.
Messages of the server's of any size are in test_limits.
"""

from typing import NamedTuple

import pytest

from tests.conformance.peer import BINARY, TEXT, Peer
from tests.conformance.talk import BAD, BYE, asking, closed, heard, told
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.masked import frame

KIB, MIB = 1 << 10, 1 << 20
TIMES = 1_000
NAMES = 10  # of so many dashboards that there are not


class Sent(NamedTuple):
    """fragment: bytes of each, 0: one frame. step: bytes that are written at a time, 0: all."""

    opcode: int
    size: int
    fragment: int = 0
    step: int = 0

    def frames(self) -> bytes:
        size = self.fragment or self.size
        pieces = [b"*" * min(size, self.size - at) for at in range(0, self.size, size)]
        return b"".join(frame(0 if at else self.opcode, piece, fin=at == len(pieces) - 1) for at, piece in enumerate(pieces))


KINDS = {1: TEXT, 2: BINARY}
SIZES = (64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB)
FRAGMENTS = (64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB)
STEPS = (64, 128, 256, 512, KIB, 2 * KIB)
LARGE: dict[str, Sent] = {
    "1.1.6": Sent(TEXT, 65_535),
    "1.1.7": Sent(TEXT, 65_536),
    "1.1.8": Sent(TEXT, 65_536, step=997),
    "1.2.6": Sent(BINARY, 65_535),
    "1.2.7": Sent(BINARY, 65_536),
    "1.2.8": Sent(BINARY, 65_536, step=997),
    **{f"9.{kind}.{n}": Sent(opcode, size) for kind, opcode in KINDS.items() for n, size in enumerate(SIZES, 1)},
    **{f"9.{kind + 2}.{n}": Sent(opcode, 4 * MIB, size) for kind, opcode in KINDS.items() for n, size in enumerate(FRAGMENTS, 1)},
    **{f"9.{kind + 4}.{n}": Sent(opcode, MIB, step=step) for kind, opcode in KINDS.items() for n, step in enumerate(STEPS, 1)},
    "10.1.1": Sent(TEXT, 65_536, fragment=1_300),
}  # fmt: skip


@pytest.mark.parametrize("sent", LARGE.values(), ids=LARGE)
def test_what_is_too_large_is_refused_and_the_refusal_arrives(gateway: GatewayProcess, sent: Sent) -> None:
    with Peer(gateway.port, sent.step) as peer:
        peer.open()
        peer.send(sent.frames())
        assert [told(each) for each in peer.all()] == [closed(1009)]


def test_what_follows_a_message_that_is_too_large_is_not_answered(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.open()
        peer.send(Sent(TEXT, 256 * KIB).frames() + frame(TEXT, asking("a")) + BYE + frame(9))
        assert [told(each) for each in peer.all()] == [closed(1009)]


ROUNDS = (0, 16, 64, 256, 1_024, 4_096)


@pytest.mark.parametrize("size", ROUNDS, ids=[f"9.7.{n}" for n in range(1, len(ROUNDS) + 1)])
def test_a_thousand_messages_are_answered_one_by_one(gateway: GatewayProcess, size: int) -> None:
    with Peer(gateway.port) as peer:
        peer.open()
        for n in range(TIMES):
            name = f"n{n % NAMES}"
            said = asking(name, size) if size >= 64 else b"*" * size
            peer.send(frame(TEXT, said))
            assert told(peer.hear()) == (heard(name) if size >= 64 else BAD)
        peer.send(BYE)
        assert [told(each) for each in peer.all()] == [closed(1000)]


@pytest.mark.parametrize("size", ROUNDS, ids=[f"9.8.{n}" for n in range(1, len(ROUNDS) + 1)])
def test_of_a_thousand_binary_messages_the_first_is_refused(gateway: GatewayProcess, size: int) -> None:
    with Peer(gateway.port) as peer:
        peer.open()
        peer.send(frame(BINARY, b"\xfe" * size) * TIMES)
        assert [told(each) for each in peer.all()] == [closed(4500)]
