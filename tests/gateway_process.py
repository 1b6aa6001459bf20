"""A gateway as it runs in production: a process of its own over a real Valkey, and what it writes into its log."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.local.embedded import free_port
from tests.servers import ROOT

_PATIENCE_S = 20.0
UNLIMITED = {
    "TIDEBOARD_GATEWAY_ACCEPTS": "0",
    "TIDEBOARD_GATEWAY_ACCEPTS_PER_TOKEN": "0",
    "TIDEBOARD_GATEWAY_MESSAGES": "0",
    "TIDEBOARD_GATEWAY_DASHBOARDS_PER_SOCKET": "10000",
}
"""Settings with which one client may do as much as it likes."""


class GatewayProcess:
    """port: for viewers; admin: /readyz, /metrics, /status. Both of 127.0.0.1."""

    def __init__(self, redis_url: str, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.admin = free_port()
        self._log = folder / "gateway.log"
        self._environ = {
            **os.environ,
            "REDIS_URL": redis_url,
            "TIDEBOARD_GATEWAY_PORT": str(self.port),
            "TIDEBOARD_ADMIN_PORT": str(self.admin),
            "TIDEBOARD_LOG_LEVEL": "warning",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the gateway is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services", "gateway"], cwd=ROOT, env=self._environ, stdout=log, stderr=log
            )
        until = time.monotonic() + _PATIENCE_S
        while not self._ready():
            assert self.alive, f"the gateway ended: {self.said()}"
            assert time.monotonic() < until, f"the gateway does not become ready: {self.said()}"
            time.sleep(0.02)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def said(self) -> list[str]:
        """Warnings and worse, and whatever else it printed."""
        return self._log.read_text(errors="replace").splitlines()

    def complaints(self) -> list[str]:
        """What is worse than a warning: clients may do wrong, the gateway may not."""
        return [line for line in self.said() if not (line.startswith("{") and json.loads(line)["level"] == "warning")]

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/status", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def _ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


@contextlib.contextmanager
def running(gateway: GatewayProcess) -> Iterator[GatewayProcess]:
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.stop()
