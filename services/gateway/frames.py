"""WebSocket frames as RFC 6455 has them, the server's side: bytes in, messages out; payloads in, frames out. No I/O, no state but a Reader's.

Opening and closing are elsewhere (handshake, conversation). Compression would come in at RSV1 of the first frame of a
message: `Reader` refuses it, as it must while no extension is negotiated.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class Closed(IntEnum):
    """RFC 6455 7.4.1. Codes of the application (4000 and more) are in `contract.live`."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005  # never on the wire: the close frame had no code
    ABNORMAL = 1006  # never on the wire: there was no close frame
    INVALID_DATA = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011


class FrameError(Exception):
    """What was received breaks the protocol: fail the connection with this close code."""

    def __init__(self, code: Closed, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


Message = tuple[Opcode, bytes]
"""A whole message or control frame: TEXT is valid UTF-8, the payload of CLOSE is as it came."""

_FIN: Final = 0x80
_MASK: Final = 0x80
_MAX_CONTROL_BYTES: Final = 125
_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}


def encode(opcode: Opcode, payload: bytes) -> bytes:
    """One unmasked frame. RFC 6455 5.1: "A server MUST NOT mask any frames that it sends to the client." """
    size = len(payload)
    if size <= 125:
        head = bytes((_FIN | opcode, size))
    elif size <= 0xFFFF:
        head = struct.pack("!BBH", _FIN | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, 127, size)
    return head + payload


def encode_text(payload: bytes) -> bytes:
    return encode(Opcode.TEXT, payload)


def encode_close(code: int, reason: str = "") -> bytes:
    """The reason is cut to what fits into a control frame, at a character's edge."""
    text = reason.encode()[: _MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode(Opcode.CLOSE, struct.pack("!H", code) + text)


def decode_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame; FrameError where they are not allowed."""
    if not payload:
        return Closed.NO_STATUS, ""
    if len(payload) == 1:
        raise FrameError(Closed.PROTOCOL_ERROR, "close frame of one byte")
    code = int.from_bytes(payload[:2], "big")
    # RFC 6455 7.4.2: 0-999 "are not used"; 1004 to 1006 and 1015 "MUST NOT be set"; 1016-2999 are reserved.
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FrameError(Closed.PROTOCOL_ERROR, f"close code {code} is not allowed")
    return code, _text(payload[2:]).decode()


class Reader:
    """Puts a client's bytes together to messages, however they were split. limit: bytes of one message, over all its fragments."""

    __slots__ = ("_buffer", "_kind", "_limit", "_parts")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._kind: Opcode | None = None  # of the fragmented message that is on its way
        self._parts = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete, then FrameError where they break the protocol. To be consumed whole."""
        self._buffer = self._buffer + data if self._buffer else data
        while (frame := self._next()) is not None:
            final, opcode, payload = frame
            if opcode >= Opcode.CLOSE:
                # 5.4: "Control frames MAY be injected in the middle of a fragmented message."
                yield opcode, payload
            elif (message := self._assemble(final, opcode, payload)) is not None:
                yield message

    def _assemble(self, final: bool, opcode: Opcode, payload: bytes) -> Message | None:
        if opcode is Opcode.CONTINUATION:
            if self._kind is None:
                raise FrameError(Closed.PROTOCOL_ERROR, "continuation of nothing")
            opcode, payload = self._kind, self._parts + payload
        elif self._kind is not None:
            # 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message"
            raise FrameError(Closed.PROTOCOL_ERROR, "a new message before the last one ended")
        if not final:
            self._kind, self._parts = opcode, payload
            return None
        self._kind, self._parts = None, b""
        return opcode, _text(payload) if opcode is Opcode.TEXT else payload

    def _next(self) -> tuple[bool, Opcode, bytes] | None:
        """Take one frame off the buffer; None while it is not whole. What is wrong is found as soon as its head is there."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode = self._opcode(buffer[0], buffer[1])
        size, at = buffer[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            if len(buffer) < at:
                return None
            size = self._long_size(buffer[2:at])
        self._check_size(opcode, size)
        end = at + 4 + size
        if len(buffer) < end:
            return None
        self._buffer = buffer[end:]
        return bool(buffer[0] & _FIN), opcode, _unmask(buffer[at : at + 4], buffer[at + 4 : end])

    def _opcode(self, first: int, second: int) -> Opcode:
        if first & 0x70:
            # 5.2: "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a
            # nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_."
            raise FrameError(Closed.PROTOCOL_ERROR, "reserved bits are set")
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise FrameError(Closed.PROTOCOL_ERROR, f"opcode {first & 0x0F:#x} is not known")
        if not second & _MASK:
            # 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
            raise FrameError(Closed.PROTOCOL_ERROR, "frame is not masked")
        if opcode >= Opcode.CLOSE and (not first & _FIN or second & 0x7F > _MAX_CONTROL_BYTES):
            # 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
            raise FrameError(Closed.PROTOCOL_ERROR, "control frame is too long or fragmented")
        return opcode

    def _long_size(self, field: bytes) -> int:
        size = int.from_bytes(field, "big")
        # 5.2: "the minimal number of bytes MUST be used to encode the length"; "the most significant bit MUST be 0"
        if size <= (125 if len(field) == 2 else 0xFFFF) or size >> 63:
            raise FrameError(Closed.PROTOCOL_ERROR, "length is not written as it must be")
        return size

    def _check_size(self, opcode: Opcode, size: int) -> None:
        if opcode < Opcode.CLOSE and size + len(self._parts) > self._limit:
            raise FrameError(Closed.TOO_BIG, f"message has more than {self._limit} bytes")


def _unmask(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def _text(payload: bytes) -> bytes:
    """The payload, when it is UTF-8. RFC 6455 8.1: otherwise the endpoint "MUST _Fail the WebSocket Connection_"."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError(Closed.INVALID_DATA, "text is not UTF-8") from None
    return payload
