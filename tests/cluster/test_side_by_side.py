"""Two installations of one name in two namespaces, one of Helm 3 and one of Helm 4: neither sees anything of the other, and each is scaled, upgraded and removed alone.

The first brings the custom resource definitions, the second finds them there, and its Redis asks for a password. One pair for all of it, in this order.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from redis import AuthenticationError, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chart.edges import EDGES, PORTS, Place
from tests.cluster import containers, operating
from tests.cluster.api import Object, until
from tests.cluster.cluster import Cluster, unique
from tests.cluster.release import Release, Values

pytestmark = [pytest.mark.node, pytest.mark.sandbox]

PATIENCE_S: Final = 300.0
SMALL: Final[Values] = {
    "ingestor": {"replicaCount": 1},
    "aggregator": {"replicaCount": 1},
    "gateway": {"minReadySeconds": 0, "drain": {"preStopSeconds": 1, "seconds": 5}},
    "collector": {"enabled": False},
    "watcher": {"enabled": False},
    "kafka": {"persistence": {"enabled": False}},
    "redis": {"persistence": {"enabled": False}},
    "shippedDashboards": {"enabled": False},
}
GUARDED: Final[Values] = {**SMALL, "redis": {**SMALL["redis"], "auth": {"existingSecret": "redis"}}}
PASSWORD: Final = 'a"b\\c $(id) d'
PANEL: Final = {"id": "a", "type": "stat", "query": {"metric": "load"}}
COMPONENTS: Final = ("ingestor", "aggregator", "gateway", "operator", "kafka", "redis")
Pair = tuple[Release, Release]
Edge = tuple[str, str, Place]  # whose component, to which namespace, and who listens there


@pytest.fixture(scope="module")
def pair(cluster: Cluster, images: Mapping[str, str]) -> Iterator[Pair]:
    with (
        operating.restored(cluster),
        cluster.namespace(unique("this-side")) as this,
        cluster.namespace(unique("that-side")) as that,
    ):
        first, second = Release(cluster, this, "helm3"), Release(cluster, that, "helm4")
        first.install(SMALL)
        cluster.kubectl("create", "secret", "generic", "redis", "-n", that, f"--from-literal=password={PASSWORD}")
        said = second.install(GUARDED)
        assert "CRDs      are those of" in said
        yield first, second


def test_both_are_ready_and_pass_their_checks(pair: Pair) -> None:
    for release in pair:
        for component in COMPONENTS:
            release.settled(component, 1)
        assert "Succeeded" in release.check()
        assert len(release.pods()) == len(COMPONENTS)


def test_each_shows_its_own_dashboards_to_its_own_viewers(pair: Pair) -> None:
    for release in pair:
        document = operating.document("shop", {"title": release.namespace, "panels": [PANEL]})
        release.cluster.kubectl("apply", "-n", release.namespace, "-f", "-", stdin=document)
    for release in pair:
        listed(release)
    first, second = pair
    with pytest.raises(urllib.error.HTTPError, match="401"):
        shown(second, first.token())


def test_nobody_reaches_a_pod_of_the_other(pair: Pair) -> None:
    """Not even by the doors that are open to every other pod of the cluster."""
    for own, other in (pair, pair[::-1]):
        wanted = {(who, own.namespace, place) for who in COMPONENTS for place in EDGES[who] if place[0] in COMPONENTS}
        deadline = time.monotonic() + PATIENCE_S
        while (seen := reached(own, other)) != wanted:
            assert time.monotonic() < deadline, f"too much: {seen - wanted}; too little: {wanted - seen}"


def test_a_redis_with_a_password_asks_for_it_and_shows_it_to_nobody(pair: Pair) -> None:
    _, second = pair
    [server], [gateway, *_] = second.pods("redis"), second.pods("gateway")
    process = Path("/proc") / str(containers.main_process(server))
    for shown in ("cmdline", "environ"):
        assert PASSWORD.encode() not in (process / shown).read_bytes()

    def answered(password: str | None) -> bool:
        with Redis(host=server["status"]["podIP"], password=password, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())

    neighbour = containers.any_process(gateway)
    assert containers.within(neighbour, lambda: answered(PASSWORD))
    with pytest.raises(AuthenticationError):
        containers.within(neighbour, lambda: answered(None))


def test_the_count_of_kubectl_scale_outlives_an_upgrade(pair: Pair) -> None:
    for release in pair:
        release.cluster.kubectl("scale", f"deployment/{release.full('gateway')}", "--replicas=2", "-n", release.namespace)
    for release in pair:
        before = uids(release.settled("gateway", 2))
        release.upgrade(changed(release))
        assert not before & uids(release.settled("gateway", 2)), "these are of before the upgrade"
        path = f"/apis/apps/v1/namespaces/{release.namespace}/deployments/{release.full('gateway')}"
        assert release.cluster.api.get(path)["spec"]["replicas"] == 2
        assert "Succeeded" in release.check()


def test_the_one_stays_as_it_is_when_the_other_goes(pair: Pair) -> None:
    """The one goes that has brought the definitions."""
    first, second = pair
    before = uids(second.pods())
    first.uninstall()
    first.gone(("pods", "services", "configmaps", "secrets"))
    assert "Succeeded" in second.check()
    listed(second)
    assert uids(second.pods()) == before


def changed(release: Release) -> Values:
    """As it was installed, but for a setting of gateways."""
    return {**release.values, "gateway": {**release.values["gateway"], "env": {"TIDEBOARD_GATEWAY_ACCEPTS": 400}}}


def listed(release: Release) -> None:
    """Wait until its gateway lists its own dashboards, and no others."""
    token, wanted = release.token(), {"check": "Check of the installation", "shop": release.namespace}
    until(f"{release.namespace} to list {wanted}", lambda: shown(release, token) == wanted or None, PATIENCE_S)


def shown(release: Release, token: str) -> dict[str, str]:
    """Titles of dashboards by name, as a viewer is told them."""
    request = urllib.request.Request(
        f"{release.url('gateway')}/api/v1/dashboards", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {each["name"]: each["title"] for each in json.load(answer)["dashboards"]}


def reached(own: Release, other: Release) -> set[Edge]:
    """Which connections the pods of the one can open, to each other and to pods of the other."""
    sources = [(who, containers.any_process(pod)) for who, pod in parts(own)]
    targets = [
        ((release.namespace, (who, port)), (pod["status"]["podIP"], port))
        for release in (own, other)
        for who, pod in parts(release)
        for port in PORTS[who]
    ]
    with ThreadPoolExecutor(len(sources)) as pool:
        answers = pool.map(lambda source: containers.connects(source[1], [address for _, address in targets]), sources)
    return {
        (who, namespace, place)
        for (who, _), opened in zip(sources, answers, strict=True)
        for ((namespace, place), _), is_open in zip(targets, opened, strict=True)
        if is_open and (namespace, place[0]) != (own.namespace, who)  # of a pod and itself policies say nothing
    }


def parts(release: Release) -> list[tuple[str, Object]]:
    return [(component, pod) for component in COMPONENTS for pod in release.pods(component)]


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}
