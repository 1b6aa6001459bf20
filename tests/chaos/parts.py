"""Our own processes: `python -m services TARGET` from a given tree, killed, stopped and started again by their pids."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 15.0


class Part:
    """One service. tree: the folder that holds the package `services`. It writes its log to `log`, and ends with this process."""

    def __init__(self, target: str, name: str, tree: Path, log: Path, environ: Mapping[str, str]) -> None:
        self.target = target
        self.name = name
        self.asleep = False
        self._tree = tree
        self._log = log
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it does its work: it lives and is not stopped."""
        return self._process is not None and self._process.poll() is None and not self.asleep

    def start(self) -> None:
        environ = {
            **os.environ, **self._environ, "TIDEBOARD_PARENT": str(os.getpid()), "TIDEBOARD_ADMIN_PORT": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services", self.target],
                cwd=self._tree, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def ended(self) -> int | None:
        """With which code it ended by itself, None while it has not."""
        return self._process.poll() if self._process is not None else None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.asleep = False

    async def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        if self._process is None:
            return
        self._process.terminate()
        until = time.monotonic() + PATIENCE_S
        while self._process.poll() is None:
            assert time.monotonic() < until, f"{self.name} does not stop on SIGTERM"
            await asyncio.sleep(0.02)
        self._process = None

    def sleep(self) -> None:
        assert self._process is not None, f"{self.name} is not running"
        os.kill(self._process.pid, signal.SIGSTOP)
        self.asleep = True

    def wake(self) -> None:
        if self.asleep and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGCONT)
        self.asleep = False
