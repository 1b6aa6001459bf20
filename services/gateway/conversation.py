"""One WebSocket from its first frame to its last, decided without I/O: what to hand on, what to answer, when it is over.

The shell (websocket) feeds it what arrives and does what it says. RFC 6455 sections 5.5 and 7.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.contract.live import CloseCode
from services.gateway import frames
from services.gateway.frames import Closed, FrameError, Opcode


@dataclass(frozen=True, slots=True)
class Text:
    """Hand this message on."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """Close the connection below. code: how it ended, 1005 where the other side named none."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """Do nothing, but count it: a frame that asks for nothing."""


Action = Text | Send | End | Heard

_HEARD: Final = Heard()
_EMPTY_PONG: Final = b"\x8a\x80"
_EMPTY_PONG_BYTES: Final = 6  # with its mask


class Conversation:
    """A server's half. closing: our close frame is sent, only the other one is awaited."""

    __slots__ = ("_code", "_reader", "closing", "ended")

    def __init__(self, limit: int, deflated: bool = False) -> None:
        self._reader = frames.Reader(limit, deflated)
        self._code = 0
        self.closing = False
        self.ended = False

    def receive(self, data: bytes) -> Iterator[Action]:
        """To be consumed whole, or else nothing more is heard. 1.4: after a close frame "the peer discards any further data"."""
        if self.ended:
            return
        if data[:2] == _EMPTY_PONG and len(data) == _EMPTY_PONG_BYTES and self._reader.between:
            yield _HEARD  # the answer to a ping: most of what viewers send
        else:
            yield from self._receive(data)

    def close(self, code: int, reason: str = "") -> bytes:
        """The frame that begins the closing handshake; nothing where it has begun."""
        if self.closing or self.ended:
            return b""
        self.closing, self._code = True, code
        return frames.encode_close(code, reason)

    def abandon(self) -> None:
        """Hear nothing more."""
        self.ended = True

    def _receive(self, data: bytes) -> Iterator[Action]:
        try:
            for message in self._reader.feed(data):
                if message is None:
                    yield _HEARD
                else:
                    yield from self._answer(*message)
                if self.ended:
                    return
        except FrameError as error:
            yield from self._end(error.code, error.reason, error.code, error.reason)

    def _answer(self, opcode: Opcode, payload: bytes) -> Iterator[Action]:
        if opcode is Opcode.CLOSE:
            code, reason = frames.decode_close(payload)
            # 5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it received."
            yield from self._end(code, reason, Closed.NORMAL if code == Closed.NO_STATUS else code)
        elif self.closing or opcode is Opcode.PONG:
            yield _HEARD
        elif opcode is Opcode.TEXT:
            yield Text(payload)
        elif opcode is Opcode.PING:
            # 5.5.3: "A Pong frame sent in response to a Ping frame must have identical Application data"
            yield Send(frames.encode(Opcode.PONG, payload))
        elif opcode is Opcode.BINARY:
            reason = "this protocol is text"
            yield from self._end(CloseCode.bad_message, reason, CloseCode.bad_message, reason)

    def _end(self, code: int, reason: str, answer: int, answer_reason: str = "") -> Iterator[Action]:
        if self.ended:
            return
        self.ended = True
        if not self.closing:
            yield Send(frames.encode_close(answer, answer_reason))
            yield End(code, reason)
        else:
            yield End(self._code, "")
