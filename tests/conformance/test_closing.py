"""RFC 6455 5.5.1 and 7: the closing handshake. What Autobahn's group 7 describes."""

import struct

import pytest

from tests.conformance.peer import CLOSE, PING, Peer
from tests.conformance.talk import BYE, Case, Talk, asking, closed, heard, last, text
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.masked import frame


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


CASES: dict[str, Case] = {
    "a message and a close": (text(asking("a")) + BYE, [heard("a"), closed(1000)]),
    "two closes": (BYE + BYE, [closed(1000)]),
    "a ping after the close": (BYE + frame(PING), [closed(1000)]),
    "a message after the close": (BYE + text(asking("a")), [closed(1000)]),
    "the rest of a message after the close": (text(b"a", fin=False) + BYE + last(b"b"), [closed(1000)]),
    "what is wrong after the close": (BYE + frame(3) + b"\xff" * 100, [closed(1000)]),
    "a lot after the close": (BYE + text(bytes(8_192)) * 4, [closed(1000)]),
    "no code": (frame(CLOSE), [closed(1000)]),
    "a payload of one byte": (frame(CLOSE, b"\x03"), [closed(1002)]),
    "a code without a reason": (close(1000), [closed(1000)]),
    "a code and a reason": (close(1000, b"good bye"), [closed(1000)]),
    "the longest reason": (close(1000, b"*" * 123), [closed(1000)]),
    "a reason that is too long": (close(1000, b"*" * 124), [closed(1002)]),
    "a reason that is not UTF-8": (close(1000, b"\xce\xba\xf4\x90\x80\x80"), [closed(1007)]),
    "a reason that ends inside of a character": (close(1000, b"\xe2\x82"), [closed(1007)]),
    "a reason in Greek": (close(1001, "κόσμε".encode()), [closed(1001)]),
    **{
        f"code {code} may be sent": (close(code), [closed(code)])
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4499, 4500, 4999)
    },
    **{
        f"code {code} may not be sent": (close(code), [closed(1002)])
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_close_is_answered_and_nothing_after_it(talk: Talk, case: Case) -> None:
    talk.holds(case)


def test_the_server_shuts_down_first_and_waits(gateway: GatewayProcess) -> None:
    """7.1.1: the server closes, so that it is the one that keeps the connection in TIME_WAIT; a client may take its time."""
    with Peer(gateway.port) as peer:
        peer.open()
        peer.send(BYE)
        assert [frame.code for frame in peer.all()] == [1000]
        peer.send(b"\xff" * 1_000_000)
        assert peer.all() == [], "no reset"


def test_a_client_that_goes_without_a_close_is_gone(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        peer.open()
        peer.send(frame(PING, b"there"))
        assert peer.hear().payload == b"there"
        peer.say_no_more()
        assert peer.all() == []


@pytest.mark.parametrize("cut", [1, 2, 5, 7])
def test_a_client_that_goes_inside_of_a_frame_is_gone(gateway: GatewayProcess, cut: int) -> None:
    with Peer(gateway.port) as peer:
        peer.open()
        peer.send(text(asking("a"))[:cut])
        peer.say_no_more()
        assert peer.all() == []


def test_a_wrong_subprotocol_is_closed_with_advice_and_the_client_s_close_ends_it(gateway: GatewayProcess) -> None:
    with Peer(gateway.port) as peer:
        answer = peer.open(**{"Sec-WebSocket-Protocol": "chat"})
        assert "sec-websocket-protocol" not in answer.headers
        frame_ = peer.hear()
        assert (frame_.opcode, frame_.code) == (CLOSE, 4501)
        peer.send(close(4501))
        assert peer.all() == []
