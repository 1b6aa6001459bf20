"""deploy/k8s: an API server takes the overlays as they are, and admits their pods where Pod Security is `restricted`."""

from typing import Any

import pytest
import yaml

from tests.cluster.api import until
from tests.cluster.cluster import Cluster
from tools.manifests import HOME

pytestmark = pytest.mark.api
PRODUCTION = {
    "tideboard-ingestor": 3,
    "tideboard-aggregator": 3,
    "tideboard-gateway": 3,
    "tideboard-operator": 1,
    "tideboard-watcher": 1,
}
DEV = {**dict.fromkeys(PRODUCTION, 1), "tideboard-kafka": 1, "tideboard-redis": 1}
SERVED_BY_OTHERS = ("HTTPRoute", "ServiceMonitor", "PrometheusRule")


def moved(cluster: Cluster, overlay: str, namespace: str) -> list[dict[str, Any]]:
    """What an overlay is put together from, in the test's namespace instead of its own."""
    found = yaml.safe_load_all(cluster.kubectl("kustomize", str(HOME / "overlays" / overlay)))
    objects = [each for each in found if each["kind"] not in ("Namespace", *SERVED_BY_OTHERS)]
    for each in objects:
        each["metadata"]["namespace"] = namespace
        for subject in each.get("subjects", ()):
            subject["namespace"] = namespace
    return objects


def owners(cluster: Cluster, namespace: str) -> dict[str, int]:
    """How many pods were admitted of each workload, by its name. Those of a DaemonSet depend on the nodes."""
    found: dict[str, int] = {}
    for pod in cluster.pods(namespace):
        name = "tideboard-" + pod["metadata"]["labels"]["app.kubernetes.io/component"]
        if name != "tideboard-collector":
            found[name] = found.get(name, 0) + 1
    return found


def test_the_definitions_are_taken(cluster: Cluster) -> None:
    said = cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", str(HOME / "base" / "crds"))
    assert "dashboards.tideboard.dev" in said
    assert "sources.tideboard.dev" in said


@pytest.mark.parametrize(("overlay", "wanted"), [("dev", DEV), ("production", PRODUCTION)])
def test_an_overlay_is_taken_as_it_is_and_its_pods_are_admitted(
    cluster: Cluster, namespace: str, overlay: str, wanted: dict[str, int]
) -> None:
    text = yaml.safe_dump_all(moved(cluster, overlay, namespace))
    cluster.kubectl("apply", "--validate=strict", "-f", "-", stdin=text)
    until("every pod is admitted", lambda: owners(cluster, namespace) == wanted or None)
    assert "unchanged" in cluster.kubectl("apply", "-f", "-", stdin=text)
