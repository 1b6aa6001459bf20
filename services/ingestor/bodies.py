"""Bodies: what a request says its body is, and the plain bytes in it. Never inflates more than the limit."""

import zlib
from collections.abc import Callable
from typing import Any, Final

import cramjam
import numpy as np

from services.ingestor.samples import BodyError

JSON_TYPES: Final = frozenset({"application/json"})
LINES_TYPES: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines"}
)
_BOM: Final = b"\xef\xbb\xbf"


class UnsupportedError(ValueError):
    """A type or an encoding that is not taken; the message names those that are."""


class TooLargeError(ValueError):
    """A body over a limit; the message says which."""


def is_lines(content_type: str) -> bool:
    """Whether a Content-Type means NDJSON. A missing one means JSON, which takes lines as well. UnsupportedError for others."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(" \"'") not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedError(f"charset {value.strip()} is not taken, only utf-8")
    if kind in LINES_TYPES:
        return True
    if kind and kind not in JSON_TYPES:
        raise UnsupportedError(f"Content-Type {kind} is not taken, only application/json and application/x-ndjson")
    return False


def plain(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding and its byte order mark. TooLargeError above `limit` bytes, BodyError when it is damaged."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        found = body
    elif encoding in _DECODERS:
        found = _DECODERS[encoding](body, limit)
    else:
        raise UnsupportedError(f"Content-Encoding {encoding} is not taken, only gzip and zstd")
    if len(found) > limit:
        raise _too_large(limit)
    return found.removeprefix(_BOM)


def _gzip(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while body:  # members follow each other
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(body, limit + 1 - size))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
            if not member.eof:
                raise BodyError("the gzip body ends too early")
            body = member.unused_data
    except zlib.error as error:
        raise BodyError(f"the body is not gzip: {error}") from None
    return b"".join(parts)


def _zstd(body: bytes, limit: int) -> bytes:
    # Memory that is not written to is not taken; a longer result is refused by the decoder when it reaches the end.
    room: Any = np.empty(limit + 1, np.uint8)
    try:
        size = cramjam.zstd.decompress_into(body, room)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise _too_large(limit) from None
        raise BodyError(f"the body is not zstd: {error}") from None
    return bytes(memoryview(room)[:size])


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {limit} bytes after decompression (TIDEBOARD_INGESTOR_MAX_DECODED_BYTES)")


_DECODERS: Final[dict[str, Callable[[bytes, int], bytes]]] = {"gzip": _gzip, "x-gzip": _gzip, "zstd": _zstd}
