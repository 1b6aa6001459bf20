"""`python -m services`: what it answers to a person. Real processes."""

import os
import subprocess
import sys

import pytest

from tests.servers import ROOT


def services(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, text=True, capture_output=True, check=False, timeout=30
    )


def test_help_lists_targets_and_settings() -> None:
    done = services("--help")
    assert done.returncode == 0
    for word in (
        "ingestor",
        "aggregator",
        "gateway",
        "operator",
        "collector",
        "all",
        "--gateway-port (TIDEBOARD_GATEWAY_PORT, 8080)",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environ", "sentence"),
    [
        (
            ["operator"],
            {"KUBECONFIG": "", "HOME": "/nowhere"},
            "there is no API server: this is no pod with a service account, and KUBECONFIG names no file",
        ),
        (
            ["operator"],
            {"KUBECONFIG": "/nowhere/config"},
            "the kubeconfig cannot be used: [Errno 2] No such file or directory: '/nowhere/config'",
        ),
        (
            ["gatway"],
            {},
            "'gatway' is not a target; there are ingestor, aggregator, gateway, operator, collector, all, check, token",
        ),
        (["token"], {}, "TIDEBOARD_GATEWAY_SECRET_FILE names no secret: gateways verify by keys of others, or ask nobody"),
        (["check", "--gateway-port", "1"], {}, "--gateway-port is not a setting of this target; --help lists them"),
        (["all", "--check-timeout", "1"], {}, "--check-timeout is not a setting of this target; --help lists them"),
        (["gateway", "--gatway-port", "1"], {}, "--gatway-port is not a setting of this target; --help lists them"),
        (["gateway", "--gateway-port", "x"], {}, "--gateway-port: 'x' is not a whole number"),
        (["all"], {"TIDEBOARD_ADMIN_PORT": "x"}, "TIDEBOARD_ADMIN_PORT: 'x' is not a whole number"),
        (["all"], {"TIDEBOARD_KAFKA_PARTITIONS": "many"}, "TIDEBOARD_KAFKA_PARTITIONS: 'many' is not a whole number"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments: list[str], environ: dict[str, str], sentence: str) -> None:
    done = services(*arguments, **environ)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"tideboard: {sentence}\n")


def test_a_target_ends_at_once_when_its_parent_is_gone_already() -> None:
    done = services("gateway", TIDEBOARD_PARENT="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
