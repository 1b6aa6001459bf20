"""Frames as a client writes them, for tests of the server's side."""

import struct
from collections.abc import Iterator


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"\x11\x22\x33\x44"
) -> bytes:
    size = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0x80 if mask is not None else 0
    if size <= 125:
        head = bytes((first, flag | size))
    elif size <= 0xFFFF:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    if mask is None:
        return head + payload
    pad = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(size)


def frames(data: bytes) -> Iterator[bytes]:
    """The same bytes, cut where a frame ends."""
    at = 0
    while at < len(data):
        size, short = 2 + 4 * bool(data[at + 1 : at + 2] >= b"\x80"), data[at + 1 : at + 2]
        length = short[0] & 0x7F if short else 0
        more = {126: 2, 127: 8}.get(length, 0)
        size += more + (int.from_bytes(data[at + 2 : at + 2 + more]) if more else length)
        yield data[at : at + size]
        at += size
