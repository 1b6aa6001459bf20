"""Servers of somebody else's, for installations that bring none: Kafka, a Redis Cluster, and a Valkey that Sentinels watch.

They are processes of the sandbox on the address of its first node, where pods of both nodes find them by names of the cluster's DNS.
Kafka is reached first through the address of a Service, as through a load balancer, and then under the name and port that it advertises.
The Cluster is of Debian's Redis, since the Valkey of the wheel has no TLS; the watched pair is of Valkey.
"""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis

from services.local.embedded import free_port
from tests.certificates import Certificates, make
from tests.cluster.cluster import Cluster, unique
from tests.cluster.plan import DOMAIN, Node
from tests.kafka.secure import SecureKafka
from tests.sentinels import Secrets, Watched, watched
from tests.servers import ROOT, SecureRedis, running

Object = dict[str, Any]
ADDRESS: Final = Node(1).address
USER: Final = "tideboard"
SECRETS: Final = Secrets(server="of-valkey", sentinel="of-sentinels")
ACL_PASSWORD: Final = 'of "tideboard"'
KAFKA_PORT: Final = 9093
"""Of the Service; brokers listen elsewhere."""
_ADMIN: Final = "of-the-admin"
_PRIMARIES: Final = 3


@dataclass(frozen=True)
class External:
    """name: by which all of them are known. kafka_service: where Kafka is asked for the first time. redis: the primaries of the Cluster."""

    name: str
    kafka_service: str
    certificates: Certificates
    kafka: SecureKafka
    redis: list[SecureRedis]
    watched: Watched

    def at(self, port: int) -> str:
        return f"{self.name}:{port}"


@contextlib.contextmanager
def external(cluster: Cluster, folder: Path) -> Iterator[External]:
    """Started, and known to the cluster's DNS."""
    with cluster.namespace(unique("external")) as namespace, contextlib.ExitStack() as started:
        name, kafka_service = (f"{service}.{namespace}.svc.{DOMAIN}" for service in ("servers", "kafka"))
        certificates = make(folder, name, kafka_service)
        kafka = SecureKafka(_made(folder / "kafka"), certificates, name)
        cluster.api.apply([*_named("servers", headless=True), *_named("kafka", port_of(kafka.users))], namespace)
        started.enter_context(running(kafka))
        redis = [
            started.enter_context(running(_member(_made(folder / f"redis-{number}"), certificates, name)))
            for number in range(_PRIMARIES)
        ]
        _join(redis, certificates)
        pair = started.enter_context(watched(_made(folder / "watched"), ADDRESS, SECRETS))
        yield External(name, kafka_service, certificates, kafka, redis, pair)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def _named(service: str, port: int = 0, *, headless: bool = False) -> list[Object]:
    """A Service that leads to the node's address: by its name alone, or also to a port of it."""
    ports = [{"name": "only", "port": port or 1, "protocol": "TCP"}]
    slice_of = {"kubernetes.io/service-name": service}
    return [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": service},
            "spec": {"ports": [{**ports[0], "port": KAFKA_PORT}], **({"clusterIP": "None"} if headless else {})},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": service, "labels": slice_of},
            "addressType": "IPv4", "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}], "ports": ports,
        },
    ]  # fmt: skip


def _member(folder: Path, certificates: Certificates, name: str) -> SecureRedis:
    """One server of a Cluster, which tells clients its name and not its address."""
    options = {
        "--bind": f"127.0.0.1 {ADDRESS}",
        "--requirepass": _ADMIN,
        "--cluster-enabled": "yes",
        "--cluster-port": str(free_port()),
        "--tls-cluster": "yes",
        "--cluster-announce-hostname": name,
        "--cluster-preferred-endpoint-type": "hostname",
        "--cluster-node-timeout": "10000",
    }
    return SecureRedis(folder, certificates, more=tuple(word for option in options.items() for word in option))


def _join(members: list[SecureRedis], certificates: Certificates) -> None:
    """Make a Cluster of them as its own tool does, with the user that docs/connections.md describes and nobody else but us."""
    rights = _rights()
    addresses = []
    for member in members:
        with _admin(member, certificates) as client:
            client.execute_command("ACL", "SETUSER", USER, "on", f">{ACL_PASSWORD}", *rights)
            bus = client.config_get("cluster-port")["cluster-port"]
        addresses.append(f"{ADDRESS}:{member.port}@{bus}")
    tls = ("--tls", "--cacert", str(certificates.authority.certificate), "--no-auth-warning", "-a", _ADMIN)
    command = ("redis-cli", *tls, "--cluster", "create", *addresses, "--cluster-yes")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "All 16384 slots covered" in done.stdout, f"{done.stdout}{done.stderr}"


def _admin(member: SecureRedis, certificates: Certificates) -> Redis:
    authority = str(certificates.authority.certificate)
    return Redis(port=member.port, password=_ADMIN, protocol=2, decode_responses=True, ssl=True, ssl_ca_certs=authority)


def _rights() -> list[str]:
    page = (ROOT / "docs" / "connections.md").read_text()
    rights = re.search(rf"^ +ACL SETUSER {USER} on >SECRET (.*)$", page, re.MULTILINE)
    more = re.search(r"^In a Cluster, on every server, also `(.*)`", page, re.MULTILINE)
    assert rights and more, "docs/connections.md names no rights"
    return [*rights[1].split(), *more[1].split()]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
