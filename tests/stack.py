"""A whole `services all` on ports of its own, for tests and benches that look at it from outside."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.local.catalog import admin_port
from services.local.embedded import free_port

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Stack:
    """pid: of `all`. The others are ports of 127.0.0.1."""

    pid: int
    gateway: int
    ingestor: int
    status: int

    def children(self) -> dict[str, dict[str, Any]]:
        """The children by name, as /status of `all` says."""
        return {child["name"]: child for child in self.get(self.status, "/status").get("children", ())}

    def get(self, port: int, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return json.load(answer)

    def post(self, samples: object) -> None:
        """Samples to the ingestor; raises when they are not accepted."""
        body = json.dumps(samples).encode()
        head = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url, body, head), timeout=30) as answer:
            assert answer.status == 202

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ingestor}/api/v1/samples"


@contextlib.contextmanager
def running(dashboards: Path, **settings: str) -> Iterator[Stack]:
    """Everything that `make run` starts, until the block ends. Its output is shown when it does not come up. settings: more of its environment."""
    base = _free_base()
    gateway, ingestor = free_port(), free_port()
    environ = {
        **os.environ,
        "TIDEBOARD_GATEWAY_PORT": str(gateway),
        "TIDEBOARD_INGESTOR_PORT": str(ingestor),
        "TIDEBOARD_ADMIN_PORT": str(base),
        "TIDEBOARD_DASHBOARDS": str(dashboards),
        **settings,
    }
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            [sys.executable, "-m", "services", "all"], cwd=ROOT, env=environ, stdout=output, stderr=output
        ) as process,
    ):
        stack = Stack(process.pid, gateway, ingestor, admin_port("all", base))
        try:
            if not _is_up(process, stack):
                process.terminate()
                process.wait(15)
                output.seek(0)
                raise RuntimeError(f"`services all` did not come up:\n{output.read().decode()}")
            yield stack
        finally:
            process.terminate()


def _is_up(process: subprocess.Popen[bytes], stack: Stack) -> bool:
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError):
            children = stack.children()
            if children and all(child["state"] == "up" for child in children.values()):
                return True
        time.sleep(0.1)
    return False


def _free_base() -> int:
    """The first of six ports in a row that nobody uses."""
    while True:
        base = free_port()
        with contextlib.suppress(OSError):
            with contextlib.ExitStack() as held:
                for port in range(base, base + 6):
                    held.enter_context(_bound(port))
            return base


@contextlib.contextmanager
def _bound(port: int) -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        yield
