"""Embedded servers for tests: started on a free port, killed and restarted at will. No event loop needed."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from services.local.embedded import BROKER_ENVIRONMENT, broker_command, free_port, tethered, valkey_command
from tests.certificates import Certificates, Pair

ROOT = Path(__file__).parent.parent
_PATIENCE_S = 10.0


class Server:
    """One process that listens on `port` of 127.0.0.1."""

    def __init__(self, name: str, command: Callable[[int, int], tuple[str, ...]], answers: Callable[[int], bool]) -> None:
        self.name = name
        self.port = free_port()
        self._command = command
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait(_PATIENCE_S)

    def launch(self) -> None:
        """Start it."""
        self._spawn(subprocess.DEVNULL, None)

    def _spawn(self, output: int | BinaryIO, errors: BinaryIO | None) -> None:
        assert self._process is None, f"{self.name} runs already"
        command = self._command(self.port, os.getpid())
        environ = {**os.environ, **BROKER_ENVIRONMENT}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )

    def wait(self, patience_s: float) -> None:
        """Wait until it answers."""
        assert self._process is not None, f"{self.name} is not running"
        until = time.monotonic() + patience_s
        while not self._answers(self.port):
            assert self._process.poll() is None, f"{self.name} ended with {self._process.returncode}"
            assert time.monotonic() < until, f"{self.name} does not answer on port {self.port}"
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. No harm when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it again on the same port, empty."""
        self.kill()
        self.start()


class Valkey(Server):
    def __init__(self, *options: str) -> None:
        """options: more of them, as on the command line."""
        super().__init__("valkey", lambda port, parent: (*valkey_command(port, parent), *options), pong)

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"


class SecureRedis(Server):
    """Debian's redis-server, with TLS and no plain port. The Valkey of the wheel is built without TLS."""

    def __init__(
        self,
        folder: Path,
        certificates: Certificates,
        pair: Pair | None = None,
        ask_client: bool = False,
        more: tuple[str, ...] = (),
    ) -> None:
        """pair: the server's own, by default the one for 127.0.0.1. ask_client: whether clients must show a certificate. more: options."""
        super().__init__("redis", self._redis, connects)
        self._folder = folder
        self._certificates = certificates
        self._pair = pair or certificates.server
        self._ask_client = ask_client
        self._more = more

    @property
    def url(self) -> str:
        return f"rediss://{self.address}/0"

    def _redis(self, port: int, parent: int) -> tuple[str, ...]:
        tls = {
            "--tls-port": port,
            "--port": 0,
            "--tls-cert-file": self._pair.certificate,
            "--tls-key-file": self._pair.key,
            "--tls-ca-cert-file": self._certificates.authority.certificate,
            "--tls-auth-clients": "yes" if self._ask_client else "no",
            "--dir": self._folder,
        }
        options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", *self._more)
        words = (str(word) for option in tls.items() for word in option)
        return tethered(parent, str(redis_server(self._folder)), *options, *words)


def redis_server(folder: Path) -> Path:
    """Debian's redis-server. Its package redis-tools has the program under another name, and starts no service of its own."""
    if (found := shutil.which("redis-server")) is not None:
        return Path(found)
    tools = shutil.which("redis-check-rdb")
    assert tools is not None, "the tests over TLS need Debian's package redis-tools; `make test` installs it"
    link = folder / "redis-server"
    if not link.is_symlink():
        link.symlink_to(tools)
    return link


class Broker(Server):
    def __init__(self) -> None:
        super().__init__("broker", broker_command, connects)

    @property
    def bootstrap(self) -> str:
        return self.address


AnyServer = TypeVar("AnyServer", bound=Server)


@contextlib.contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """A server for as long as the block lasts."""
    try:
        server.start()
        yield server
    finally:
        server.kill()


def pong(port: int) -> bool:
    """Whether a server of Redis' protocol takes commands."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False
