"""The floor of the API: what an API server, its controllers and nodes on paper decide, without one container."""

import pytest

from tests.cluster import objects, pods
from tests.cluster.api import Api, ApiError
from tests.cluster.cluster import Cluster

pytestmark = pytest.mark.api
COUNT = 2_000


def test_pod_security_admits_what_is_restricted(api: Api, namespace: str) -> None:
    made = api.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pods.pod("careful"))
    assert made["metadata"]["namespace"] == namespace


def test_pod_security_refuses_who_may_be_root(api: Api, namespace: str) -> None:
    careless = pods.pod("careless", securityContext={})
    with pytest.raises(ApiError) as refused:
        api.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", careless)
    assert refused.value.code == 403
    assert "runAsNonRoot" in refused.value.message


@pytest.mark.sandbox
def test_two_thousand_pods_run_on_nodes_that_exist_on_paper(cluster: Cluster, namespace: str, fake_nodes: int) -> None:
    cluster.api.apply([pods.deployment("many", COUNT, **objects.on_fake_nodes())], namespace)
    found = cluster.wait_for(namespace, "app=many", COUNT, within_s=300)
    assert {pod["spec"]["nodeName"] for pod in found} <= {f"fake{number}" for number in range(fake_nodes)}
    cluster.api.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/many", {"spec": {"replicas": 0}})
    cluster.wait_for(namespace, "app=many", 0, within_s=300)


@pytest.mark.sandbox
def test_an_eviction_that_a_budget_forbids_is_refused(cluster: Cluster, namespace: str, fake_nodes: int) -> None:
    cluster.api.apply([pods.deployment("guarded", 2, **objects.on_fake_nodes()), pods.budget("guarded", 2)], namespace)
    first, _ = cluster.wait_for(namespace, "app=guarded", 2)
    with pytest.raises(ApiError) as refused:
        cluster.evict(namespace, first["metadata"]["name"])
    assert refused.value.code == 429


def test_two_owners_of_one_field_conflict_and_are_told(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/shared"
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {"key": "mine"}}
    api.apply([mine], namespace)
    with pytest.raises(ApiError) as refused:
        api.patch(f"{path}?fieldManager=another", {**mine, "data": {"key": "theirs"}}, "application/apply-patch+yaml")
    assert refused.value.code == 409
    assert ".data.key" in refused.value.message
    assert api.get(path)["data"] == {"key": "mine"}
