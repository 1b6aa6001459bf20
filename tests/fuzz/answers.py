"""What an HTTP server has said on one connection: answer after answer, from their status lines. Pure.

A body is as long as its head says, and may contain anything. Which request an answer is to is not known, as what was sent is not to be trusted:
an answer to HEAD has a length and no body, and is known by the answer that follows at once. No body of a gateway begins as an answer does.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r\n")
_BODILESS: Final = frozenset((204, 304))
_SWITCHES: Final = 101


class NoAnswerError(ValueError):
    """What comes where an answer should begin, or go on, is none."""


@dataclass(frozen=True)
class Answer:
    """line: its status line. whole: nothing more of it comes; of one without a length that is never known."""

    status: int
    line: str
    whole: bool


def answers(heard: bytes) -> Iterator[Answer]:
    """All of them; the last one may have been cut off anywhere. What follows an upgrade is no HTTP. NoAnswerError."""
    at = 0
    while at < len(heard):
        head, end, _ = heard[at:].partition(b"\r\n\r\n")
        found = _STATUS.match(head + b"\r\n")
        if found is None:
            if end or not _begins(head):
                raise NoAnswerError(f"where an answer should begin is {head[:80]!r}")
            return
        status, line = int(found[1]), found[0].decode("latin-1").strip()
        if not end:
            yield Answer(status, line, whole=False)
            return
        at += len(head) + len(end)
        after = _after(heard, at, status, _headers(head))
        yield Answer(status, line, whole=after is not None)
        if after is None or status == _SWITCHES:
            return
        at = after


def _begins(data: bytes) -> bool:
    """Whether these may be the first bytes of a status line that was cut off."""
    whole = b"HTTP/1.1 200 "
    return data[:5] == whole[: len(data[:5])] and b"\n" not in data


def _headers(head: bytes) -> Mapping[bytes, bytes]:
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return {name.lower(): value.strip() for name, _, value in lines}


def _after(heard: bytes, at: int, status: int, headers: Mapping[bytes, bytes]) -> int | None:
    """Where an answer ends whose body begins there; None where it does not, or has not yet."""
    if status < 200 or status in _BODILESS or _STATUS.match(heard, at):
        return at
    if headers.get(b"transfer-encoding") == b"chunked":
        return _after_chunks(heard, at)
    if (length := headers.get(b"content-length")) is None:
        return None
    if at == len(heard):  # to HEAD, or its body was cut off: there is nothing after it, either way
        return at
    after = at + int(length)
    return after if after <= len(heard) else None


def _after_chunks(heard: bytes, at: int) -> int | None:
    while (end := heard.find(b"\r\n", at)) >= 0:
        try:
            size = int(heard[at:end], 16)
        except ValueError:
            raise NoAnswerError(f"where a chunk should begin is {heard[at : at + 80]!r}") from None
        at = end + 2 + size + 2
        if at > len(heard):
            return None
        if not size:
            return at
    return None
