"""NetworkPolicies where they are enforced: everybody tries to connect to everybody, and exactly the edges of tests/chart/edges.py are open.

Connections are opened in the network of the pods themselves, and what is blocked is blocked however the cluster's network blocks it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.chart.edges import API, EDGES, PORTS, Place
from tests.cluster import containers, operating, pods
from tests.cluster import plan as plans
from tests.cluster.api import Object, until
from tests.cluster.cluster import Cluster, unique
from tests.cluster.plan import Node
from tests.cluster.release import Release

pytestmark = [pytest.mark.node, pytest.mark.sandbox]

DNS: Place = ("dns", 53)
KUBELET: Place = ("outside", 10250)
FOREIGN = ("stranger", "elsewhere", "monitoring", "outside")
HOST = Node(1).name  # where the tests run, and the API server
PATIENCE_S = 600
VALUES = {"crds": {"enabled": False}, "gateway": {"autoscaling": {"mode": "none"}, "replicaCount": 2}}


@dataclass(frozen=True)
class Source:
    """who: as the specification calls it."""

    who: str
    name: str
    node: str
    process: int


@dataclass(frozen=True)
class Target:
    """node: empty for an address of many."""

    place: Place
    name: str
    node: str
    address: str

    @property
    def at(self) -> containers.Address:
        return self.address, self.place[1]


Edge = tuple[str, str]  # names of pods, or of what else it is, the second with a port


@dataclass(frozen=True)
class Scene:
    """An installation, and pods that are not ours. others: who they are, and in which namespace."""

    release: Release
    others: Mapping[str, str]

    def pods(self) -> list[tuple[str, Object]]:
        """Every pod, with who it is."""
        ours = [(component, pod) for component in PORTS for pod in self.release.pods(component)]
        return ours + [
            (who, pod)
            for who, namespace in self.others.items()
            for pod in self.release.cluster.pods(namespace, f"app in ({who}-a,{who}-b)")
        ]

    def sources(self) -> list[Source]:
        found = [
            Source(who, pod["metadata"]["name"], pod["spec"]["nodeName"], containers.any_process(pod))
            for who, pod in self.pods()
        ]
        return [*found, Source("outside", HOST, HOST, os.getpid())]

    def targets(self) -> list[Target]:
        found = [
            Target((who, port), f"{pod['metadata']['name']}:{port}", pod["spec"]["nodeName"], pod["status"]["podIP"])
            for who, pod in self.pods()
            for port in PORTS.get(who, (pods.PORT,))
        ]
        kubelets = [Target(KUBELET, f"kubelet on {node.name}", node.name, node.address) for node in map(Node, (1, 2))]
        return [
            *found,
            *kubelets,
            Target(API, "API server", HOST, plans.API_SERVICE),
            Target(DNS, "DNS", "", plans.DNS_SERVICE),
        ]

    def seen(self) -> dict[Edge, bool]:
        """Which connections can be opened, of all that policies have a say in."""
        asked = list(self._asked())
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = pool.map(lambda each: containers.connects(each[0].process, [target.at for target in each[1]]), asked)
        return {
            (source.name, target.name): is_open
            for (source, targets), opened in zip(asked, answers, strict=True)
            for target, is_open in zip(targets, opened, strict=True)
        }

    def specified(self) -> dict[Edge, bool]:
        return {
            (source.name, target.name): allowed(source.who, target.place)
            for source, targets in self._asked()
            for target in targets
        }

    def _asked(self) -> Iterator[tuple[Source, list[Target]]]:
        targets = self.targets()
        for source in self.sources():
            yield source, [target for target in targets if not exempt(source, target)]


@pytest.fixture(scope="module")
def scene(cluster: Cluster, nodes: list[str], images: Mapping[str, str], probe: str) -> Iterator[Scene]:
    until("an earlier namespace `monitoring` to be gone", lambda: _gone(cluster, "monitoring"), PATIENCE_S)
    with (
        operating.definitions(cluster),
        cluster.namespace(unique("policies")) as own,
        cluster.namespace(unique("elsewhere")) as elsewhere,
        cluster.namespace("monitoring") as monitoring,
    ):
        release = Release(cluster, own)
        release.install(VALUES, wait=False)
        others = {"stranger": own, "test": own, "elsewhere": elsewhere, "monitoring": monitoring}
        for who, namespace in others.items():
            for letter, node in zip("ab", nodes, strict=True):
                pod = pods.pod(f"{who}-{letter}", node)
                if who == "test":  # as that of `helm test`, but it stays
                    pod["metadata"]["labels"] |= _labels(release, "test")
                cluster.api.apply([pod], namespace)
        for who, namespace in others.items():
            cluster.wait_for(namespace, f"app in ({who}-a,{who}-b)", 2)
        _ready(release)
        yield Scene(release, others)


def test_exactly_the_edges_of_the_specification_are_open(scene: Scene) -> None:
    agree(scene, scene.specified)


def test_everybody_has_dns(scene: Scene) -> None:
    service = f"{scene.release.full('gateway')}.{scene.release.namespace}.svc.{plans.DOMAIN}"
    address = scene.release.address("gateway")
    assert {source.name: containers.resolves(source.process, service) for source in scene.sources()} == {
        source.name: address for source in scene.sources()
    }


def test_a_node_reaches_its_own_pods_as_probes_must(scene: Scene) -> None:
    near = [each for each in scene.targets() if each.place[0] in PORTS and each.node == HOST]
    assert {each.place[0] for each in near} >= {"collector", "gateway"}
    assert all(containers.connects(os.getpid(), [each.at for each in near]))
    _ready(scene.release)


def test_without_policies_everybody_reaches_everybody(scene: Scene) -> None:
    """So that what was blocked was blocked by them, and somebody does listen there."""
    scene.release.upgrade({**VALUES, "networkPolicy": {"enabled": False}}, wait=False)
    agree(scene, lambda: dict.fromkeys(scene.specified(), True))


def agree(scene: Scene, wanted: Callable[[], dict[Edge, bool]]) -> None:
    """Wait until what is open is what is wanted; whoever enforces policies needs a moment for a new pod."""
    deadline = time.monotonic() + PATIENCE_S
    while wrong := differences(scene.seen(), wanted()):
        assert time.monotonic() < deadline, "\n".join(wrong)


def differences(seen: Mapping[Edge, bool], wanted: Mapping[Edge, bool]) -> list[str]:
    said = {True: "open", False: "blocked"}
    found = [f"{a} -> {b} is {said[seen[a, b]]}" for a, b in seen.keys() & wanted.keys() if seen[a, b] != wanted[a, b]]
    return sorted([*found, *(f"{a} -> {b} came or went meanwhile" for a, b in seen.keys() ^ wanted.keys())])


def allowed(who: str, place: Place) -> bool:
    """What our pods may do is specified, and what others may do to them; what others do among themselves is open."""
    if who not in FOREIGN:
        return place in EDGES[who] or place == DNS
    if place[0] in PORTS or place[0] == "test":
        return place in EDGES["stranger" if who == "elsewhere" else who]
    return True


def exempt(source: Source, target: Target) -> bool:
    """A pod and itself; and a pod and its own node, which policies say nothing about."""
    ends_on_a_node = source.who == "outside" or target.place in (KUBELET, API)
    return target.name.startswith(f"{source.name}:") or (ends_on_a_node and source.node == target.node)


def _ready(release: Release) -> None:
    for kind in ("deployment", "statefulset", "daemonset"):
        words = ("rollout", "status", kind, "-n", release.namespace, "-l", release.selector(), f"--timeout={PATIENCE_S}s")
        release.cluster.kubectl(*words)


def _labels(release: Release, component: str) -> dict[str, str]:
    """Those by which policies select a component's pods."""
    named = {"name": "tideboard", "instance": release.name, "component": component}
    return {f"app.kubernetes.io/{key}": value for key, value in named.items()}


def _gone(cluster: Cluster, namespace: str) -> bool:
    return namespace not in {each["metadata"]["name"] for each in cluster.api.items("/api/v1/namespaces")}
