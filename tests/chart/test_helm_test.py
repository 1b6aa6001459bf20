"""`helm test`: its pod asks what it must, may reach what it must, and is gone when it has passed. That it passes is shown in tests/cluster."""

from typing import Any

import pytest

from services.check.settings import CheckSettings, TokenSettings
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
    ("gateway", "tests", "secret"),
    [
        ({}, {}, "demo-tideboard-gateway-tokens"),
        ({"auth": {"existingSecret": "mine", "issuers": ["us"]}}, {}, "mine"),
        ({"auth": {"jwks": "https://id.example"}}, {"tokenSecret": "theirs"}, "theirs"),
        ({"auth": {"mode": "none"}}, {}, ""),
    ],
)
def test_it_has_a_token_where_viewers_need_one(gateway: Any, tests: Any, secret: str) -> None:
    rendered = render({"gateway": gateway, "tests": tests})
    spec = pod_of(rendered)["spec"]
    assert load(CheckSettings, environ(rendered)).token_file == ("/run/tideboard/token" if secret else "")
    assert ("token" in mounts(spec["containers"][0])) == bool(secret)
    assert secrets(spec) == ({secret} if secret else set())


def test_who_looks_never_sees_the_secret_that_tokens_are_signed_with() -> None:
    """Another container makes a token of it before: for the one dashboard, and no longer than the test may take."""
    auth = {"issuers": ["us"], "audiences": ["boards"], "dashboardsClaim": "may"}
    rendered = render({"gateway": {"auth": auth}, "tests": {"timeoutSeconds": 300}})
    spec = pod_of(rendered)["spec"]
    [maker], [looker] = spec["initContainers"], spec["containers"]
    told = {item["name"]: item["value"] for item in maker["env"]}
    wanted, signing = load(TokenSettings, told), load(SigningSettings, told)
    assert (maker["args"], wanted.file) == (["token"], load(CheckSettings, environ(rendered)).token_file)
    assert (wanted.dashboards, wanted.hours) == (("check",), 0.1)
    assert (signing.issuers, signing.audiences, signing.claim) == (("us",), ("boards",), "may")
    assert mounts(maker) == {"tmp", "token", "secrets-tokens"}
    assert mounts(looker) == {"tmp", "token"}
    assert not any("SECRET" in name for name in environ(rendered))
    assert {"name": "token", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}} in spec["volumes"]


def test_it_runs_where_gateways_may() -> None:
    where = {
        "nodeSelector": {"pool": "boards"},
        "tolerations": [{"key": "boards", "operator": "Exists"}],
        "priorityClassName": "high",
    }
    spec = pod_of(render({"gateway": where}))["spec"]
    assert {key: spec.get(key) for key in where} == where


def mounts(container: Object) -> set[str]:
    return {mount["name"] for mount in container["volumeMounts"]}


def secrets(spec: Object) -> set[str]:
    sources = [source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    return {source["secret"]["name"] for source in sources}


def test_its_way_is_open_and_no_other() -> None:
    rendered = render()
    rules = rendered.one("NetworkPolicy", "test")["spec"]["egress"]
    ways = {
        (rule["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], rule["ports"][0]["port"]) for rule in rules
    }
    assert ways == {("ingestor", 8081), ("gateway", 8080)}


@pytest.mark.parametrize("off", ["tests", "ingestor", "aggregator", "gateway", "operator"])
def test_there_is_none_where_that_is_chosen_or_its_sample_could_not_get_through(off: str) -> None:
    without = render({off: {"enabled": False}, "collector": {"enabled": False}, "watcher": {"enabled": False}})
    assert not without.of("Pod")
    assert "test" not in without.names("NetworkPolicy")
