"""A TCP balancer as clusters have them, in a process of its own: whoever is ready gets new connections, the one with the fewest first.

It knows nothing of HTTP. Whether a gateway is ready its admin port says; that it is not, the balancer hears late, as kube-proxies do;
and as they do it falls back to those that serve without being ready where nobody else is there. A connection that cannot be made is
closed and counted, not tried elsewhere.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from services.local.embedded import free_port
from tests.servers import ROOT

LOOK_S = 0.1
PROBE_S = 5.0  # a gateway that is refused is away at once; one that is slow is not
PATIENCE_S = 60.0


@dataclass
class Backend:
    """One gateway. open: connections; unready_at: since when it has not been ready; None: it is. serving: it answers at all."""

    name: str
    port: int
    admin: int
    open: int = 0
    unready_at: float | None = 0.0
    serving: bool = False


def pick(backends: list[Backend], now: float, lag_s: float) -> Backend | None:
    """Who gets the next connection. lag_s: how long nobody has heard that one is not ready."""
    known = [backend for backend in backends if backend.unready_at is None or now - backend.unready_at < lag_s]
    known = known or [backend for backend in backends if backend.serving]
    return min(known, key=lambda backend: backend.open, default=None)


@dataclass
class Balancer:
    """accepted: (monotonic seconds, backend) of each connection, in order. refused: those that could not be made."""

    backends: list[Backend]
    lag_s: float
    accepted: list[tuple[float, str]] = field(default_factory=list)
    refused: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, port: int, status_port: int) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Front(self), "127.0.0.1", port, backlog=4096)
        status = await asyncio.start_server(self._tell, "127.0.0.1", status_port)
        async with server, status:
            await asyncio.gather(*map(self._look_after, self.backends))

    def take(self, front: "_Front") -> None:
        task = asyncio.create_task(self._connect(front))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, front: "_Front") -> None:
        now = time.monotonic()
        backend = pick(self.backends, now, self.lag_s)
        if backend is None:
            self.refused += 1
            front.transport.abort()
            return
        self.accepted.append((now, backend.name))
        backend.open += 1
        try:
            await asyncio.get_running_loop().create_connection(lambda: _Back(front, backend), "127.0.0.1", backend.port)
        except OSError:
            backend.open -= 1
            self.refused += 1
            front.transport.abort()

    async def _look_after(self, backend: Backend) -> None:
        while True:
            status = await _probe(backend.admin)
            backend.serving = bool(status)
            if status == 200:
                backend.unready_at = None
            elif backend.unready_at is None:
                backend.unready_at = time.monotonic()
            await asyncio.sleep(LOOK_S)

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        told = {
            "accepted": self.accepted,
            "refused": self.refused,
            "open": {backend.name: backend.open for backend in self.backends},
            "ready": [backend.name for backend in self.backends if backend.unready_at is None],
        }
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(told).encode())
        await writer.drain()
        writer.close()


class _Half(asyncio.Protocol):
    """One of the two connections: what comes goes to the other, as fast as that takes it."""

    transport: asyncio.Transport
    other: "_Half | None" = None
    early = b""  # came before there was another one; uvloop reads though it was told to pause

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.transport.write(data)
        else:
            self.early += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other:
            self.other.transport.resume_reading()


class _Front(_Half):
    """A client's."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._balancer.take(self)


class _Back(_Half):
    """A gateway's."""

    def __init__(self, front: _Front, backend: Backend) -> None:
        self._front = front
        self._backend = backend

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.other, self._front.other = self._front, self
        if self._front.transport.is_closing():
            self.transport.close()
        else:
            self.transport.write(self._front.early)

    def connection_lost(self, exc: Exception | None) -> None:
        self._backend.open -= 1
        super().connection_lost(exc)


async def _probe(admin: int) -> int:
    """The status of /readyz, 0 where there is no answer."""
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", admin)
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            line = await reader.readline()
            writer.close()
            return int(line.split()[1])
    except (OSError, TimeoutError, IndexError):
        return 0


class Running:
    """A balancer's process. port: where clients connect."""

    def __init__(self, port: int, status_port: int) -> None:
        self.port = port
        self._status_port = status_port

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._status_port}/", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def until_ready(self, *names: str) -> None:
        """Wait until these are known to be ready."""
        until = time.monotonic() + PATIENCE_S
        while not {*names} <= {*(status := self.status())["ready"]}:
            assert time.monotonic() < until, f"{status['ready']} are ready"
            time.sleep(0.02)


@contextlib.contextmanager
def balancing(backends: Mapping[str, tuple[int, int]], lag_s: float = 0.0) -> Iterator[Running]:
    """A balancer for as long as the block lasts. backends: port and admin port by name; none of them need be there."""
    port, status_port = free_port(), free_port()
    asked = {"port": port, "status": status_port, "lag_s": lag_s, "backends": backends}
    command = [sys.executable, "-m", "tests.balancer", json.dumps(asked)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TIDEBOARD_PARENT": str(os.getpid())})
    running = Running(port, status_port)
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                running.status()
                break
            assert process.poll() is None and time.monotonic() < until, "the balancer does not come up"
            time.sleep(0.02)
        yield running
    finally:
        process.kill()
        process.wait()


def _main(text: str) -> None:
    from services.runtime import tether

    tether.tie(int(os.environ["TIDEBOARD_PARENT"]))
    asked = json.loads(text)
    backends = [Backend(name, *ports) for name, ports in asked["backends"].items()]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Balancer(backends, asked["lag_s"]).serve(asked["port"], asked["status"]))


if __name__ == "__main__":
    _main(sys.argv[1])
