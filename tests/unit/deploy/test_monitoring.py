"""What the chart renders for Prometheus and Grafana."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.unit.deploy.exported import ROOT, complaints, known
from tests.unit.deploy.test_rules import ALERTS, RUNBOOKS
from tools.clients import client

CHART: Final = ROOT / "deploy" / "helm" / "tideboard"
MUCH: Final = CHART / "ci" / "monitoring-values.yaml"
KINDS: Final = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


def template(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [client("helm4"), "template", "live", CHART, "--namespace", "watch", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@cache
def rendered(*words: str | Path) -> list[dict[str, Any]]:
    done = template(*words)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def one(kind: str, *words: str | Path, name: str = "live-tideboard") -> dict[str, Any]:
    (found,) = [each for each in rendered(*words) if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def alerts(*words: str | Path) -> dict[str, dict[str, Any]]:
    groups = one("PrometheusRule", *words)["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def our_pods() -> dict[str, dict[str, str]]:
    """The labels of the pods that run our image, by component. Each has the port `admin`."""
    found = {}
    for each in rendered(*("-f", MUCH)):
        if each["kind"] not in ("Deployment", "StatefulSet", "DaemonSet"):
            continue
        pod = each["spec"]["template"]
        container = pod["spec"]["containers"][0]
        if "/tideboard:" in container["image"]:
            assert {"name": "admin", "containerPort": 9100} in container["ports"]
            found[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = pod["metadata"]["labels"]
    assert {"ingestor", "aggregator", "gateway", "operator", "collector"} <= set(found)
    return found


def test_nothing_of_it_is_there_by_default() -> None:
    assert [each["kind"] for each in rendered() if each["kind"] in KINDS] == []
    assert [each for each in rendered() if each["metadata"]["name"].endswith(("-metrics", "-grafana"))] == []


def test_a_cluster_without_the_custom_resources_is_not_asked_whether_it_has_them() -> None:
    """Rendering knows no cluster, and a release must not depend on what was there when it was rendered."""
    kinds = {each["kind"] for each in rendered("-f", MUCH)}
    assert {"ServiceMonitor", "PrometheusRule"} <= kinds


def test_the_service_monitor_leads_to_every_pod_of_ours() -> None:
    monitor = one("ServiceMonitor", "-f", MUCH)["spec"]
    service = one("Service", "-f", MUCH, name="live-tideboard-metrics")
    assert matches(monitor["selector"]["matchLabels"], service["metadata"]["labels"])
    selected = [each for each in rendered("-f", MUCH) if each["kind"] == "Service" and each != service]
    assert not any(matches(monitor["selector"]["matchLabels"], each["metadata"]["labels"]) for each in selected)
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"] == "admin"
    assert all(matches(service["spec"]["selector"], labels) for labels in our_pods().values())


def test_the_pod_monitor_leads_to_every_pod_of_ours() -> None:
    monitor = one("PodMonitor", "--set", "metrics.podMonitor.enabled=true")["spec"]
    assert monitor["podMetricsEndpoints"][0]["port"] == "admin"
    assert all(matches(monitor["selector"]["matchLabels"], labels) for labels in our_pods().values())


def test_the_labels_that_alerts_ask_for_are_those_that_monitors_add() -> None:
    added = {each["targetLabel"] for each in one("ServiceMonitor", "-f", MUCH)["spec"]["endpoints"][0]["relabelings"]}
    assert added == {"release", "component"}


def test_alerts_are_those_of_the_file_for_this_release() -> None:
    found = alerts("-f", MUCH)
    assert set(found) == set(ALERTS) - {"TideboardGroupsPooled"}
    for name, alert in found.items():
        assert "$select" not in alert["expr"]
        assert "$pods" not in alert["expr"]
        assert complaints(alert["expr"], known()) == []
        assert 'namespace="watch"' in alert["expr"]
        page = alert["annotations"]["runbook_url"].rpartition("/")[2]
        assert (RUNBOOKS / page).is_file()
        assert alert["labels"] == {"severity": alert["labels"]["severity"], "team": "boards"}
        assert alert["annotations"]["summary"] == ALERTS[name]["annotations"]["summary"]


def test_an_alert_can_be_otherwise_and_rules_of_ones_own_be_added() -> None:
    found = alerts("-f", MUCH)
    assert (found["TideboardLagGrowing"]["for"], found["TideboardLagGrowing"]["labels"]["severity"]) == ("20m", "critical")
    assert found["TideboardPanelsOld"]["expr"] == 'max(tideboard_gateway_parts_away{namespace="watch",release="live"}) > 3'
    assert one("PrometheusRule", "-f", MUCH)["spec"]["groups"][-1]["name"] == "own"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true"), "choose one"),
        (
            ("--set", "metrics.prometheusRule.enabled=true,metrics.prometheusRule.alerts.TideboardNothing.for=1m"),
            "there is no alert TideboardNothing",
        ),
    ],
)
def test_a_mistake_is_told_in_a_sentence(words: tuple[str, ...], said: str) -> None:
    done = template(*words)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_dashboard_is_what_grafanas_sidecar_looks_for() -> None:
    found = one("ConfigMap", "-f", MUCH, name="live-tideboard-grafana")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"]["grafana_folder"] == "Tideboard"
    shipped = (CHART / "files" / "monitoring" / "tideboard.json").read_text(encoding="utf-8")
    assert json.loads(found["data"]["tideboard.json"]) == json.loads(shipped)
