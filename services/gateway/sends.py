"""One frame to many sockets: by the compiled `sends.c` where that is there, in Python where it is not.

Of what a frame costs, nearly all is the kernel's; between two sends Python adds a fifth to it. The library has no knowledge of
viewers, and what the kernel does not take is its caller's to deal with, so both ways do the same.
"""

import ctypes
import os
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

LIBRARY: Final = Path(__file__).with_name("libsends.so")
FUNCTION: Final = "tideboard_sends_1"
"""The number is of what it takes and gives: a library of another version is as good as none."""

Sends = Callable[[Sequence[int], bytes], Sequence[int] | None]
"""Sockets that do not block, and a frame; how many bytes of it each has taken, None where each took all."""


def in_python(fds: Sequence[int], frame: bytes) -> Sequence[int] | None:
    taken = [write(fd, frame) for fd in fds]
    return None if min(taken, default=len(frame)) == len(frame) else taken


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
    call.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p)

    def sends(fds: Sequence[int], frame: bytes) -> Sequence[int] | None:
        sockets = array("i", fds)
        taken = array("i", sockets)
        partly = call(sockets.buffer_info()[0], len(sockets), frame, len(frame), taken.buffer_info()[0])
        return taken if partly else None

    return sends


def best() -> Sends:
    """The compiled one where it is there."""
    return compiled() or in_python
