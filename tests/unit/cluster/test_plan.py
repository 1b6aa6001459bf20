"""The plan of a cluster: what is counted, what is private to a node, and what another process reads back."""

from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest

from tests.cluster import plan as plans
from tests.cluster.plan import Node, Plan

PLAN = Plan("mine", Path("/somewhere/mine"), 2)


def test_a_plan_is_read_as_it_was_written() -> None:
    assert plans.read(PLAN.written()) == PLAN


def test_a_control_plane_alone_has_a_machine_and_no_node() -> None:
    alone = Plan("alone", Path("/somewhere/alone"), 0)
    assert alone.nodes == ()
    assert alone.machines == (Node(1),)


@pytest.mark.parametrize("number", range(1, plans.MOST_NODES + 1))
def test_every_node_has_addresses_of_its_own_in_the_ranges_that_others_are_told(number: int) -> None:
    node, others = Node(number), [Node(other) for other in range(1, plans.MOST_NODES + 1) if other != number]
    assert ip_address(node.address) in ip_network(plans.NODES)
    assert IPv4Network(node.pods).subnet_of(IPv4Network(plans.PODS))
    assert ip_address(node.gateway) in ip_network(node.pods)
    assert node.address != plans.NOWHERE
    assert not any(ip_network(node.pods).overlaps(ip_network(other.pods)) or node.address == other.address for other in others)


def test_pods_nodes_and_services_have_ranges_that_do_not_overlap() -> None:
    ranges = [ip_network(plans.NODES), ip_network(plans.PODS), ip_network(plans.SERVICES)]
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one is not other)


def test_two_clusters_share_no_cgroup_and_no_folder() -> None:
    other = Plan("other", Path("/somewhere/other"), 2)
    ours = {
        PLAN.cgroup(),
        *map(PLAN.cgroup, PLAN.nodes),
        str(PLAN.logs),
        str(PLAN.kubeconfig),
        *map(str, map(PLAN.of, PLAN.nodes)),
    }
    theirs = {other.cgroup(), *map(other.cgroup, other.nodes), str(other.logs), str(other.kubeconfig)}
    assert not ours & theirs


def test_volumes_lie_in_their_nodes_own_folder() -> None:
    assert all(PLAN.of(node) in volume.parents for node in PLAN.nodes for volume in PLAN.volumes(node))
