"""WebSocket frames as a client writes and reads them (RFC 6455): text out, whole text messages in. Pure: bytes in, messages out.

No extension is offered, so none has to be understood. The server's side, with all its cases, is `gateway.frames`.
"""

import base64
import hashlib
import struct
from collections.abc import Iterator
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FIN: Final = 0x80
_MASKED: Final = 0x80
_CONTINUATION, _TEXT, CLOSE, _PING, _PONG = 0x0, 0x1, 0x8, 0x9, 0xA
_MEDIUM, _LARGE = 126, 127


class ClosedError(Exception):
    """The server has closed, with this code and reason."""


def request(host: str, path: str, key: bytes, subprotocol: str, token: str) -> bytes:
    """The opening handshake. key: 16 bytes of chance."""
    lines = [
        f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(key).decode()}", f"Sec-WebSocket-Protocol: {subprotocol}",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def accepts(head: bytes, key: bytes) -> bool:
    """Whether an answer's head agrees: RFC 6455 4.1, what "the client MUST" check."""
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wanted = base64.b64encode(hashlib.sha1(base64.b64encode(key) + _GUID).digest()).decode()  # noqa: S324, as the RFC has it
    return " 101 " in f"{status} " and headers.get("sec-websocket-accept") == wanted


def encode_text(payload: bytes, mask: bytes) -> bytes:
    """One masked frame. mask: 4 bytes of chance."""
    return _frame(_TEXT, payload, mask)


def _frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    if len(payload) < _MEDIUM:
        head = struct.pack("!BB", _FIN | opcode, _MASKED | len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | _MEDIUM, len(payload))
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | _LARGE, len(payload))
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class Reader:
    """What the server sends. owed: frames that have to be sent in return (pongs)."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._parts = bytearray()
        self.owed = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The text messages that are whole by now. ClosedError when there will be no more."""
        self._waiting += data
        while (found := self._next()) is not None:
            opcode, final, payload = found
            if opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1005
                raise ClosedError(f"{code} {payload[2:].decode('utf-8', 'replace')}".strip())
            if opcode == _PING:
                self.owed += _frame(_PONG, payload, bytes(4))
            elif opcode in (_TEXT, _CONTINUATION):
                self._parts += payload
                if final:
                    whole, self._parts = bytes(self._parts), bytearray()
                    yield whole

    def _next(self) -> tuple[int, bool, bytes] | None:
        """One frame, where it is there."""
        data = self._waiting
        if len(data) < 2:
            return None
        at, length = 2, data[1] & 0x7F
        if length >= _MEDIUM:
            size = 2 if length == _MEDIUM else 8
            if len(data) < at + size:
                return None
            length = int.from_bytes(data[at : at + size])
            at += size
        if len(data) < at + length:
            return None
        found = data[0] & 0x0F, bool(data[0] & _FIN), bytes(data[at : at + length])
        del data[: at + length]
        return found
