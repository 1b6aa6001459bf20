"""What a person reads after an installation: how to open the wall, and what was chosen."""

import re
from typing import Any

import pytest

from tests.chart.rendering import notes


def test_defaults_say_how_to_open_the_wall_and_that_the_servers_are_for_evaluation() -> None:
    said = notes()
    assert "kubectl -n boards port-forward service/demo-tideboard-gateway 8080:8080" in said
    assert "exec deployment/demo-tideboard-gateway -- python -m services token" in said
    assert said.count("FOR EVALUATION ONLY") == 2
    assert "helm test demo -n boards" in said
    assert "{{" not in said


def test_that_nobody_is_asked_is_said_loudly() -> None:
    said = notes(file="values-local.yaml")
    assert "ARE NOT ASKED FOR ANYTHING" in said
    assert "services token" not in said
    assert "OPEN: there are no policies" in said


def test_ones_own_servers_and_hosts_are_named_and_no_password_is() -> None:
    said = notes({"externalRedis": {"password": "hush", "existingSecret": ""}}, file="values-production.yaml")
    assert "wall.example" in said
    assert "kafka-0.kafka.example:9093" in said
    assert "rediss+sentinel://sentinel-0.redis.example:26379" in said
    assert "EVALUATION" not in said
    assert "hush" not in said


TLS = {"tls": [{"secretName": "a"}]}


def ingress(**more: Any) -> dict[str, Any]:
    return {"ingress": {"enabled": True, "hosts": [{"host": "wall.example"}], **more}}


def route(*hostnames: str) -> dict[str, Any]:
    return {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": list(hostnames)}}


@pytest.mark.parametrize("auth", [{}, {"mode": "none"}, {"jwks": "https://id.example"}])
@pytest.mark.parametrize(
    ("way", "address"),
    [
        (ingress(), "http://wall.example/"),
        (ingress(**TLS), "https://wall.example/"),
        (route("wall.example"), "https://wall.example/"),
        (route(), "https://HOST/"),
    ],
)
def test_who_comes_in_by_a_host_is_told_of_that_host_only(way: dict[str, Any], address: str, auth: dict[str, str]) -> None:
    said = notes({"gateway": {**way, "auth": auth}})
    assert f"\n  {address}\n" in said
    assert ("127.0.0.1" in said, "port-forward" in said) == (False, False)
    if auth.get("mode") != "none":
        assert f"{address}#token=" in said


@pytest.mark.parametrize("auth", [{}, {"mode": "none"}, {"jwks": "https://id.example"}])
def test_who_has_no_host_is_told_to_forward_a_port(auth: dict[str, str]) -> None:
    said = notes({"gateway": {"auth": auth}})
    assert "port-forward service/demo-tideboard-gateway 8080:8080" in said
    assert "http://127.0.0.1:8080/" in said


def test_both_ways_in_are_named() -> None:
    said = notes({"gateway": {**ingress(**TLS), **route("other.example")}})
    assert "  https://wall.example/\n  https://other.example/\n" in said


@pytest.mark.parametrize(
    ("off", "tested", "posted"), [("tests", False, True), ("operator", False, True), ("ingestor", False, False)]
)
def test_nobody_is_told_to_try_what_is_not_there(off: str, tested: bool, posted: bool) -> None:
    said = notes({off: {"enabled": False}, "collector": {"enabled": False}, "watcher": {"enabled": False}})
    assert ("helm test" in said, "Post samples" in said) == (tested, posted)


def test_without_gateways_there_is_no_wall_to_open() -> None:
    said = notes({"gateway": {"enabled": False}})
    assert not re.search("wall|port-forward|token|helm test", said)
