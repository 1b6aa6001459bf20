"""Ties a process to the life of its parent: when the parent ends, however it ends, the kernel ends this one.

`python -m services.runtime.tether PID COMMAND...` does it for a program that is not ours, and becomes that program. The tie is to
the parent's thread that started it, so a supervisor starts its children from its main thread.
"""

import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from typing import Final

from services.runtime.settings import setting

_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class TetherSettings:
    """What a supervisor tells the processes that it starts."""

    parent: int = setting(0, "TIDEBOARD_PARENT", "Process id of the parent without which this process must not live; 0: none")


def tie(parent: int) -> None:
    """End with the process `parent`, which must be ours; ends at once where it is no more."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # SIGKILL and not SIGTERM: who could still stop a process that hangs, when its supervisor is gone?
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(0)


if __name__ == "__main__":
    tie(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606, the supervisor's own command
