"""`helm test`: its pod asks what it must, may reach what it must, and is gone when it has passed. That it passes is shown in tests/cluster."""

from typing import Any

import pytest

from services.check.settings import CheckSettings
from services.check.signing import SigningSettings
from services.runtime.settings import load
from tests.chart.rendering import Object, Rendered, render


def pod_of(rendered: Rendered) -> Object:
    [pod] = rendered.of("Pod")
    return pod


def environ(rendered: Rendered) -> dict[str, str]:
    return {item["name"]: item["value"] for item in pod_of(rendered)["spec"]["containers"][0]["env"]}


def test_it_asks_the_services_of_the_release() -> None:
    rendered = render()
    found = load(CheckSettings, environ(rendered))
    assert found.ingestor == "http://demo-tideboard-ingestor.boards.svc.cluster.local:8081"
    assert found.gateway == "http://demo-tideboard-gateway.boards.svc.cluster.local:8080"
    assert found.timeout_s == 60
    assert pod_of(rendered)["spec"]["containers"][0]["args"] == ["check"]


def test_it_is_a_test_and_gone_when_it_has_passed() -> None:
    annotations = pod_of(render())["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


@pytest.mark.parametrize(
    ("gateway", "tests", "file"),
    [
        ({}, {}, "/etc/tideboard/tokens/secret"),
        ({"auth": {"existingSecret": "mine", "issuers": ["us"]}}, {}, "/etc/tideboard/tokens/secret"),
        ({"auth": {"jwks": "https://id.example"}}, {"tokenSecret": "mine"}, "/etc/tideboard/tokens/token"),
        ({"auth": {"mode": "none"}}, {}, ""),
    ],
)
def test_it_has_a_token_or_signs_one_where_viewers_need_one(gateway: Any, tests: Any, file: str) -> None:
    rendered = render({"gateway": gateway, "tests": tests})
    told = environ(rendered)
    check, signing = load(CheckSettings, told), load(SigningSettings, told)
    assert (check.token_file or signing.secret_file) == file
    assert signing.issuers == tuple(gateway.get("auth", {}).get("issuers", ()))
    mounts = [mount["mountPath"] for mount in pod_of(rendered)["spec"]["containers"][0]["volumeMounts"]]
    assert ("/etc/tideboard/tokens" in mounts) == bool(file)


def test_its_way_is_open_and_no_other() -> None:
    rendered = render()
    rules = rendered.one("NetworkPolicy", "test")["spec"]["egress"]
    ways = {
        (rule["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], rule["ports"][0]["port"]) for rule in rules
    }
    assert ways == {("ingestor", 8081), ("gateway", 8080)}


def test_there_is_none_where_that_is_chosen_or_nobody_could_be_asked() -> None:
    for values in ({"tests": {"enabled": False}}, {"gateway": {"enabled": False}}):
        assert not render(values).of("Pod")
