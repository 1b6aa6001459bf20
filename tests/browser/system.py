"""Tideboard as a person runs it: `python -m services all` in a process of its own, on free ports, with a dashboards folder of its own.

It is reached only as anyone would reach it: over HTTP, through files, and by killing processes whose ids /status tells.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from services.local.catalog import admin_port
from services.local.embedded import free_port, port_taken
from tests.servers import ROOT

PATIENCE_S = 30.0
_ADMIN_PORTS = 6

Sample = dict[str, Any]


class System:
    """start() and stop() any number of times; ports and folder stay the same. log: where it says what it does."""

    def __init__(self, folder: Path) -> None:
        self.dashboards = folder / "dashboards"
        self.dashboards.mkdir(parents=True)
        self.log = folder / "all.log"
        self.gateway, self.ingestor, self.admin = free_port(), free_port(), _free_ports(_ADMIN_PORTS)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.gateway}{path}"

    def start(self) -> None:
        """Start it, and wait until every part is up."""
        environ = {
            **os.environ,
            "TIDEBOARD_GATEWAY_PORT": str(self.gateway),
            "TIDEBOARD_INGESTOR_PORT": str(self.ingestor),
            "TIDEBOARD_ADMIN_PORT": str(self.admin),
            "TIDEBOARD_DASHBOARDS": str(self.dashboards),
            "TIDEBOARD_LOG_FORMAT": "human",
            "TIDEBOARD_PARENT": str(os.getpid()),
        }
        command = [sys.executable, "-m", "services", "all"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.up()
        except AssertionError as error:
            raise AssertionError(f"{error}; it said:\n{self.log.read_text()[-4000:]}") from None

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(10)
        finally:
            process.kill()
            process.wait()
        assert code == 0, f"`all` ended with {code}; it said:\n{self.log.read_text()[-4000:]}"

    def status(self, target: str = "all") -> dict[str, Any]:
        """What a part says of itself."""
        code, body = ask(admin_port(target, self.admin), "GET", "/status")
        assert code == 200, f"/status answers {code}"
        found: dict[str, Any] = json.loads(body)
        return found

    def pid(self, name: str) -> int | None:
        """The process id of a part; None while it is down."""
        found: int | None = next(child["pid"] for child in self.status()["children"] if child["name"] == name)
        return found

    def kill(self, name: str) -> int | None:
        """SIGKILL a part; its process id, or None where there was nothing to kill."""
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid

    def up(self) -> None:
        """Wait until every part is up."""
        until(self.why_not_up)

    def write(self, name: str, spec: Mapping[str, Any]) -> Path:
        """Write the file of a dashboard."""
        document = {"apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": name}, "spec": dict(spec)}
        return self.write_text(name, yaml.safe_dump(document, sort_keys=False))

    def publish(self, name: str, spec: Mapping[str, Any]) -> None:
        """Write the file of a dashboard, and wait until the gateway knows it."""
        self.write(name, spec)
        until(lambda: "" if ask(self.gateway, "GET", f"/api/v1/dashboards/{name}")[0] == 200 else f"{name} is not known yet")

    def write_text(self, name: str, text: str) -> Path:
        path = self.dashboards / f"{name}.yaml"
        path.write_text(text)
        return path

    def post(self, samples: Iterable[Sample]) -> None:
        """Post samples as one request that must be accepted whole."""
        code, body = ask(self.ingestor, "POST", "/api/v1/samples", json.dumps(list(samples)).encode())
        answer = json.loads(body)
        assert code == 202 and not answer["rejected"], f"the ingestor answered {code} {answer}"

    def snapshot(self, name: str) -> dict[str, Any]:
        """A dashboard as the gateway has it."""
        code, body = ask(self.gateway, "GET", f"/api/v1/dashboards/{name}/snapshot")
        assert code == 200, f"the gateway answered {code} {body!r}"
        found: dict[str, Any] = json.loads(body)
        return found

    def why_not_up(self) -> str:
        """Which parts are not up; empty when all are."""
        process = self._process
        assert process is not None, "it was not started"
        assert process.poll() is None, f"`all` ended with {process.returncode}; it said:\n{self.log.read_text()[-4000:]}"
        try:
            code, body = ask(self.admin + _ADMIN_PORTS - 1, "GET", "/readyz")
        except OSError as error:
            return str(error)
        return "" if code == 200 else body.decode()


def ask(port: int, method: str, path: str, body: bytes | None = None, seconds: float = 10.0) -> tuple[int, bytes]:
    """One HTTP request on a connection of its own. OSError or HTTPException where there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def until(check: Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Wait until a check finds nothing wrong."""
    deadline = time.monotonic() + patience_s
    while reason := check():
        assert time.monotonic() < deadline, reason
        time.sleep(0.02)


def _free_ports(n: int) -> int:
    """The first of n ports in a row that nobody listens on."""
    while True:
        first = free_port()
        if not any(port_taken(first + i) for i in range(n)):
            return first
