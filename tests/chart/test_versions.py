"""The same from both Helms, and what every Kubernetes from 1.30 to 1.37 takes, as its own schemas say."""

import functools
import json
import shutil
from pathlib import Path

import kubernetes_validate
import kubernetes_validate.utils
import pytest

from tests.chart.rendering import FILES, RELEASE, WORKLOADS, Object, render, rendered_as
from tools.chart import CHART

KUBERNETES = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
OTHERS = ("HTTPRoute", "Dashboard", "ServiceMonitor", "PodMonitor", "PrometheusRule")  # whose schemas are not Kubernetes'


@pytest.fixture(autouse=True)
def each_schema_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a test, and not for longer: those of one version take hundreds of megabytes."""
    contents = functools.cache(kubernetes_validate.utils.schema_contents)
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", contents)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_kubernetes_takes_what_is_rendered(version: str) -> None:
    different = {json.dumps(found, sort_keys=True) for file in FILES for found in render(file=file).objects}
    checked = 0
    for found in map(json.loads, different):
        if found["kind"] not in OTHERS:
            kubernetes_validate.validate(found, version, strict=True)
            checked += 1
    assert checked > 100


def test_what_is_not_kubernetes_is_refused_by_that_check() -> None:
    broken = {**render().one("Deployment", "gateway"), "spec": {"replcas": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.34", strict=True)


@pytest.mark.parametrize("odd", ["123", "1e3", "true", "null"])
def test_names_that_yaml_would_read_as_something_else_stay_names(odd: str) -> None:
    """Secrets, their keys, namespaces and classes may be called so."""
    for values in (_named(odd), _with_passwords(odd)):
        for found in rendered_as(RELEASE, values, namespace=odd).objects:
            if found["kind"] not in OTHERS:
                kubernetes_validate.validate(found, "1.34", strict=True)
            if found["kind"] != "CustomResourceDefinition":
                assert found["metadata"]["namespace"] == odd
            assert all(isinstance(key, str) for key in found.get("data") or ()), found["metadata"]["name"]


def _named(odd: str) -> dict[str, object]:
    tls = {"enabled": True, "caSecret": odd, "caSecretKey": odd, "existingSecret": odd}
    keys = {"existingSecret": odd, "existingSecretKey": odd, "keySecret": odd, "keySecretKey": odd}
    gateway = {
        "auth": {**keys, "jwksCaSecret": odd, "jwksCaSecretKey": odd},
        "priorityClassName": odd,
        "serviceAccount": {"name": odd},
        "ingress": {"enabled": True, "className": odd, "hosts": [{"host": "wall.example"}]},
    }
    redis = {"auth": {"existingSecret": odd, "existingSecretKey": odd}, "persistence": {"existingClaim": odd}}
    sasl = {"mechanism": "PLAIN", "username": odd, "existingSecret": odd, "existingSecretKey": odd}
    return {
        "imagePullSecrets": [odd], "gateway": gateway, "redis": redis, "operator": {"serviceAccount": {"name": odd}},
        "kafka": {"enabled": False}, "externalKafka": {"brokers": ["b:9092"], "sasl": sasl, "tls": tls},
    }  # fmt: skip


def _with_passwords(odd: str) -> dict[str, object]:
    """Of which the chart makes Secrets."""
    sasl = {"mechanism": "PLAIN", "username": odd, "password": odd, "existingSecretKey": odd}
    sentinel = {"hosts": ["s:26379"], "service": odd, "password": odd, "existingSecretPasswordKey": f"{odd}.0"}
    return {
        "kafka": {"enabled": False}, "externalKafka": {"brokers": ["b:9092"], "sasl": sasl},
        "redis": {"enabled": False}, "externalRedis": {"password": odd, "existingSecretPasswordKey": odd, "sentinel": sentinel},
        "gateway": {"auth": {"existingSecretKey": odd}}, "tests": {"tokenSecret": odd, "tokenSecretKey": odd},
    }  # fmt: skip


@pytest.mark.parametrize("file", sorted(FILES))
def test_both_helms_render_the_same(file: str) -> None:
    assert known(render(file=file, helm="helm3").objects) == known(render(file=file, helm="helm4").objects)


def test_a_new_version_of_the_chart_restarts_nothing_by_itself(tmp_path: Path) -> None:
    """Kafka and Redis least of all."""
    values = {"image": {"tag": "one"}}
    newer = shutil.copytree(CHART, tmp_path / "tideboard")
    told = (newer / "Chart.yaml").read_text(encoding="utf-8").replace("ersion: 0.1.0", "ersion: 0.1.1")
    (newer / "Chart.yaml").write_text(told, encoding="utf-8")
    before, after = rendered_as(RELEASE, values), rendered_as(RELEASE, values, newer)
    assert after.one("ConfigMap", "kafka")["metadata"]["labels"]["helm.sh/chart"] == "tideboard-0.1.1"
    for found in before.of(*WORKLOADS):
        name = found["metadata"]["name"].removeprefix(f"{RELEASE}-tideboard-")
        assert after.one(found["kind"], name)["spec"] == found["spec"], name


def known(objects: tuple[Object, ...]) -> list[Object]:
    """In one order, and without what is drawn by chance."""
    inorder = sorted(objects, key=lambda found: (found["kind"], found["metadata"]["name"]))
    return [{**found, "data": sorted(found["data"])} if found["kind"] == "Secret" else found for found in inorder]
