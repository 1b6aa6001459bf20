"""Typical mistakes at `helm install`, before a real API server: each is told in one sentence, and leaves nothing behind.

All contradictions that the chart knows of are in tests/chart; here is what a person does wrong, and that nothing comes of it.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.cluster.cluster import Cluster, unique
from tests.cluster.release import Release

pytestmark = pytest.mark.api

FRAME: Final = re.compile(
    r"|tideboard:|Error: INSTALLATION FAILED: values don't meet .*|Use --debug .*|ensure CRDs are installed first"
)
"""Lines that Helm puts around the one that says what is wrong."""
MISTAKES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a name that is misspelt": ({"gatway": {"replicaCount": 3}}, "gatway"),
    "a number that is text": ({"ingestor": {"replicaCount": "three"}}, "replicaCount"),
    "no Kafka": ({"kafka": {"enabled": False}}, "set externalKafka.brokers to your own (host:port)"),
    "two Kafkas": ({"externalKafka": {"brokers": ["kafka:9092"]}}, "set kafka.enabled=false to use your own brokers"),
    "an address where a host is asked for": (
        {"redis": {"enabled": False}, "externalRedis": {"host": "redis://redis:6379"}},
        "the port goes into externalRedis.port",
    ),
    "copies on one broker": ({"topics": {"replication": 3}}, "set it to 1, or use Kafka of your own"),
    "a pod killed while it hands over": ({"gateway": {"terminationGracePeriodSeconds": 30}}, "set it to that at least, or leave it out"),
    "an image with its tag": ({"image": {"repository": "tideboard/tideboard:1.2"}}, "a tag goes into image.tag"),
    "a limit below what is asked for": ({"gateway": {"resources": {"limits": {"memory": "64Mi"}}}}, "raise the limit, or lower the request"),
    "a size in other units": ({"kafka": {"persistence": {"size": "10 GB"}}}, "is to be a quantity, such as"),
    "a host with its scheme": (
        {"gateway": {"ingress": {"enabled": True, "hosts": [{"host": "https://wall.example"}]}}},
        "is to be a host alone, such as wall.example",
    ),
    "a label that is a sentence": ({"commonLabels": {"team": "the web team"}}, "put it into annotations"),
    "monitors without their operator": ({"metrics": {"serviceMonitor": {"enabled": True}}}, 'no matches for kind "ServiceMonitor"'),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace(unique("mistakes")) as name:
        yield name


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence_and_leaves_nothing(cluster: Cluster, place: str, helm: str, mistake: str) -> None:
    values, sentence = MISTAKES[mistake]
    said = Release(cluster, place, helm).refused(values)
    lines = [line for line in said.splitlines() if not FRAME.fullmatch(line)]
    assert len(lines) == 1, said
    assert sentence in lines[0]
    assert nothing(cluster, place)


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_a_release_by_a_name_that_services_cannot_have_is_refused(cluster: Cluster, place: str, helm: str) -> None:
    assert "set fullnameOverride" in Release(cluster, place, helm, name="my.boards").refused({})
    assert nothing(cluster, place)


def nothing(cluster: Cluster, namespace: str) -> bool:
    """Whether a namespace has no release, in whatever state, and no object of one. Helm's own record is a Secret."""
    kinds = ",".join(cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split())
    names = cluster.kubectl("get", kinds, "-n", namespace, "-o", "name").split()
    assert cluster.client("helm3", "list", "--all", "--short", "-n", namespace).split() == []
    own = ("configmap/kube-root-ca.crt", "serviceaccount/default")
    return [name for name in names if name not in own and not name.startswith("event")] == []
