"""deploy/k8s: what kubectl puts together is what the chart renders, without what is Helm's."""

import ipaddress
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tools import kustomize, manifests
from tools.clients import client

HELMS: Final = {"helm.sh/chart", "app.kubernetes.io/managed-by", "helm.sh/hook"}
OWN_KAFKA: Final = "kafka-0.kafka.example:9093,kafka-1.kafka.example:9093,kafka-2.kafka.example:9093"
COMPOSITIONS: Final = [str(path.relative_to(manifests.HOME)) for path in manifests.compositions()]


@cache
def built(folder: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [client("kubectl"), "kustomize", manifests.HOME / folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def rendered(*external: str) -> list[dict[str, Any]]:
    """What the chart renders, with servers of one's own instead of these."""
    return manifests.rendered({key: value for server in external for key, value in manifests.EXTERNAL[server].items()})


def of(folder: str, kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in built(folder) if each["kind"] == kind}


def settings(folder: str, name: str) -> dict[str, str]:
    """A ConfigMap, whose name ends with a hash."""
    (found,) = [each for key, each in of(folder, "ConfigMap").items() if key.rpartition("-")[0] == name]
    return dict(found["data"])


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    kinds = ("Deployment", "StatefulSet", "DaemonSet")
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in objects if each["kind"] in kinds}


def test_what_is_there_is_what_the_objectsrenders() -> None:
    assert manifests.written() == manifests.tree(), "make manifests writes it"


def test_nothing_of_it_is_random_or_secret() -> None:
    assert not [path for path, text in manifests.tree().items() if "\nkind: Secret\n" in text]


@pytest.mark.parametrize("folder", COMPOSITIONS)
def test_nothing_of_helm_is_left(folder: str) -> None:
    for each in built(folder):
        metadata = each["metadata"]
        assert not HELMS & {*metadata.get("labels", {}), *metadata.get("annotations", {})}, metadata["name"]


@pytest.mark.parametrize("folder", [folder for folder in COMPOSITIONS if not folder.startswith("base")])
def test_everything_is_in_the_overlays_namespace(folder: str) -> None:
    (wanted,) = {each["metadata"]["namespace"] for each in built(folder) if each["kind"] != "Namespace"}
    subjects = [subject for each in of(folder, "RoleBinding").values() for subject in each["subjects"]]
    assert subjects
    assert {subject["namespace"] for subject in subjects} == {wanted}
    assert f".{manifests.NAME}.svc" not in str(built(folder))


def test_pods_are_those_of_the_chart() -> None:
    """But for the hash at the end of a ConfigMap's name, and what overlays leave out."""
    chart, base = pods(rendered()), pods(built("base"))
    assert set(base) == {name for name in chart if not name.endswith(("-kafka", "-redis"))}
    for name, pod in base.items():
        for container in pod["containers"]:
            for source in container.get("envFrom", ()):
                source["configMapRef"]["name"] = source["configMapRef"]["name"].rpartition("-")[0]
        assert pod == chart[name]


def test_a_changed_setting_means_new_pods() -> None:
    (one,) = pods(built("base"))["tideboard-gateway"]["containers"]
    (other,) = pods(built("overlays/dev"))["tideboard-gateway"]["containers"]
    assert one["envFrom"] != other["envFrom"]


def test_the_overlay_for_a_look_asks_nobody_for_a_token_and_needs_no_secret() -> None:
    assert settings("overlays/dev", "tideboard-gateway")["TIDEBOARD_GATEWAY_AUTH"] == "off"
    assert "secret" not in str(pods(built("overlays/dev"))["tideboard-gateway"]["volumes"])


@pytest.mark.parametrize("component", ["ingestor", "aggregator", "gateway", "operator"])
def test_the_overlay_for_production_says_what_the_chart_says_with_the_same_values(component: str) -> None:
    objects = rendered("kafka", "redis")
    (chart,) = [
        each for each in objects if each["kind"] == "ConfigMap" and each["metadata"]["name"] == f"tideboard-{component}"
    ]
    own = settings("overlays/production", f"tideboard-{component}")
    own.pop("TIDEBOARD_GATEWAY_TRUSTED_PROXIES", None)
    said = dict(chart["data"])
    assert own.pop("REDIS_URL") == said.pop("REDIS_URL").replace(
        "sentinel.example:26379", ",".join(f"sentinel-{number}.redis.example:26379" for number in range(3))
    )
    assert own.pop("KAFKA_BOOTSTRAP_SERVERS", OWN_KAFKA) == OWN_KAFKA
    said.pop("KAFKA_BOOTSTRAP_SERVERS", None)
    assert own == said
    mounted = pods(built("overlays/production"))[f"tideboard-{component}"]
    wanted = pods(objects)[f"tideboard-{component}"]
    assert by_name(mounted["volumes"]) == by_name(wanted["volumes"])


def test_the_overlay_for_production_believes_few_and_lets_in_who_it_believes() -> None:
    """A pod that may connect and has a trusted address says of itself what it likes."""
    trusted = settings("overlays/production", "tideboard-gateway")["TIDEBOARD_GATEWAY_TRUSTED_PROXIES"]
    assert ipaddress.ip_network(trusted).num_addresses <= 256
    rules = of("overlays/production", "NetworkPolicy")["tideboard-gateway-ingress"]["spec"]["ingress"]
    assert [rule for rule in rules if "from" not in rule] == []
    (route,) = of("overlays/production", "HTTPRoute").values()
    [proxies] = [peer for rule in rules for peer in rule["from"] if peer.get("namespaceSelector") == _named(route)]
    assert proxies


def _named(route: dict[str, Any]) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": route["spec"]["parentRefs"][0]["namespace"]}}


def by_name(volumes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(volumes, key=lambda volume: str(volume["name"]))


def test_a_file_that_nothing_writes_any_more_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, text in manifests.tree().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    (tmp_path / "base" / "gone.yaml").write_text(kustomize.MARK, encoding="utf-8")
    (tmp_path / "base" / "mine.yaml").write_text("# by hand\n", encoding="utf-8")
    monkeypatch.setattr(manifests, "HOME", tmp_path)
    assert set(manifests.written()) - set(manifests.tree()) == {"base/gone.yaml"}


def test_settings_become_a_generator_and_other_entries_files() -> None:
    labels = {"app.kubernetes.io/component": "gateway", "helm.sh/chart": "x-1"}
    one = {
        "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "n", "labels": labels},
        "data": {"A_B": "host.n.svc.cluster.local:1"},
    }
    made = kustomize.folder("base/x", [kustomize.plain(one, "n")])
    assert made["base/x/settings.env"] == kustomize.MARK + "A_B=host:1\n"
    generator = yaml.safe_load(made["base/x/kustomization.yaml"])["configMapGenerator"][0]
    assert generator == {
        "name": "x",
        "envs": ["settings.env"],
        "options": {"labels": {"app.kubernetes.io/component": "gateway"}},
    }
