"""WebSocket frames as RFC 6455 has them, the server's side: bytes in, messages out; payloads in, frames out. No I/O, no state but a Reader's.

Opening and closing are elsewhere (handshake, conversation), and so is what compression is (deflate): here is RSV1, with
which a message says that it is compressed.
"""

import codecs
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, cast

from services.gateway.deflate import MIN_BYTES, InflateError, Inflater, deflate


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
_RSV1: Final = 0x40
_RESERVED: Final = 0x70
_MASK: Final = 0x80
_MAX_CONTROL_BYTES: Final = 125
_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}


def encode(opcode: Opcode, payload: bytes) -> bytes:
    """One unmasked frame. RFC 6455 5.1: "A server MUST NOT mask any frames that it sends to the client." """
    return _frame(_FIN | opcode, payload)


def encode_text(payload: bytes, deflated: bool = False) -> bytes:
    """A text message. deflated: permessage-deflate was agreed on with those who get it; it is used where it makes it smaller."""
    if deflated and len(payload) >= MIN_BYTES:
        packed = deflate(payload)
        if len(packed) < len(payload):
            return _frame(_FIN | _RSV1 | Opcode.TEXT, packed)
    return _frame(_FIN | Opcode.TEXT, payload)


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
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(Closed.INVALID_DATA, "reason of a close frame is not UTF-8") from None


class Reader:
    """Puts a client's bytes together to messages, however they were split, and refuses what is wrong as soon as it can be seen.

    limit: bytes of one message, over all its fragments, before it was compressed. deflated: permessage-deflate was agreed
    on. After a FrameError nothing more may be fed.
    """

    __slots__ = ("_deflated", "_frame", "_head", "_limit", "_message")

    def __init__(self, limit: int, deflated: bool = False) -> None:
        self._limit = limit
        self._deflated = deflated
        self._head = b""  # of the next frame, as much as has come
        self._frame: _Frame | None = None  # that is on its way
        self._message: _Message | None = None  # that is on its way in fragments

    @property
    def between(self) -> bool:
        """Whether what comes next is the beginning of a frame."""
        return self._frame is None and not self._head

    def feed(self, data: bytes) -> Iterator[Message | None]:
        """For each frame that these bytes complete: its message, or None where more of it is to come. Then FrameError where
        they break the protocol. Who does not consume it whole may feed nothing more.
        """
        if self._head:
            data, self._head = self._head + data, b""
        at = 0
        while True:
            if self._frame is None:
                size = self._begin(data, at)
                if not size:
                    self._head = data[at:]
                    return
                at += size
            frame = cast("_Frame", self._frame)
            chunk = data[at : at + frame.left]
            at += len(chunk)
            frame.add(chunk)
            if frame.left:
                return
            self._frame = None
            yield self._whole(frame.message) if frame.final else None

    def _whole(self, message: "_Message") -> Message:
        if message is self._message:
            self._message = None
        return message.kind, message.end()

    def _begin(self, data: bytes, at: int) -> int:
        """Begin the frame whose head is there; the size of the head, 0 while it is not whole."""
        if len(data) < at + 2:
            return 0
        first, second = data[at], data[at + 1]
        opcode = self._opcode(first, second)
        long = {126: 2, 127: 8}.get(second & 0x7F, 0)
        if len(data) < at + 2 + long:
            return 0
        size = _long_size(data[at + 2 : at + 2 + long]) if long else second & 0x7F
        message = self._message_of(opcode, bool(first & _RSV1))
        message.expect(size)
        head = 2 + long + 4
        if len(data) < at + head:
            return 0
        if opcode < Opcode.CLOSE:
            self._message = message
            message.came += size
        self._frame = _Frame(bool(first & _FIN), message, size, data[at + head - 4 : at + head])
        return head

    def _opcode(self, first: int, second: int) -> Opcode:
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise FrameError(Closed.PROTOCOL_ERROR, f"opcode {first & 0x0F:#x} is not known")
        # RFC 7692 6.1: RSV1 is of the first frame of a message; control frames and the other fragments have none.
        defined = _RSV1 if self._deflated and opcode in (Opcode.TEXT, Opcode.BINARY) else 0
        if first & _RESERVED & ~defined:
            # 5.2: "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a
            # nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_."
            raise FrameError(Closed.PROTOCOL_ERROR, "reserved bits are set")
        if not second & _MASK:
            # 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
            raise FrameError(Closed.PROTOCOL_ERROR, "frame is not masked")
        if opcode >= Opcode.CLOSE and (not first & _FIN or second & 0x7F > _MAX_CONTROL_BYTES):
            # 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
            raise FrameError(Closed.PROTOCOL_ERROR, "control frame is too long or fragmented")
        return opcode

    def _message_of(self, opcode: Opcode, compressed: bool) -> "_Message":
        """The message that a frame belongs to. 5.4: control frames may come "in the middle of a fragmented message"."""
        if opcode >= Opcode.CLOSE:
            return _Message(opcode, _MAX_CONTROL_BYTES, compressed=False)
        if opcode is not Opcode.CONTINUATION:
            if self._message is not None:
                # 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message"
                raise FrameError(Closed.PROTOCOL_ERROR, "a new message before the last one ended")
            return _Message(opcode, self._limit, compressed)
        if self._message is None:
            raise FrameError(Closed.PROTOCOL_ERROR, "continuation of nothing")
        return self._message


