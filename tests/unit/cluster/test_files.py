"""The configuration of the daemons: that they agree with each other about what they share."""

import json
import tomllib
from pathlib import Path
from typing import Any

from tests.cluster import commands, files, objects
from tests.cluster import plan as plans
from tests.cluster.plan import Node, Plan

PLAN = Plan("mine", Path("/somewhere/mine"), 2)
SECOND = PLAN.nodes[1]


def of(node: Node) -> dict[str, str]:
    return files.of_node(PLAN, node, "/plugins")


def test_the_kubelet_asks_the_engine_where_it_listens() -> None:
    engine = tomllib.loads(of(SECOND)["containerd.toml"])
    assert json.loads(of(SECOND)["kubelet.json"])["containerRuntimeEndpoint"] == f"unix://{engine['grpc']['address']}"


def test_the_engine_lowers_no_score_since_not_every_machine_may() -> None:
    cri = tomllib.loads(of(SECOND)["containerd.toml"])["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == files.PAUSE
    assert cri["cni"]["bin_dir"] == "/plugins"


def test_each_node_gives_its_pods_addresses_of_its_own_and_hides_none() -> None:
    bridges = [json.loads(of(node)["cni/10-pods.conflist"])["plugins"][0] for node in PLAN.nodes]
    assert [bridge["ipam"]["ranges"][0][0]["subnet"] for bridge in bridges] == [node.pods for node in PLAN.nodes]
    assert not any(bridge["ipMasq"] for bridge in bridges)


def test_each_kubelet_has_its_own_cgroup_and_certificate() -> None:
    first, second = (json.loads(of(node)["kubelet.json"]) for node in PLAN.nodes)
    assert first["cgroupRoot"] != second["cgroupRoot"]
    assert second["tlsCertFile"] == "/somewhere/mine/certificates/node2.crt"


def test_pods_ask_the_dns_service_that_is_there() -> None:
    service = next(each for each in objects.dns() if each["kind"] == "Service")
    assert json.loads(of(SECOND)["kubelet.json"])["clusterDNS"] == [service["spec"]["clusterIP"]]
    assert f"nameserver {service['spec']['clusterIP']}" in of(SECOND)["resolv.conf"]


def test_a_pod_inherits_no_resolver_of_the_machine() -> None:
    assert json.loads(of(SECOND)["kubelet.json"])["resolvConf"] == "/somewhere/mine/node2/pods-resolv.conf"
    assert of(SECOND)["pods-resolv.conf"] == ""


def test_daemons_name_only_files_that_are_written() -> None:
    from tests.cluster import certificates
    from tests.unit.cluster.test_certificates import NOW

    written = {f"/somewhere/mine/{path}" for path in certificates.make(PLAN, NOW)}
    written |= {f"/somewhere/mine/{node.name}/{path}" for node in PLAN.nodes for path in of(node)}
    lines = [commands.apiserver(PLAN), commands.controller_manager(PLAN), commands.scheduler(PLAN), commands.fakes(PLAN)]
    lines += [
        each(PLAN, node)
        for node in PLAN.nodes
        for each in (commands.kubelet, commands.proxy, commands.policies, commands.containerd)
    ]
    named = {word.partition("=")[2] for line in lines for word in line[1:] if "=/somewhere" in word}
    assert named
    assert named <= written


def test_the_service_range_is_the_same_for_all_who_are_told() -> None:
    lines = [commands.apiserver(PLAN), commands.controller_manager(PLAN), commands.policies(PLAN, SECOND)]
    assert all(f"--service-cluster-ip-range={plans.SERVICES}" in line for line in lines)


def test_a_volume_may_be_used_on_its_own_node_only() -> None:
    found: list[dict[str, Any]] = objects.volumes(PLAN)
    assert len({each["metadata"]["name"] for each in found}) == 2 * plans.VOLUMES_PER_NODE
    for each in found:
        (term,) = each["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        (name,) = term["matchExpressions"][0]["values"]
        assert f"/{name}/volumes/" in each["spec"]["local"]["path"]


def test_no_pod_goes_to_a_fake_node_that_does_not_ask_for_one() -> None:
    (node,) = objects.fake_nodes(1)
    (taint,) = node["spec"]["taints"]
    (toleration,) = objects.on_fake_nodes()["tolerations"]
    assert taint["effect"] == toleration["effect"] == "NoSchedule"
    assert taint["key"] == toleration["key"]
    assert objects.on_fake_nodes()["nodeSelector"].items() <= node["metadata"]["labels"].items()
    assert f"--manage-nodes-with-annotation-selector={'='.join(*objects.FAKE.items())}" in commands.fakes(PLAN)
    assert objects.FAKE.items() <= node["metadata"]["annotations"].items()
