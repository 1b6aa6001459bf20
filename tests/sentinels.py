"""A Valkey that Sentinels watch, with a replica: three Sentinels, all on this machine, that promote the replica when the primary is gone."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from services.local.embedded import tethered, valkey_binary
from tests.servers import Server, Valkey, pong, running

SERVICE = "tideboard"
DOWN_MS = 500
PATIENCE_S = 20.0


class Sentinel(Server):
    """One Sentinel. It writes what it learns into its file, and begins there again."""

    def __init__(self, folder: Path, primary: Valkey, password: str = "") -> None:
        super().__init__("sentinel", self._command_of, pong)
        self._file = folder / f"sentinel-{self.port}.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        self._file.write_text("\n".join([*lines, *([f"requirepass {password}"] if password else [])]) + "\n")

    def _command_of(self, _: int, parent: int) -> tuple[str, ...]:
        return tethered(parent, valkey_binary(), str(self._file), "--sentinel")


@dataclass
class Watched:
    """primary and replica change places at a failover."""

    primary: Valkey
    replica: Valkey
    sentinels: list[Sentinel] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(sentinel.address for sentinel in self.sentinels)}/{SERVICE}"

    def wait_for_primary(self, port: int) -> None:
        """Until every Sentinel says that this one is the primary."""
        until = time.monotonic() + PATIENCE_S
        while {_primary(sentinel.port) for sentinel in self.sentinels} != {port}:
            assert time.monotonic() < until, "the Sentinels do not agree on the primary"
            time.sleep(0.05)


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Started, and known to each other."""
    with contextlib.ExitStack() as started:
        data = ("--dir", str(folder))  # a replica puts there what it is sent first
        primary = started.enter_context(running(Valkey(*data)))
        following = ("--replicaof", f"127.0.0.1 {primary.port}", "--repl-diskless-sync-delay", "0")
        replica = started.enter_context(running(Valkey(*data, *following)))
        found = Watched(primary, replica)
        _wait(lambda: "master_link_status:up" in ask(replica.port, "INFO replication"), "the replica does not follow")
        for _ in range(3):
            found.sentinels.append(started.enter_context(running(Sentinel(folder, primary))))
        for sentinel in found.sentinels:
            _wait(partial(_knows, sentinel.port), "a Sentinel does not know the others")
        yield found


def _knows(port: int) -> bool:
    said = ask(port, f"SENTINEL MASTER {SERVICE}").split()
    facts = dict(zip(said[2::4], said[4::4], strict=False))
    return (facts.get("num-other-sentinels"), facts.get("num-slaves")) == ("2", "1")


def _primary(port: int) -> int:
    said = ask(port, f"SENTINEL GET-MASTER-ADDR-BY-NAME {SERVICE}").split()
    return int(said[-1]) if said and said[-1].isdigit() else 0


def ask(port: int, command: str) -> str:
    """The answer to an inline command, as it comes over the wire."""
    with socket.create_connection(("127.0.0.1", port), 2.0) as connection:
        connection.settimeout(0.2)
        connection.sendall(f"{command}\r\n".encode())
        answer = b""
        with contextlib.suppress(TimeoutError):
            while more := connection.recv(65536):
                answer += more
        return answer.decode()


def _wait(condition: Callable[[], bool], reason: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, reason
        time.sleep(0.05)