class _Message:
    """A message of which parts are missing. came: bytes of its payloads, those included that were announced."""

    __slots__ = ("_data", "_decoder", "_inflater", "_limit", "came", "kind")

    def __init__(self, kind: Opcode, limit: int, compressed: bool) -> None:
        self.kind = kind
        self.came = 0
        self._limit = limit
        self._data = bytearray()
        self._inflater = Inflater() if compressed else None
        self._decoder = _Utf8() if kind is Opcode.TEXT else None

    def expect(self, size: int) -> None:
        """FrameError where so many bytes more are too many. Deflated data may be a little longer than what it holds."""
        if self.came + size > self._limit + (self._limit // 8 + 64 if self._inflater else 0):
            raise self._too_big()

    def add(self, data: bytes, final: bool = False) -> None:
        """FrameError as soon as what is there cannot become a message."""
        if self._inflater:
            data = self._inflated(self._inflater, data, final)
        self._data += data
        if len(self._data) > self._limit:
            raise self._too_big()
        if self._decoder:
            try:
                self._decoder.decode(data, final)
            except UnicodeDecodeError:
                # 8.1: when text is not UTF-8, the endpoint "MUST _Fail the WebSocket Connection_"
                raise FrameError(Closed.INVALID_DATA, "text is not UTF-8") from None

    def end(self) -> bytes:
        """The whole message."""
        self.add(b"", final=True)
        return bytes(self._data)

    def _inflated(self, inflater: Inflater, data: bytes, final: bool) -> bytes:
        room = self._limit + 1 - len(self._data)
        try:
            return inflater.end(room) if final else inflater.feed(data, room)
        except InflateError:
            raise FrameError(Closed.INVALID_DATA, "message is not deflated data") from None

    def _too_big(self) -> FrameError:
        return FrameError(Closed.TOO_BIG, f"message has more than {self._limit} bytes")


class _Frame:
    """A frame of which bytes are missing. left: how many of its payload."""

    __slots__ = ("_mask", "final", "left", "message")

    def __init__(self, final: bool, message: _Message, size: int, mask: bytes) -> None:
        self.final = final
        self.message = message
        self.left = size
        self._mask = mask

    def add(self, chunk: bytes) -> None:
        self.message.add(_unmask(self._mask, chunk))
        self.left -= len(chunk)
        turn = len(chunk) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]


_Utf8: Final = codecs.getincrementaldecoder("utf-8")


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= 125:
        return bytes((first, size)) + payload
    if size <= 0xFFFF:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def _long_size(field: bytes) -> int:
    size = int.from_bytes(field, "big")
    # 5.2: "the minimal number of bytes MUST be used to encode the length"; "the most significant bit MUST be 0"
    if size <= (125 if len(field) == 2 else 0xFFFF) or size >> 63:
        raise FrameError(Closed.PROTOCOL_ERROR, "length is not written as it must be")
    return size


def _unmask(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
