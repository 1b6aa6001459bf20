"""The floor of nodes: containers that really run, packets that really go, on two nodes."""

from urllib.parse import quote

import pytest

from tests.cluster import pods
from tests.cluster.api import Api, ApiError, until
from tests.cluster.cluster import Cluster

pytestmark = pytest.mark.node


def fetched(cluster: Cluster, namespace: str, pod: str, url: str) -> str:
    """What one pod sees of another."""
    return cluster.ask(namespace, pod, f"/fetch?url={quote(url)}")


def blocked(cluster: Cluster, namespace: str, pod: str, url: str) -> bool:
    try:
        fetched(cluster, namespace, pod, url)
    except ApiError as error:
        return error.code == 502
    return False


def test_a_pod_runs_on_each_node(cluster: Cluster, namespace: str, nodes: list[str], probe: str) -> None:
    cluster.api.apply([pods.pod(f"on-{node}", node) for node in nodes], namespace)
    for node in nodes:
        (pod,) = cluster.wait_for(namespace, f"app=on-{node}", 1)
        assert pod["spec"]["nodeName"] == node
        assert cluster.ask(namespace, f"on-{node}", "/") == f"on-{node}"


def test_a_service_is_found_by_name_from_the_other_node(cluster: Cluster, namespace: str, nodes: list[str], probe: str) -> None:
    here, there = nodes
    cluster.api.apply([pods.pod("server", there), pods.service("server"), pods.pod("client", here)], namespace)
    cluster.wait_for(namespace, "app=server", 1)
    cluster.wait_for(namespace, "app=client", 1)
    address = cluster.api.get(f"/api/v1/namespaces/{namespace}/services/server")["spec"]["clusterIP"]
    assert until("the name to be known", lambda: cluster.ask(namespace, "client", "/resolve?name=server")) == address
    for url in (f"http://server.{namespace}/", f"http://{address}/"):
        assert until(url, lambda url=url: fetched(cluster, namespace, "client", url)) == "server"  # type: ignore[misc]


def test_a_name_that_is_not_there_is_refused_and_not_waited_for(
    cluster: Cluster, namespace: str, nodes: list[str], probe: str
) -> None:
    cluster.api.apply([pods.pod("client", nodes[0])], namespace)
    cluster.wait_for(namespace, "app=client", 1)
    with pytest.raises(ApiError, match="no such host"):
        cluster.ask(namespace, "client", "/resolve?name=nobody.example.org")


def test_a_policy_lets_in_whom_it_names_and_nobody_else(cluster: Cluster, namespace: str, nodes: list[str], probe: str) -> None:
    here, there = nodes
    cluster.api.apply([pods.pod("server", there), pods.pod("friend", here), pods.pod("stranger", here)], namespace)
    (server,) = cluster.wait_for(namespace, "app=server", 1)
    for name in ("friend", "stranger"):
        cluster.wait_for(namespace, f"app={name}", 1)
    url = f"http://{server['status']['podIP']}:{pods.PORT}/"
    for name in ("friend", "stranger"):
        assert fetched(cluster, namespace, name, url) == "server"

    cluster.api.apply([pods.policy("nobody")], namespace)
    for name in ("friend", "stranger"):
        until(f"{name} to be kept out", lambda name=name: blocked(cluster, namespace, name, url))  # type: ignore[misc]

    cluster.api.apply([pods.policy("friends", to="server", admitted="friend")], namespace)
    assert until("the friend to come in", lambda: fetched(cluster, namespace, "friend", url)) == "server"
    assert blocked(cluster, namespace, "stranger", url)

    cluster.api.delete(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/nobody")
    cluster.api.delete(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/friends")
    assert until("everybody to come in", lambda: fetched(cluster, namespace, "stranger", url)) == "server"


def test_a_volume_outlives_its_pod_and_belongs_to_its_group(
    cluster: Cluster, namespace: str, nodes: list[str], probe: str
) -> None:
    cluster.api.apply([pods.claim("kept"), pods.keeping("writer", "kept")], namespace)
    cluster.wait_for(namespace, "app=writer", 1)
    cluster.ask(namespace, "writer", "/write?path=/kept/text&text=still+here")
    cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/writer")
    cluster.wait_for(namespace, "app=writer", 0)
    until("the writer to be gone", lambda: not cluster.pods(namespace, "app=writer"))
    cluster.api.apply([pods.keeping("reader", "kept")], namespace)
    cluster.wait_for(namespace, "app=reader", 1)
    assert cluster.ask(namespace, "reader", "/read?path=/kept/text") == "still here"


def test_an_eviction_waits_for_the_budget(cluster: Cluster, namespace: str, nodes: list[str], probe: str) -> None:
    cluster.api.apply([pods.deployment("guarded", 2), pods.budget("guarded", 2)], namespace)
    first, _ = cluster.wait_for(namespace, "app=guarded", 2)
    name = first["metadata"]["name"]
    with pytest.raises(ApiError) as refused:
        cluster.evict(namespace, name)
    assert refused.value.code == 429
    cluster.api.patch(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/guarded", {"spec": {"minAvailable": 1}})
    until("the eviction to be allowed", lambda: cluster.evict(namespace, name))
    found = cluster.wait_for(namespace, "app=guarded", 2)
    assert name not in {pod["metadata"]["name"] for pod in found}


def test_a_pod_is_told_twice_that_it_ends(cluster: Cluster, namespace: str, nodes: list[str], probe: str) -> None:
    """preStop to its end, and only then SIGTERM. The log is followed, since it goes with the pod."""
    container = pods.container()
    container["lifecycle"] = {"preStop": {"httpGet": {"path": "/prestop", "port": pods.PORT}}}
    cluster.api.apply([pods.pod("ending", nodes[1], containers=[container])], namespace)
    cluster.wait_for(namespace, "app=ending", 1)
    with cluster.following(namespace, "ending") as said:
        cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/ending")
        lines = said().splitlines()
    assert lines == ["serving", "preStop begins", "preStop ends", "TERM"]


def test_what_runs_in_a_pod_can_be_run_from_outside(cluster: Cluster, namespace: str, nodes: list[str], probe: str) -> None:
    cluster.api.apply([pods.pod("asked", nodes[1])], namespace)
    cluster.wait_for(namespace, "app=asked", 1)
    done = cluster.tried("kubectl", "exec", "-n", namespace, "asked", "--", "/probe", "-h")
    assert "address already in use" in done.stderr + done.stdout  # a second one, in the same network


def test_nodes_are_of_the_version_that_was_asked_for(api: Api, nodes: list[str]) -> None:
    server = api.get("/version")["gitVersion"]
    told = {api.get(f"/api/v1/nodes/{node}")["status"]["nodeInfo"]["kubeletVersion"] for node in nodes}
    assert told == {server}
