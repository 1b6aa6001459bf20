"""What a cluster is made of: its name, its nodes, their addresses, and where its files lie. Pure; nothing is started here.

All addresses are inside the cluster's sandbox, so that every cluster may have the same ones.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOMAIN: Final = "cluster.local"
NODES: Final = "10.250.0.0/24"
PODS: Final = "10.244.0.0/16"
SERVICES: Final = "10.96.0.0/16"
API_SERVICE: Final = "10.96.0.1"
DNS_SERVICE: Final = "10.96.0.10"
NOWHERE: Final = "10.250.0.254"  # the default route of every node, where nobody listens
NOBODY: Final = "02:00:00:00:00:fe"  # who has that address
PORT: Final = 6443
MOST_NODES: Final = 9
VOLUMES_PER_NODE: Final = 24


@dataclass(frozen=True)
class Node:
    """One machine of the cluster, counted from 1. The first is the sandbox itself, the others are namespaces in it."""

    number: int

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        return f"10.250.0.{self.number}"

    @property
    def pods(self) -> str:
        return f"10.244.{self.number - 1}.0/24"

    @property
    def gateway(self) -> str:
        return f"10.244.{self.number - 1}.1"

    @property
    def zone(self) -> str:
        return f"zone-{self.number}"


@dataclass(frozen=True)
class Plan:
    """home: the folder of everything that this cluster writes. count: of real nodes; 0 is a control plane alone."""

    name: str
    home: Path
    count: int

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(map(Node, range(1, self.count + 1)))

    @property
    def machines(self) -> tuple[Node, ...]:
        """The namespaces that are needed: the control plane has one even without nodes."""
        return self.nodes or (Node(1),)

    @property
    def programs(self) -> Path:
        return self.home / "bin"

    @property
    def certificates(self) -> Path:
        return self.home / "certificates"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def kubeconfig(self) -> Path:
        return self.kubeconfig_of("admin")

    @property
    def server(self) -> str:
        return f"https://{Node(1).address}:{PORT}"

    def kubeconfig_of(self, user: str) -> Path:
        return self.home / "kubeconfigs" / f"{user}.json"

    def of(self, node: Node) -> Path:
        """The files of one node."""
        return self.home / node.name

    def volumes(self, node: Node) -> tuple[Path, ...]:
        return tuple(self.of(node) / "volumes" / str(number) for number in range(VOLUMES_PER_NODE))

    def cgroup(self, node: Node | None = None) -> str:
        return f"/tideboard-{self.name}" + (f"/{node.name}" if node else "")

    def written(self) -> str:
        return json.dumps({"name": self.name, "home": str(self.home), "count": self.count})


def read(text: str) -> Plan:
    """A plan as it was written."""
    told = json.loads(text)
    return Plan(told["name"], Path(told["home"]), told["count"])
