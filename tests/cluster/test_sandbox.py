"""The sandbox itself: nothing leaves it, everything in it can be reached, and a node can be cut off."""

import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser

from tests.cluster import plan as plans
from tests.cluster import pods
from tests.cluster.api import Api, until
from tests.cluster.cluster import Cluster, condition
from tests.cluster.images import names_on
from tests.cluster.node import Machine

pytestmark = [pytest.mark.node, pytest.mark.sandbox]
NODE_MONITOR_S = 50  # how long the controllers believe that a silent node is well


def test_every_interface_is_the_sandboxs_own() -> None:
    found = {path.name for path in Path("/sys/class/net").iterdir()}
    assert {name for name in found if not name.startswith("veth")} <= {
        "lo",
        "br0",
        "cni0",
        "carrier0",
        "carrier1",
        "node2",
        "node3",
    }


@pytest.mark.parametrize("address", ["192.0.2.1", "198.51.100.1"])
def test_nothing_outside_can_be_reached(address: str) -> None:
    with socket.socket() as tried:
        tried.settimeout(1)
        with pytest.raises(TimeoutError):  # into the void: there is a route, and nobody at its end
            tried.connect((address, 80))


def leads_to_nobody(machine: Machine) -> None:
    assert f"default via {plans.NOWHERE}" in machine.run("ip", "route")
    assert "PERMANENT" in machine.run("ip", "neighbour", "show", plans.NOWHERE)


def test_the_way_out_leads_to_nobody(machines: list[Machine]) -> None:
    for machine in machines:
        leads_to_nobody(machine)


def test_a_page_of_a_service_opens_in_chromium(
    cluster: Cluster, namespace: str, nodes: list[str], probe: str, browser: Browser
) -> None:
    cluster.api.apply([pods.pod("page", nodes[1]), pods.service("page")], namespace)
    cluster.wait_for(namespace, "app=page", 1)
    url = f"http://page.{namespace}.svc.{plans.DOMAIN}/"
    until("the service to know its pod", lambda: urlopen(url, timeout=3).read())
    page = browser.new_page()
    page.goto(url)
    assert page.inner_text("body") == "page"
    page.close()


def test_a_node_whose_link_is_cut_is_not_ready_until_it_is_back(api: Api, machines: list[Machine], nodes: list[str]) -> None:
    second = machines[1]
    path = f"/api/v1/nodes/{nodes[1]}"
    second.set_link("down")
    try:
        until("the node to be missed", lambda: condition(api.get(path), "Ready") == "Unknown", NODE_MONITOR_S * 3)
    finally:
        second.set_link("up")
    until("the node to be back", lambda: condition(api.get(path), "Ready") == "True", NODE_MONITOR_S * 3)
    leads_to_nobody(second)


def test_a_kubelet_that_was_killed_can_be_started_again(api: Api, machines: list[Machine], nodes: list[str]) -> None:
    second, path = machines[1], f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{nodes[1]}"
    second.end("kubelet")
    before = api.get(path)["spec"]["renewTime"]
    second.start_again("kubelet")
    until("the node to be heard of", lambda: api.get(path)["spec"]["renewTime"] > before)
    second.wait(api)


def test_a_volume_whose_claim_is_gone_is_offered_again_and_empty(
    cluster: Cluster, namespace: str, nodes: list[str], probe: str
) -> None:
    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    cluster.api.apply([pods.claim("kept"), pods.keeping("writer", "kept")], namespace)
    cluster.wait_for(namespace, "app=writer", 1)
    cluster.ask(namespace, "writer", "/write?path=/kept/text&text=secret")
    path = f"/api/v1/persistentvolumes/{cluster.api.get(f'{claims}/kept')['spec']['volumeName']}"
    folder = Path(cluster.api.get(path)["spec"]["local"]["path"])
    assert (folder / "text").read_text() == "secret"
    cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/writer")
    cluster.api.delete(f"{claims}/kept")
    until("the volume to be released", lambda: cluster.api.get(path)["status"]["phase"] == "Released")
    cluster.free_volumes()
    until("the volume to be offered again", lambda: cluster.api.get(path)["status"].get("phase") == "Available")
    assert list(folder.iterdir()) == []


def test_pods_get_the_share_of_several_processes_where_the_machine_is_busy(cluster: Cluster) -> None:
    assert cluster.plan
    top = Path("/sys/fs/cgroup")
    weights = {
        name: top / folder / cluster.plan.cgroup()[1:] / name for folder, name in (("cpu", "cpu.shares"), ("", "cpu.weight"))
    }
    found = {name: int(path.read_text()) for name, path in weights.items() if path.exists()}
    assert found in ({"cpu.shares": 10_240}, {"cpu.weight": 1_000})


def test_the_images_are_on_every_node(machines: list[Machine], images: Mapping[str, str]) -> None:
    for machine in machines:
        assert set(images.values()) <= names_on(machine.prefix)
