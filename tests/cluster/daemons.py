"""The daemons of a cluster, started from inside its sandbox and known by their recorded process numbers.

They outlive who started them: a daemon is ended by its number, or with the sandbox.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
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
        self._own: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start it; what it says goes to its log."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=self._environ()
            )
        self._own[name] = process
        (self._folder / name).write_text(str(process.pid))

    def pid(self, name: str) -> int:
        return int((self._folder / name).read_text())

    def alive(self, name: str) -> bool:
        if name in self._own:
            return self._own[name].poll() is None
        try:
            os.kill(self.pid(name), 0)
        except (FileNotFoundError, ProcessLookupError):
            return False
        return True

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
