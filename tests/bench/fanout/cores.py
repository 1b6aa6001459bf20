"""Which core is whose: the server under test has one for itself, as far as this machine allows; everything else is on the others."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ALL: Final = sorted(os.sched_getaffinity(0))
SERVER: Final = frozenset(_ALL[:1])
VIEWERS: Final = frozenset(_ALL[1:] or _ALL)

PRIORITY: Final = -20


def pinned(cores: frozenset[int]) -> None:
    """This process, and those that it starts, run there from now on."""
    os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def measuring() -> Iterator[None]:
    """This process and those that it starts may open as many files as can be, and go before others where that is allowed."""
    cores, priority = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pinned(VIEWERS)
    _prefer(os.getpid(), PRIORITY)
    try:
        yield
    finally:
        _prefer(os.getpid(), priority)
        os.sched_setaffinity(0, cores)


def prefer(pid: int) -> None:
    """The same for a process of another session."""
    _prefer(pid, PRIORITY)


def _prefer(pid: int, priority: int) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, priority)
    with contextlib.suppress(OSError):  # Linux weighs sessions first, and processes within one
        Path("/proc", str(pid), "autogroup").write_text(str(priority))
