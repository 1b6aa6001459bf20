"""The operator's process makes resources of the dashboards that come with an installation, and looks after them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.cluster import operating
from tests.cluster.api import Object, until
from tests.cluster.cluster import Cluster
from tests.cluster.operating import Operator, document, registry
from tests.servers import Valkey

pytestmark = pytest.mark.api

OWNER = "boards-shipped"
SPEC: Object = {"panels": [{"id": "cpu", "type": "stat", "query": {"metric": "load"}}]}


@pytest.fixture(scope="module", autouse=True)
def _definitions(cluster: Cluster) -> Iterator[None]:
    with operating.definitions(cluster):
        yield


def test_a_shipped_dashboard_that_somebody_deletes_comes_back_to_viewers(
    cluster: Cluster, namespace: str, valkey: Valkey, tmp_path: Path
) -> None:
    shelf = tmp_path / "shipped"
    shelf.mkdir()
    for name in ("host", "nodes"):
        (shelf / f"{name}.yaml").write_text(document(name, SPEC))
    with shipping(cluster, namespace, valkey, shelf):
        until("both to be shown", lambda: set(registry(valkey.url)) == {"host", "nodes"})
        first = uid(cluster, namespace, "host")
        cluster.kubectl("delete", "dashboard", "host", "-n", namespace)
        until("another one to be made", lambda: uid(cluster, namespace, "host") != first)
        until("it to be shown", lambda: set(registry(valkey.url)) == {"host", "nodes"})


@contextlib.contextmanager
def shipping(cluster: Cluster, namespace: str, valkey: Valkey, shelf: Path) -> Iterator[Operator]:
    with Redis.from_url(valkey.url) as client:
        client.flushall()
    account = operating.account(cluster, namespace, shelf.parent)
    operating.grant(cluster, namespace, namespace)
    cluster.api.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": OWNER}}, *rights(namespace)], namespace)
    operator = Operator(account, valkey.url, TIDEBOARD_OPERATOR_SHIPPED=str(shelf), TIDEBOARD_OPERATOR_SHIPPED_OWNER=OWNER)
    try:
        operator.start()
        yield operator
    finally:
        assert operator.stop() == 0


def rights(namespace: str) -> list[Object]:
    """What docs/operations.md names beside the rest for who ships dashboards."""
    group = "rbac.authorization.k8s.io"
    boards = {"apiGroups": ["tideboard.dev"], "resources": ["dashboards"], "resourceNames": ["host", "nodes"]}
    owner = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [OWNER], "verbs": ["get"]}
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": "shipping"}}
    subjects = [{"kind": "ServiceAccount", "name": operating.NAME, "namespace": namespace}]
    return [
        {**head, "kind": "Role", "rules": [{**boards, "verbs": ["create", "patch", "delete"]}, owner]},
        {
            **head,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "shipping"},
            "subjects": subjects,
        },
    ]


def uid(cluster: Cluster, namespace: str, name: str) -> str:
    found: str = cluster.api.get(f"/apis/tideboard.dev/v1alpha1/namespaces/{namespace}/dashboards/{name}")["metadata"]["uid"]
    return found
