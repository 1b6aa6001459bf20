"""permessage-deflate (RFC 7692), the server's side: what is agreed on, a message compressed, a client's message inflated. Pure.

No context is taken over in either direction, and everything is compressed with a window of 2**WINDOW bytes, which is
what clients ask for at the least: a message is then compressed once for all its viewers, and a connection holds no state
of it. Offers that ask for a smaller window are declined. Headers that name extensions are read here, too.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from isal import isal_zlib

EXTENSION: Final = "permessage-deflate"
WINDOW: Final = 12
"""Bits. With 15 deltas and snapshots get no smaller (docs/benchmarks.md), and a library that is in wide use asks for 12."""
LEVEL: Final = 1
"""Of ISA-L: a delta in a quarter of the CPU time that zlib's level 1 takes, and smaller by a tenth; its higher ones gain nothing."""
MIN_BYTES: Final = 256
"""Of a payload. Smaller ones go as they are: one of 200 bytes would lose 70 of them, and both fit into one packet."""

_TAIL: Final = b"\x00\x00\xff\xff"
_BITS: Final = {str(bits): bits for bits in range(8, 16)}  # 7.1.2.1: "a decimal integer without leading zeroes between 8 to 15"

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_BARE: Final = re.compile(_WORD)
_NAME: Final = re.compile(rf"[ \t]*({_WORD})[ \t]*")
_PARAMETER: Final = re.compile(rf';[ \t]*({_WORD})[ \t]*(?:=[ \t]*(?:({_WORD})|"((?:[^"\\]|\\.)*)")[ \t]*)?')

Parameters = Sequence[tuple[str, str | None]]
"""In order; None: without a value."""


class ExtensionsError(Exception):
    """Sec-WebSocket-Extensions is malformed. RFC 6455 9.1: the recipient "MUST immediately _Fail the WebSocket Connection_"."""


def negotiate(lines: Sequence[str]) -> str:
    """The answer to the first offer that can be taken, empty where there is none. lines: values of Sec-WebSocket-Extensions.

    ExtensionsError.
    """
    answers = [_answer(parameters) for name, parameters in offers(lines) if name == EXTENSION]
    return next(filter(None, answers), "")


def offers(lines: Sequence[str]) -> Iterator[tuple[str, Parameters]]:
    """The extensions that are named, with their parameters. RFC 6455 9.1; empty elements of the list are skipped."""
    text, at = ",".join(lines), 0
    while at < len(text):
        if name := _NAME.match(text, at):
            parameters: list[tuple[str, str | None]] = []
            at = name.end()
            while found := _PARAMETER.match(text, at):
                parameters.append((found[1], found[2] if found[3] is None else _unquoted(found[3])))
                at = found.end()
            yield name[1], parameters
        at += len(text[at:]) - len(text[at:].lstrip(" \t"))
        if at < len(text) and text[at] != ",":
            raise ExtensionsError(f"Sec-WebSocket-Extensions cannot be read from {text[at : at + 40]!r} on")
        at += 1


def _unquoted(text: str) -> str:
    value = re.sub(r"\\(.)", r"\1", text)
    # RFC 6455 9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF"
    if not _BARE.fullmatch(value):
        raise ExtensionsError(f"Sec-WebSocket-Extensions has a value that is no token: {value[:40]!r}")
    return value


def _answer(parameters: Parameters) -> str:
    """Empty: declined. RFC 7692 7 declines an offer with a parameter that is unknown, has an invalid value or is there twice."""
    given = dict(parameters)
    if len(given) < len(parameters):
        return ""
    for name, value in given.items():
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover" if value is None:
                pass
            case "server_max_window_bits" if value in _BITS and _BITS[value] >= WINDOW:
                pass
            case "client_max_window_bits" if value is None or value in _BITS:
                pass  # a hint: any window is read
            case _:
                return ""
    answer = f"{EXTENSION}; server_no_context_takeover; client_no_context_takeover"
    # 7.1.2.1: the server accepts by including the parameter "with the same or smaller value as the offer"
    return f"{answer}; server_max_window_bits={WINDOW}" if "server_max_window_bits" in given else answer


def deflate(payload: bytes) -> bytes:
    """The payload of one compressed message. 7.2.1: compress, end with an empty block, remove its last four bytes."""
    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -WINDOW)
    return (packer.compress(payload) + packer.flush(isal_zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]


class Inflater:
    """Inflates one message, part by part. InflateError where it is not deflated data."""

    __slots__ = ("_unpacker",)

    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)

    def feed(self, data: bytes, room: int) -> bytes:
        """What these bytes add to the message, up to `room` bytes (at least one); the rest, if there is more, is lost."""
        return b"".join(self._blocks(data, room))

    def end(self, room: int) -> bytes:
        """What is still to come when all parts have been fed."""
        return self.feed(_TAIL, room)

    def _blocks(self, data: bytes, room: int) -> Iterable[bytes]:
        while data and room:
            try:
                out = self._unpacker.decompress(data, room)
            except zlib.error:
                raise InflateError from None
            yield out
            room -= len(out)
            data = b""
            if self._unpacker.eof:  # 7.2.3.4: a block may have BFINAL set, and others follow
                data, self._unpacker = self._unpacker.unused_data, zlib.decompressobj(-zlib.MAX_WBITS)


class InflateError(Exception):
    """The message is not what RFC 7692 calls compressed."""
