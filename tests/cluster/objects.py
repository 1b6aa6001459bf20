"""The objects that the cluster itself needs: DNS, storage, and the volumes that lie ready on each node; and fake nodes. Pure."""

import json
from collections.abc import Iterable
from typing import Any, Final

from tests.cluster import plan as plans
from tests.cluster.plan import Node, Plan

Object = dict[str, Any]
DNS_IMAGE: Final = "localhost/coredns:1"
STORAGE_CLASS: Final = "standard"
VOLUME_SIZE: Final = "10Gi"
FAKE: Final = {"kwok.x-k8s.io/node": "fake"}
_FAKE_LABEL: Final = "type"

# Two blocks: in one, `template` would answer before `kubernetes`, since the order of plugins is fixed when CoreDNS is built.
_COREFILE: Final = """\
cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    prometheus :9153
    cache 5
    loadbalance
}
.:53 {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""


def dns() -> list[Object]:
    """CoreDNS on every real node, each asked by its own pods only, so that a lost node takes nobody else's names with it."""
    labels = {"k8s-app": "kube-dns"}
    here = {"namespace": "kube-system"}
    reads = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces", "endpoints"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"}
    ports = [{"name": protocol.lower(), "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return [
        _object("v1", "ServiceAccount", "coredns", here),
        _object("rbac.authorization.k8s.io/v1", "ClusterRole", "coredns", rules=reads),
        _object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            "coredns",
            roleRef=role,
            subjects=[{"kind": "ServiceAccount", "name": "coredns", **here}],
        ),
        _object("v1", "ConfigMap", "coredns", here, data={"Corefile": _COREFILE}),
        _object(
            "apps/v1",
            "DaemonSet",
            "coredns",
            here,
            spec={"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": _dns_pod()}},
        ),
        _object(
            "v1",
            "Service",
            "kube-dns",
            {**here, "labels": labels},
            spec={"clusterIP": plans.DNS_SERVICE, "selector": labels, "ports": ports, "internalTrafficPolicy": "Local"},
        ),
    ]


def _dns_pod() -> Object:
    real = {"matchExpressions": [{"key": _FAKE_LABEL, "operator": "NotIn", "values": ["kwok"]}]}
    return {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-node-critical",
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [real]}}},
        "containers": [
            {
                "name": "coredns",
                "image": DNS_IMAGE,
                "imagePullPolicy": "Never",
                "securityContext": {"runAsUser": 0},  # for port 53
                "args": ["-conf", "/etc/coredns/Corefile"],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }


def storage() -> Object:
    return _object(
        "storage.k8s.io/v1",
        "StorageClass",
        STORAGE_CLASS,
        {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        provisioner="kubernetes.io/no-provisioner",
        volumeBindingMode="WaitForFirstConsumer",
        reclaimPolicy="Retain",
    )


def volumes(plan: Plan) -> list[Object]:
    """Local volumes and not hostPath: only those does the kubelet give to a pod's fsGroup."""
    return [volume(node, number, str(path)) for node in plan.nodes for number, path in enumerate(plan.volumes(node))]


def volume(node: Node, number: int, path: str) -> Object:
    there = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}]}
    return _object(
        "v1",
        "PersistentVolume",
        f"{node.name}-{number}",
        spec={
            "capacity": {"storage": VOLUME_SIZE},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [there]}},
        },
    )


def fake_nodes(count: int) -> Iterable[Object]:
    """Nodes that exist on paper: kwok says that they are well, and that the pods on them run. Only who tolerates them goes there."""
    size = {"cpu": "64", "memory": "256Gi", "pods": "500"}
    for number in range(count):
        name = f"fake{number}"
        labels = {
            _FAKE_LABEL: "kwok",
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": f"zone-{number % 3}",
        }
        yield _object(
            "v1",
            "Node",
            name,
            {"labels": labels, "annotations": FAKE},
            spec={"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
            status={
                "allocatable": size,
                "capacity": size,
                "nodeInfo": {"kubeletVersion": "fake", "operatingSystem": "linux", "architecture": "amd64"},
            },
        )


def on_fake_nodes() -> Object:
    """What a pod spec says to run on fake nodes and nowhere else."""
    toleration = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
    return {"nodeSelector": {_FAKE_LABEL: "kwok"}, "tolerations": [toleration]}


def documents(objects: Iterable[Object]) -> str:
    """As a file for kubectl. JSON is YAML."""
    return "".join(f"---\n{json.dumps(each)}\n" for each in objects)


def _object(version: str, kind: str, name: str, metadata: Object | None = None, **more: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **(metadata or {})}, **more}
