"""What the tables say: bytes that a client sends, and what the server has to answer until it closes.

The server does not echo. But it answers a subscription to a dashboard that does not exist with an error that names it:
so a name that comes back shows that the message arrived whole and right. `heard` is that answer.
"""

import json
from collections.abc import Sequence
from typing import Final

from tests.conformance.peer import CLOSE, PONG, TEXT, Frame, Peer
from tests.unit.gateway.masked import frame

SMALL: Final = "small"
LARGE: Final = "large"
DEFLATE: Final = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

Told = tuple[str, object]
"""One frame of the server's, in short."""
Case = tuple[bytes, Sequence[Told]]
"""What is sent, and what is answered. Where no close is expected, the client closes at the end, and gets it back."""


def asking(name: str, size: int = 0) -> bytes:
    """A message that is answered with `heard(name)`, of at least so many bytes."""
    plain = json.dumps({"pad": "", "type": "subscribe", "dashboard": name}, ensure_ascii=False).encode()
    return plain.replace(b'"pad": ""', b'"pad": "' + b"*" * max(0, size - len(plain)) + b'"')


def heard(name: str) -> Told:
    return "heard", name


def pong(payload: bytes = b"") -> Told:
    return "pong", payload


def closed(code: int) -> Told:
    return "closed", code


BAD: Final[Told] = ("heard", "")
"""The message arrived, and is none of the protocol's."""
BYE: Final = frame(CLOSE, b"\x03\xe8")


def text(payload: bytes, fin: bool = True, rsv: int = 0) -> bytes:
    return frame(TEXT, payload, fin=fin, rsv=rsv)


def more(payload: bytes, fin: bool = False) -> bytes:
    """A continuation; `last` is the final one."""
    return frame(0, payload, fin=fin)


def last(payload: bytes) -> bytes:
    return more(payload, fin=True)


def fragments(payload: bytes, size: int, rsv: int = 0) -> bytes:
    """A text message in fragments of so many bytes."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    head = text(pieces[0], fin=len(pieces) == 1, rsv=rsv)
    return head + b"".join(more(piece, fin=at == len(pieces) - 1) for at, piece in enumerate(pieces[1:], 1))


class Talk:
    """Has conversations with a server. step: bytes that are written at a time, 0 for all."""

    def __init__(self, port: int, step: int) -> None:
        self._port = port
        self.step = step

    def holds(self, case: Case, deflated: bool = False) -> None:
        """Send it on a new connection, and compare."""
        sent, expected = case
        with Peer(self._port) as peer:
            peer.open(**({"Sec-WebSocket-Extensions": "permessage-deflate"} if deflated else {}))
            peer.step = self.step
            if not any(kind == "closed" for kind, _ in expected):
                sent, expected = sent + BYE, [*expected, closed(1000)]
            peer.send(sent)
            assert [told(each) for each in peer.all()] == list(expected)


def told(frame: Frame) -> Told:
    """In short. Nothing that the server sends may be something else."""
    if frame.opcode == PONG:
        return "pong", frame.payload
    if frame.opcode == CLOSE:
        frame.payload[2:].decode()
        return "closed", frame.code
    assert frame.opcode == TEXT, frame
    message = frame.message
    assert message["type"] == "error", message
    return "heard", message["dashboard"]
