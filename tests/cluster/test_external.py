"""Installations on Kafka and Redis of one's own, as production has them: TLS, users, certificates, a Cluster, Sentinels, and policies that let nothing else out.

Each begins with Secrets that are wrong, says so and is not ready, and then comes up by itself when they are put right: nothing is
restarted, since passwords and certificates are read at every connection. One set of servers for all of it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import pytest

from tests.certificates import Pair
from tests.cluster import containers, operating
from tests.cluster.api import Object, until
from tests.cluster.cluster import Cluster, condition
from tests.cluster.external import ACL_PASSWORD, ADDRESS, KAFKA_PORT, SECRETS, USER, External, external, port_of
from tests.cluster.release import Release, Values
from tests.kafka import secure
from tests.sentinels import SERVICE

pytestmark = [pytest.mark.node, pytest.mark.sandbox]
WRONG: Final = "a-wrong-one"
PODS: Final[Mapping[str, int]] = {"ingestor": 1, "aggregator": 2, "gateway": 2, "operator": 1}
HERE: Final = {"ipBlock": {"cidr": f"{ADDRESS}/32"}}
SMALL: Final[Values] = {
    "crds": {"enabled": False},
    "ingestor": {"replicaCount": 1},
    "gateway": {"autoscaling": {"mode": "none"}, "replicaCount": 2},
    "collector": {"enabled": False},
    "watcher": {"enabled": False},
    "shippedDashboards": {"enabled": False},
    "kafka": {"enabled": False},
    "redis": {"enabled": False},
}


@pytest.fixture(scope="module")
def servers(cluster: Cluster, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[External]:
    with operating.definitions(cluster), external(cluster, tmp_path_factory.mktemp("external")) as found:
        yield found


@dataclass(frozen=True)
class Secret:
    """What one holds, by key."""

    name: str
    entries: Mapping[str, str]

    def put(self, release: Release) -> None:
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}, "stringData": dict(self.entries)}
        release.cluster.api.apply([made], release.namespace)

    def but(self, entries: Mapping[str, str]) -> "Secret":
        return replace(self, entries={**self.entries, **entries})


def test_a_broker_with_tls_and_users_and_a_cluster_with_tls_and_acl_carry_the_wall(
    release: Release, servers: External, nodes: list[str]
) -> None:
    trusted, stranger = read(servers.certificates.authority), read(servers.certificates.stranger)
    kafka = Secret("kafka", {"password": secure.PASSWORD, "ca.crt": trusted})
    redis = Secret("redis", {"password": ACL_PASSWORD, "ca.crt": trusted})
    kafka.but({"password": WRONG}).put(release)
    redis.but({"ca.crt": stranger}).put(release)
    listening = [port_of(servers.kafka.users), *(member.port for member in servers.redis)]
    release.install(with_users_and_a_cluster(servers, nodes[1]), wait=False)

    refused = {
        "ingestor": f"{servers.kafka_service}:{KAFKA_PORT}: .*[Aa]uthentication failed",
        "aggregator": "CERTIFICATE_VERIFY_FAILED",
        "gateway": "CERTIFICATE_VERIFY_FAILED",
        "operator": "CERTIFICATE_VERIFY_FAILED",
    }
    nobody_works(release, refused)
    redis.put(release)
    kafka.put(release)
    everybody_works(release)

    aggregator, *_ = release.pods("aggregator")  # on the other node: of a pod and its own, policies say nothing
    closed = [port_of(servers.kafka.certified), servers.watched.primary.port]
    tried = containers.connects(containers.any_process(aggregator), [(ADDRESS, port) for port in (*listening, *closed)])
    assert tried == [True] * len(listening) + [False] * len(closed)


def test_a_broker_that_asks_for_certificates_and_a_primary_that_fails_over_carry_the_wall(
    release: Release, servers: External
) -> None:
    certificates, pair = servers.certificates, servers.watched
    redis = Secret("redis", {"password": SECRETS.server, "sentinel-password": SECRETS.sentinel})
    client = Secret("kafka-client", certified(certificates.client))
    Secret("kafka-ca", {"ca.crt": read(certificates.authority)}).put(release)
    redis.but({"sentinel-password": WRONG}).put(release)
    client.but(certified(certificates.stranger)).put(release)
    release.install(with_certificates_and_sentinels(servers), wait=False)

    unnamed = f"no Sentinel names a primary of '{SERVICE}': .*invalid username-password pair"
    refused = {"ingestor": f"{servers.kafka.certified}.* alert .*certificate"}
    nobody_works(release, {**dict.fromkeys(PODS, unnamed), **refused})
    redis.put(release)
    client.put(release)
    everybody_works(release)

    before = ready_since(release, "gateway")
    pair.primary.kill()
    pair.wait_for_primary(pair.replica.port)
    everybody_works(release)
    assert ready_since(release, "gateway") == before, "a gateway shows last values while Redis is away"


def with_users_and_a_cluster(servers: External, node: str) -> Values:
    """Kafka advertises another port than it is asked at first, and one server of the Cluster is not named, but found."""
    *named, found = servers.redis
    tls = {"enabled": True}
    return {
        **SMALL,
        "aggregator": {"nodeSelector": {"kubernetes.io/hostname": node}},
        "externalKafka": {
            "brokers": [f"{servers.kafka_service}:{KAFKA_PORT}"],
            "tls": {**tls, "caSecret": "kafka"},
            "sasl": {"mechanism": "SCRAM-SHA-512", "username": secure.USER, "existingSecret": "kafka"},
        },
        "externalRedis": {
            "username": USER,
            "existingSecret": "redis",
            "cluster": {"enabled": True, "hosts": [servers.at(member.port) for member in named]},
            "port": found.port,
            "tls": {**tls, "caSecret": "redis"},
        },
        "networkPolicy": {
            "externalKafkaTo": [HERE],
            "externalKafkaPorts": [port_of(servers.kafka.users)],
            "externalRedisTo": [HERE],
        },
    }


def with_certificates_and_sentinels(servers: External) -> Values:
    pair = servers.watched
    return {
        **SMALL,
        "externalKafka": {
            "brokers": [servers.kafka.certified],
            "tls": {"enabled": True, "caSecret": "kafka-ca", "existingSecret": "kafka-client"},
        },
        "externalRedis": {
            "existingSecret": "redis",
            "sentinel": {
                "hosts": [servers.at(sentinel.port) for sentinel in pair.sentinels],
                "service": SERVICE,
                "existingSecret": "redis",
            },
        },
        "networkPolicy": {"externalRedisPorts": [pair.primary.port, pair.replica.port]},
    }


def nobody_works(release: Release, refused: Mapping[str, str]) -> None:
    """Wait until the log of every pod says what is refused to it; none is ready then, and none repeats a secret."""
    for component, said in refused.items():
        for pod in running(release, component):
            try:
                log = until(f"{component} to say {said}", partial(logged, release, pod, said))
            except AssertionError as error:
                raise AssertionError(f"{error}\n{release.cluster.log(release.namespace, pod['metadata']['name'])}") from None
            assert WRONG not in log
    assert [pod["metadata"]["name"] for pod in release.pods() if condition(pod, "Ready") == "True"] == []
    assert restarts(release) == 0


def everybody_works(release: Release) -> None:
    """Wait until every pod is Ready and a sample is seen on its way through all of them, without that any container ended."""
    release.cluster.kubectl("annotate", "pods", "-n", release.namespace, "-l", release.selector(), "looked=at", "--overwrite")
    for component, count in PODS.items():
        release.settled(component, count)
    assert "Succeeded" in release.check()
    assert restarts(release) == 0


def running(release: Release, component: str) -> list[Object]:
    """All pods of a component, once their containers run."""

    def found() -> list[Object]:
        pods = release.pods(component)
        begun = [pod for pod in pods if any("running" in each["state"] for each in pod["status"].get("containerStatuses", []))]
        return begun if len(begun) == PODS[component] else []

    return until(f"{component} to run", found)


def logged(release: Release, pod: Object, said: str) -> str | None:
    """The log of a pod, once it has a warning with this reason."""
    log = release.cluster.log(release.namespace, pod["metadata"]["name"])
    told = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return log if any(each["level"] == "warning" and re.search(said, str(each.get("reason"))) for each in told) else None


def restarts(release: Release) -> int:
    return sum(each["restartCount"] for pod in release.pods() for each in pod["status"]["containerStatuses"])


def ready_since(release: Release, component: str) -> dict[str, str]:
    """Since when each pod is Ready."""
    told: dict[str, Any] = {pod["metadata"]["name"]: pod["status"]["conditions"] for pod in release.pods(component)}
    return {
        name: each["lastTransitionTime"] for name, conditions in told.items() for each in conditions if each["type"] == "Ready"
    }


def certified(pair: Pair) -> dict[str, str]:
    return {"tls.crt": read(pair), "tls.key": pair.key.read_text()}


def read(pair: Pair) -> str:
    return pair.certificate.read_text()
