"""The chart before an API server and its controllers, with both Helms: installed, upgraded, rolled back, twice side by side, and gone again.

No pod runs here: that they are admitted where Pod Security is `restricted` shows by their objects. What they do is shown elsewhere.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from services.operator.access import login
from services.operator.cluster import Cluster as Operator
from services.operator.shipping import LOOK_S, ship
from tests.cluster import operating
from tests.cluster.api import until
from tests.cluster.cluster import Cluster, unique
from tools.chart import CHART

pytestmark = pytest.mark.api
HELMS: Final = pytest.mark.parametrize("helm", ["helm3", "helm4"])
RELEASE: Final = "boards"
NAME: Final = f"{RELEASE}-tideboard"
PODS: Final = {"ingestor": 2, "aggregator": 2, "gateway": 1, "operator": 1, "watcher": 1, "kafka": 1, "redis": 1}
KINDS: Final = (
    "deployments,statefulsets,daemonsets,services,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,"
    "poddisruptionbudgets,horizontalpodautoscalers,ingresses,pods,jobs"
)
KEPT: Final = "customresourcedefinition/dashboards.tideboard.dev"


@pytest.fixture(autouse=True)
def no_definitions(cluster: Cluster) -> Iterator[None]:
    """As a cluster is that never heard of Tideboard: on a floor of our own nobody else needs them meanwhile."""
    spare(cluster)
    remove_definitions(cluster)
    yield
    remove_definitions(cluster)


def spare(cluster: Cluster) -> None:
    """In a cluster of somebody else every dashboard would go with the definitions."""
    if cluster.plan is None and "tideboard.dev" in cluster.kubectl("get", "customresourcedefinitions", "-o", "name"):
        pytest.skip("this cluster has Tideboard's definitions, and these tests would delete them with all dashboards")


def remove_definitions(cluster: Cluster) -> None:
    names = ("dashboards.tideboard.dev", "sources.tideboard.dev")
    cluster.kubectl("delete", "customresourcedefinition", *names, "--ignore-not-found", "--wait=true")


@contextmanager
def installed(cluster: Cluster, helm: str, namespace: str, *words: str) -> Iterator[None]:
    cluster.client(helm, "install", RELEASE, str(CHART), "-n", namespace, *words)
    try:
        yield
    finally:
        cluster.tried(helm, "uninstall", RELEASE, "-n", namespace)


def upgrade(cluster: Cluster, helm: str, namespace: str, *words: str) -> None:
    cluster.client(helm, "upgrade", RELEASE, str(CHART), "-n", namespace, *words)


def found(cluster: Cluster, kind: str, name: str, namespace: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
    return read


def admitted(cluster: Cluster, namespace: str) -> dict[str, int]:
    """How many pods there are of each component, but for collectors, of which each node has one."""
    counts: dict[str, int] = {}
    for pod in cluster.pods(namespace):
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        if component != "collector":
            counts[component] = counts.get(component, 0) + 1
    return counts


def test_definitions_of_somebody_elses_cluster_are_spared(cluster: Cluster, namespace: str) -> None:
    elsewhere = Cluster(cluster.api)
    spare(elsewhere)  # there are none
    with installed(cluster, "helm4", namespace):
        with pytest.raises(pytest.skip.Exception, match="would delete them"):
            spare(elsewhere)
        spare(cluster)


def test_definitions_of_somebody_elses_cluster_stay_as_they_are(cluster: Cluster, namespace: str) -> None:
    with installed(cluster, "helm4", namespace):
        with operating.definitions(Cluster(cluster.api)):
            pass
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dashboards.tideboard.dev"
        metadata = cluster.api.get(path)["metadata"]
        assert "kubectl" not in {each["manager"] for each in metadata["managedFields"]}


@HELMS
def test_defaults_are_installed_at_once_and_every_pod_is_admitted(cluster: Cluster, namespace: str, helm: str) -> None:
    with installed(cluster, helm, namespace):
        until("every pod is admitted", lambda: admitted(cluster, namespace) == PODS or None)
        assert found(cluster, "crd", "dashboards.tideboard.dev", namespace)["spec"]["group"] == "tideboard.dev"


@HELMS
def test_everything_that_can_be_turned_on_is_taken(cluster: Cluster, namespace: str, helm: str) -> None:
    values = ("-f", str(CHART / "ci" / "maximal-values.yaml"), "--set", "gateway.httpRoute.enabled=false")  # others' kind
    with installed(cluster, helm, namespace, *values):
        assert found(cluster, "horizontalpodautoscaler", "boards-gateway", namespace)
        assert found(cluster, "configmap", "boards-extra", namespace)["data"] == {"namespace": namespace}


@HELMS
def test_who_scales_the_gateways_is_not_contradicted_by_an_upgrade_or_a_rollback(
    cluster: Cluster, namespace: str, helm: str
) -> None:
    with installed(cluster, helm, namespace):
        secret = found(cluster, "secret", f"{NAME}-gateway-tokens", namespace)["data"]
        cluster.kubectl("scale", f"deployment/{NAME}-gateway", "--replicas=4", "-n", namespace)
        upgrade(cluster, helm, namespace, "--set", "gateway.minReadySeconds=11")
        deployment = found(cluster, "deployment", f"{NAME}-gateway", namespace)["spec"]
        assert (deployment["replicas"], deployment["minReadySeconds"]) == (4, 11)
        assert found(cluster, "secret", f"{NAME}-gateway-tokens", namespace)["data"] == secret
        cluster.client(helm, "rollback", RELEASE, "1", "-n", namespace)
        deployment = found(cluster, "deployment", f"{NAME}-gateway", namespace)["spec"]
        assert (deployment["replicas"], deployment["minReadySeconds"]) == (4, 10)
        assert found(cluster, "secret", f"{NAME}-gateway-tokens", namespace)["data"] == secret


def test_a_release_of_helm_3_is_upgraded_by_helm_4(cluster: Cluster, namespace: str) -> None:
    with installed(cluster, "helm3", namespace):
        cluster.kubectl("scale", f"deployment/{NAME}-gateway", "--replicas=3", "-n", namespace)
        upgrade(cluster, "helm4", namespace, "--set", "ingestor.replicaCount=3")
        assert found(cluster, "deployment", f"{NAME}-gateway", namespace)["spec"]["replicas"] == 3
        assert found(cluster, "deployment", f"{NAME}-ingestor", namespace)["spec"]["replicas"] == 3


@HELMS
def test_two_releases_live_side_by_side_and_the_first_keeps_the_definitions(
    cluster: Cluster, namespace: str, helm: str
) -> None:
    with cluster.namespace(unique("beside")) as other, installed(cluster, helm, namespace):
        with installed(cluster, helm, other):
            until("every pod of the second is admitted", lambda: admitted(cluster, other) == PODS or None)
            upgrade(cluster, helm, other, "--set", "ingestor.replicaCount=1")
        upgrade(cluster, helm, namespace)  # still holds them
        annotations = found(cluster, "crd", "dashboards.tideboard.dev", namespace)["metadata"]["annotations"]
        assert annotations["meta.helm.sh/release-namespace"] == namespace


@HELMS
def test_an_uninstall_leaves_the_definitions_and_the_data_and_nothing_else(cluster: Cluster, namespace: str, helm: str) -> None:
    with installed(cluster, helm, namespace):
        until("the claims are there", lambda: len(claims(cluster, namespace)) == 2 or None)
    until("nothing is left", lambda: not left(cluster, namespace) or None)
    assert claims(cluster, namespace) == {f"data-{NAME}-kafka-0", f"data-{NAME}-redis-0"}
    assert KEPT in cluster.kubectl("get", "crd", "-o", "name").replace(
        "customresourcedefinition.apiextensions.k8s.io", "customresourcedefinition"
    )
    with installed(cluster, helm, namespace):  # and it can come back
        assert found(cluster, "deployment", f"{NAME}-operator", namespace)


def left(cluster: Cluster, namespace: str) -> list[str]:
    said = cluster.kubectl("get", KINDS, "-n", namespace, "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name")
    return said.split()


def claims(cluster: Cluster, namespace: str) -> set[str]:
    said = cluster.kubectl("get", "persistentvolumeclaims", "-n", namespace, "-o", "name")
    return {line.partition("/")[2] for line in said.split()}


@HELMS
def test_who_may_change_one_namespace_only_installs_where_somebody_else_cares_for_definitions(
    cluster: Cluster, namespace: str, helm: str
) -> None:
    """Nor may they look at definitions, or hand on rights to what these define."""
    cluster.kubectl("create", "rolebinding", "jane", "--clusterrole=admin", "--user=jane", "-n", namespace)
    values = "crds.enabled=false,operator.rbac.create=false"
    with installed(cluster, helm, namespace, "--kube-as-user=jane", "--set", values):
        until("every pod is admitted", lambda: admitted(cluster, namespace) == PODS or None)


def test_the_operator_may_do_what_it_does_and_no_more(cluster: Cluster, namespace: str) -> None:
    def may(*words: str, within: str = namespace) -> bool:
        account = f"system:serviceaccount:{namespace}:{NAME}-operator"
        return cluster.tried("kubectl", "auth", "can-i", *words, "--as", account, "-n", within).returncode == 0

    with installed(cluster, "helm4", namespace):
        for kind in ("dashboards.tideboard.dev", "sources.tideboard.dev"):
            for verb in ("list", "watch"):
                assert may(verb, kind)
            assert may("patch", kind, "--subresource=status")
        assert may("create", "events")
        for verb in ("create", "patch", "delete"):
            assert may(verb, "dashboards.tideboard.dev/host")
            assert not may(verb, "dashboards.tideboard.dev/shop"), verb
        assert may("get", f"configmap/{NAME}-shipped")
        for words in (("get", "secrets"), ("list", "configmaps"), ("patch", "sources.tideboard.dev"), ("list", "pods")):
            assert not may(*words), words
        assert not may("list", "dashboards.tideboard.dev", within="default")


def test_dashboards_of_the_release_become_resources_and_go_with_it(
    cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's own code, with its own rights; its pod is not needed for that."""

    def dashboards() -> set[str]:
        return set(cluster.kubectl("get", "dashboards.tideboard.dev", "-n", namespace, "-o", "name").split())

    with installed(cluster, "helm4", namespace):
        shipped = found(cluster, "configmap", f"{NAME}-shipped", namespace)["data"]
        for name, text in shipped.items():
            (tmp_path / name).write_text(text)
        account = operating.kubeconfig(cluster, namespace, f"{NAME}-operator", tmp_path)
        with monkeypatch.context() as change:
            change.setenv("KUBECONFIG", str(account))
            asyncio.run(shipping(namespace, tmp_path))
        assert dashboards() == {f"dashboard.tideboard.dev/{name}" for name in ("check", "host", "tideboard")}
        grid = found(cluster, "dashboard.tideboard.dev", "host", namespace)["spec"]["panels"][-1]["grid"]
        assert grid == yaml.safe_load(shipped["host.yaml"])["spec"]["panels"][-1]["grid"]
        (tmp_path / "host.yaml").unlink()
        with monkeypatch.context() as change:
            change.setenv("KUBECONFIG", str(account))
            asyncio.run(shipping(namespace, tmp_path))
        assert dashboards() == {f"dashboard.tideboard.dev/{name}" for name in ("check", "tideboard")}
    until("they have gone with their owner", lambda: not dashboards() or None)


async def shipping(namespace: str, folder: Path) -> None:
    """Once."""

    class DoneError(Exception):
        pass

    async def sleep(seconds: float) -> None:
        assert seconds == LOOK_S, "the API server does not take them"
        raise DoneError

    async with Operator(login) as operator:
        with pytest.raises(DoneError):
            await ship(operator, namespace, folder, f"{NAME}-shipped", sleep)
