"""`python -m services check` and `token`, as processes of their own: against everything that `all` starts, and against a gateway that asks for tokens."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.gateway_process import running as running_gateway
from tests.servers import ROOT, Valkey
from tests.stack import Stack, running
from tests.tokens import SECRET

SHIPPED = ROOT / "deploy" / "helm" / "tideboard" / "files" / "dashboards"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(SHIPPED) as found:
        yield found


def errand(name: str, **settings: object) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **{f"TIDEBOARD_{key.upper()}": str(value) for key, value in settings.items()}}
    command = [sys.executable, "-m", "services", name]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)


def check(stack: Stack, **settings: object) -> subprocess.CompletedProcess[str]:
    gateway, ingestor = f"http://127.0.0.1:{stack.gateway}", f"http://127.0.0.1:{stack.ingestor}"
    return errand("check", **{"check_gateway": gateway, "check_ingestor": ingestor, **settings})


def test_a_sample_is_seen_all_the_way_through(stack: Stack) -> None:
    for _ in range(2):  # also where there is a number already
        done = check(stack)
        assert done.returncode == 0, done.stderr
        assert "the sample was seen after" in done.stderr


def test_a_dashboard_that_is_not_there_is_said(stack: Stack) -> None:
    done = check(stack, check_dashboard="nowhere", check_timeout=3)
    assert done.returncode == 1
    assert "within 3 s the dashboard 'nowhere' was not shown: there is no dashboard 'nowhere'" in done.stderr


def test_an_ingestor_that_does_not_answer_is_said(stack: Stack) -> None:
    done = check(stack, check_ingestor="http://127.0.0.1:1", check_timeout=4)
    assert done.returncode == 1
    assert "within 4 s the sample was not taken: the ingestor at http://127.0.0.1:1 does not answer" in done.stderr


def test_a_gateway_that_does_not_answer_is_said(stack: Stack) -> None:
    done = check(stack, check_gateway="http://127.0.0.1:1", check_timeout=3)
    assert done.returncode == 1
    assert "http://127.0.0.1:1 cannot be reached" in done.stderr


def test_a_gateway_that_asks_for_a_token_takes_the_one_that_is_made(valkey: Valkey, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    environ = {"TIDEBOARD_GATEWAY_AUTH": "jwt", "TIDEBOARD_GATEWAY_SECRET_FILE": str(secret)}
    with running_gateway(GatewayProcess(valkey.url, tmp_path, **environ)) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        printed = errand("token", gateway_secret_file=secret)
        assert (printed.returncode, printed.stderr) == (0, "")
        assert listed(url, printed.stdout.strip()) == 200
        assert listed(url, "") == 401
        refused = errand("check", check_gateway=url, check_timeout=2)
        assert "the gateway refuses the socket: HTTP/1.1 401 Unauthorized" in refused.stderr
        file = tmp_path / "token"
        written = errand("token", gateway_secret_file=secret, token_file=file, token_dashboards="check", token_hours=0.02)
        assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
        assert file.stat().st_mode & 0o777 == 0o600
        let_in = errand("check", check_gateway=url, check_timeout=2, check_token_file=file)
        assert "there is no dashboard 'check'" in let_in.stderr


def test_a_token_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    done = errand("token", gateway_secret_file=tmp_path / "secret", token_file=tmp_path / "nowhere" / "token")
    assert done.returncode != 0
    assert f"{tmp_path}/nowhere/token cannot be written: No such file or directory" in done.stderr


def listed(url: str, token: str) -> int:
    head = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/dashboards", headers=head), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
