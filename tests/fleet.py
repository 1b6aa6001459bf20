"""Services as processes of their own, started, stopped and killed at will, over servers that the caller has."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from services.local.embedded import free_port
from tests.servers import ROOT

PATIENCE_S = 30.0


class Fleet:
    """Processes by name. What is still there is killed at the end. environ: how they reach Kafka and Redis."""

    def __init__(self, **environ: str) -> None:
        self._environ = {"TIDEBOARD_LOG_LEVEL": "error", "OPENBLAS_NUM_THREADS": "1", **environ}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._admins: dict[str, int] = {}

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in list(self._processes):
            self.kill(name)

    def reserve(self, name: str) -> int:
        """The port that its admin server has, or will have."""
        return self._admins.setdefault(name, free_port())

    def launch(self, name: str, target: str, environ: Mapping[str, str] | None = None) -> None:
        """Start one, and do not wait."""
        admin = self.reserve(name)
        own = {"TIDEBOARD_ADMIN_PORT": str(admin), "TIDEBOARD_PARENT": str(os.getpid())}
        if target == "aggregator":
            own["TIDEBOARD_AGGREGATOR_INSTANCE"] = name
        environ = {**os.environ, **self._environ, **own, **(environ or {})}
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", "services", target], cwd=ROOT, env=environ, stdin=subprocess.DEVNULL
        )

    def start(self, name: str, target: str, environ: Mapping[str, str] | None = None) -> None:
        """Start one, and wait until it is ready."""
        self.launch(name, target, environ)
        until = time.monotonic() + PATIENCE_S
        while not self.ready(name):
            assert self._processes[name].poll() is None, f"{name} ended with {self._processes[name].returncode}"
            assert time.monotonic() < until, f"{name} is not ready"
            time.sleep(0.02)

    def ready(self, name: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._admins[name]}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def admin(self, name: str) -> int:
        """The port of its admin server."""
        return self._admins[name]

    def status(self, name: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admins[name]}/status", timeout=5) as answer:
            return json.load(answer)

    def order(self, name: str, path: str, body: bytes = b"") -> Any:
        """POST to its admin server; the answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admins[name]}{path}", body, timeout=5) as answer:
            return json.load(answer)

    def send(self, name: str, number: signal.Signals) -> None:
        self._processes[name].send_signal(number)

    @property
    def alive(self) -> set[str]:
        """Who runs."""
        return {name for name, process in self._processes.items() if process.poll() is None}

    def code(self, name: str) -> int | None:
        """Its exit code; None while it runs."""
        return self._processes[name].poll()

    def stop(self, name: str) -> int:
        """SIGTERM, and wait; the exit code."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(PATIENCE_S)

    def kill(self, name: str) -> None:
        """SIGKILL, and wait."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
