"""A server under test as a process on its own core, and what it costs."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil

from services.local.embedded import free_port, port_taken
from tests.bench.fanout import access
from tests.bench.fanout.cores import SERVER, pinned
from tests.bench.fanout.crowd import built
from tests.servers import ROOT

PATIENCE_S: Final = 15.0
LOOP: Final = "loop"
_PYTHON: Final = Path(sys.executable)


class Server:
    """A process that listens on a port."""

    def __init__(self, process: psutil.Process, port: int) -> None:
        self.process = process
        self.port = port

    def cpu_s(self) -> float:
        """Of all its threads, in user space and in the kernel."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Resident bytes."""
        return int(self.process.memory_info().rss)


def program(name: str, port: int, hz: float, count: int, file: Path) -> list[str]:
    """The command of the floor, or of a rival, which begins to send when so many viewers are there."""
    if name == LOOP:
        return [str(built(LOOP)), str(port), str(hz), str(file)]
    return [str(_PYTHON), "-m", "tests.bench.fanout.rivals", name, str(port), str(hz), str(count), str(file)]


def gateway(port: int, admin: int, url: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of the gateway as it is deployed."""
    settings = {
        "REDIS_URL": url, "TIDEBOARD_GATEWAY_PORT": str(port), "TIDEBOARD_ADMIN_PORT": str(admin), "TIDEBOARD_LOG_LEVEL": "warning",
        **access.settings(),
    }  # fmt: skip
    return [str(_PYTHON), "-m", "services", "gateway"], settings


@contextlib.contextmanager
def running(command: Sequence[str], port: int, environ: dict[str, str] | None = None) -> Iterator[Server]:
    """A command until the end of the block, from when its port is open."""
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL, preexec_fn=lambda: pinned(SERVER)
    )
    try:
        until = time.monotonic() + PATIENCE_S
        while not port_taken(port):
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            assert time.monotonic() < until, f"{command} does not listen on port {port}"
            time.sleep(0.02)
        yield Server(psutil.Process(process.pid), port)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def rival(name: str, hz: float, count: int, file: Path) -> Iterator[Server]:
    port = free_port()
    with running(program(name, port, hz, count, file), port) as server:
        yield server


@contextlib.contextmanager
def ours(url: str) -> Iterator[Server]:
    port, admin = free_port(), free_port()
    command, environ = gateway(port, admin, url)
    with running(command, port, environ) as server:
        yield server
