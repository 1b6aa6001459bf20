"""The daemons of a cluster, started from inside its sandbox and known by their recorded process numbers.

They outlive who started them: a daemon is ended by its number, or with the sandbox.
"""

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.cluster.plan import Plan

_PATIENCE_S: Final = 30
_GLANCE_S: Final = 0.02
_SHOWN_LINES: Final = 15


class DaemonError(Exception):
    """What went wrong with a part of the cluster, in one sentence, with the last words of its log."""


class Daemons:
    """Start, end and look at daemons by name. The numbers are those inside the sandbox."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._folder = plan.home / "pids"
        self._folder.mkdir(exist_ok=True)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start it; what it says goes to its log."""
        pid = spawn(command, self.log(name), self._environ())
        (self._folder / name).write_text(str(pid))

    def pid(self, name: str) -> int:
        return int((self._folder / name).read_text())

    def alive(self, name: str) -> bool:
        try:
            return runs(self.pid(name))
        except FileNotFoundError:
            return False

    def check(self, *names: str) -> None:
        """DaemonError where one has ended."""
        for name in names:
            if not self.alive(name):
                raise DaemonError(f"{name} has ended:\n{self.last_words(name)}")

    def end(self, name: str, by: signal.Signals = signal.SIGTERM) -> None:
        """Signal it and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid(name), by)
        deadline = time.monotonic() + _PATIENCE_S
        while self.alive(name):
            if time.monotonic() > deadline:
                raise DaemonError(f"{name} does not end:\n{self.last_words(name)}")
            time.sleep(_GLANCE_S)

    def log(self, name: str) -> Path:
        return self._plan.logs / f"{name}.log"

    def last_words(self, name: str) -> str:
        path = self.log(name)
        return "\n".join(path.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]) if path.exists() else ""

    def _environ(self) -> dict[str, str]:
        """Only what a daemon needs: a variable of ours must not steer Kubernetes."""
        path = f"{self._plan.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/run", "TMPDIR": "/run", "LANG": "C.UTF-8"}


def spawn(command: Sequence[str], log: Path, environ: Mapping[str, str]) -> int:
    """Start a process that outlives us, in a session of its own; its number. Not by subprocess, which warns of what it leaves running."""
    with log.open("ab") as said, Path(os.devnull).open("rb") as nothing:
        files = [
            (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
            *((os.POSIX_SPAWN_DUP2, said.fileno(), number) for number in (1, 2)),
        ]
        return os.posix_spawnp(command[0], list(command), dict(environ), file_actions=files, setsid=True)


def runs(pid: int) -> bool:
    """Whether the process is there; one of our own that has ended is buried by asking."""
    try:
        with contextlib.suppress(ChildProcessError):  # another has started it
            return os.waitpid(pid, os.WNOHANG)[0] == 0
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
