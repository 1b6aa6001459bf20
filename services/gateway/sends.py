"""One frame to many sockets: by the compiled `sends.c` where that is there, in Python where it is not.

Of what a frame costs, nearly all is the kernel's; between two sends Python adds a fifth to it. The library has no knowledge of
viewers, and what the kernel does not take is its caller's to deal with, so both ways do the same.
"""

import ctypes
import os
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

LIBRARY: Final = Path(__file__).with_name("libsends.so")
FUNCTION: Final = "tideboard_sends_2"
"""The number is of what it takes and gives: a library of another version is as good as none."""
CHUNK: Final = 32  # sends between two looks at the clock


class Sent(NamedTuple):
    """How many had their turn, one after the other. taken: how many bytes of the frame each of these took, None where each took all."""

    tried: int
    taken: "array[int] | None"


Sends = Callable[["array[int]", int, bytes, int], Sent]
"""Sockets that do not block, as C's ints, from which of them on, a frame, and until when (monotonic, ns). Then no more than CHUNK are
still sent to; at least one is."""


def in_python(fds: "array[int]", first: int, frame: bytes, until_ns: int) -> Sent:
    taken = array("i")
    for fd in fds[first:]:
        taken.append(write(fd, frame))
        if len(taken) % CHUNK == 0 and time.monotonic_ns() > until_ns:
            break
    return Sent(len(taken), None if min(taken, default=len(frame)) == len(frame) else taken)


def write(fd: int, frame: bytes) -> int:
    """To one of them: how many bytes it has taken."""
    try:
        return os.write(fd, frame)
    except OSError:  # no room, or nobody there
        return 0


def compiled(library: Path = LIBRARY) -> Sends | None:
    """By a library; None where there is none that can be loaded."""
    try:
        call = getattr(ctypes.CDLL(str(library)), FUNCTION)
    except (OSError, AttributeError):
        return None
    ints = ctypes.c_void_p
    call.argtypes = (ints, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_longlong, ints, ints)

    def sends(fds: "array[int]", first: int, frame: bytes, until_ns: int) -> Sent:
        taken, partly = fds[first:], array("i", (0,))
        tried = call(_at(fds) + first * fds.itemsize, len(taken), frame, len(frame), until_ns, _at(taken), _at(partly))
        return Sent(tried, taken[:tried] if partly[0] else None)

    return sends


def _at(numbers: "array[int]") -> int:
    return numbers.buffer_info()[0]


def best() -> Sends:
    """The compiled one where it is there."""
    return compiled() or in_python
