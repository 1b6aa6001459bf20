"""The password of the built-in Redis: in no argument and no variable, and what the server asks for is what the Secret holds."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from redis import AuthenticationError, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.transport.settings import read_secret
from tests.chart.rendering import Object, Rendered, render
from tests.chart.restricted import violations
from tests.servers import Valkey, running

SECRET: Final = "/etc/tideboard/redis/password"
WRITTEN: Final = "/run/tideboard/password.conf"
ONCE: Final = Retry(NoBackoff(), 0)
ODD: Final = ["plain", "trailing newline\n", "of Windows\r\n", "a\"b\\c'd", "$(id) `id` %s & ; #", "Schlüssel"]


def with_password() -> Rendered:
    return render({"redis": {"auth": {"existingSecret": "hush", "existingSecretKey": "key"}}})


def spec_of(rendered: Rendered) -> Object:
    found: Object = rendered.one("StatefulSet", "redis")["spec"]["template"]["spec"]
    return found


@contextmanager
def started(folder: Path, password: str) -> Iterator[Valkey]:
    """A server that reads what the pod's first container makes of a Secret's file."""
    [init] = spec_of(with_password())["initContainers"]
    given, written = folder / "password", folder / "password.conf"
    given.write_bytes(password.encode())
    words = [word.replace(SECRET, str(given)).replace(WRITTEN, str(written)) for word in (*init["command"], *init["args"])]
    subprocess.run(words, check=True)
    options = [word.replace(WRITTEN, str(written)) for word in with_password().container("StatefulSet", "redis")["args"][1:]]
    with running(Valkey(*options)) as valkey:
        yield valkey


@pytest.mark.parametrize("password", ODD)
def test_the_server_asks_for_what_its_clients_read(tmp_path: Path, password: str) -> None:
    with started(tmp_path, password) as valkey:
        read = read_secret("", str(tmp_path / "password"))
        with Redis(port=valkey.port, password=read) as client:
            assert client.ping()
        for wrong in ("", "wrong"):
            with Redis(port=valkey.port, password=wrong, retry=ONCE) as client, pytest.raises(AuthenticationError):
                client.ping()


def test_the_password_is_in_no_argument_and_no_variable() -> None:
    spec = spec_of(with_password())
    [main] = spec["containers"]
    assert main["args"] == ["/etc/tideboard/valkey.conf", "--include", WRITTEN]
    assert "hush" not in str([spec["containers"], spec["initContainers"]])
    assert not main.get("env")
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "secrets-redis"]
    assert volume["projected"]["sources"] == [{"secret": {"name": "hush", "items": [{"key": "key", "path": "password"}]}}]


def test_what_is_written_is_in_memory_and_the_pod_is_as_restricted_as_others() -> None:
    spec = spec_of(with_password())
    assert {"name": "password", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}} in spec["volumes"]
    assert not violations(spec)
    assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in (*spec["containers"], *spec["initContainers"]))


def test_a_secret_that_holds_nothing_lets_nobody_in_from_elsewhere() -> None:
    def protected(rendered: Rendered) -> bool:
        return "protected-mode yes" in rendered.one("ConfigMap", "redis")["data"]["valkey.conf"].splitlines()

    assert protected(with_password())
    assert not protected(render())
    assert "initContainers" not in spec_of(render())
