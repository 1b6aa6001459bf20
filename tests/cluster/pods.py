"""Pods of the probe for tests: small, restricted as Pod Security wants it, and each told apart by its label `app`. Pure."""

from typing import Any

from tests.cluster.images import PROBE

Object = dict[str, Any]
PORT = 8080


def pod(name: str, node: str = "", **spec: Any) -> Object:
    """A pod that serves facts. node: where it runs; spec: what else its spec says."""
    placed = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    return _object("v1", "Pod", name, spec={**template(name)["spec"], **placed, **spec}, labels={"app": name})


def keeping(name: str, claimed: str) -> Object:
    """A pod with a claim, at /kept."""
    mounting = {**container(), "volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}
    return pod(name, volumes=[{"name": "kept", "persistentVolumeClaim": {"claimName": claimed}}], containers=[mounting])


def deployment(name: str, replicas: int, **spec: Any) -> Object:
    inner = template(name)
    inner["spec"] |= spec
    return _object(
        "apps/v1",
        "Deployment",
        name,
        spec={"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": inner},
    )


def service(name: str) -> Object:
    return _object("v1", "Service", name, spec={"selector": {"app": name}, "ports": [{"port": 80, "targetPort": PORT}]})


def claim(name: str) -> Object:
    return _object(
        "v1",
        "PersistentVolumeClaim",
        name,
        spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    )


def budget(name: str, least: int) -> Object:
    return _object(
        "policy/v1", "PodDisruptionBudget", name, spec={"minAvailable": least, "selector": {"matchLabels": {"app": name}}}
    )


def policy(name: str, *, to: str = "", admitted: str = "") -> Object:
    """A NetworkPolicy for what comes in. to: whom it is about, all where it is empty; admitted: who may come, nobody where it is empty."""
    rules = [{"from": [{"podSelector": {"matchLabels": {"app": admitted}}}]}] if admitted else []
    selector = {"matchLabels": {"app": to}} if to else {}
    return _object(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        name,
        spec={"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules},
    )


def template(name: str) -> Object:
    spec = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 10,
        "containers": [container()],
    }
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def container() -> Object:
    return {
        "name": "probe",
        "image": PROBE,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def _object(version: str, kind: str, name: str, spec: Object, labels: dict[str, str] | None = None) -> Object:
    metadata: Object = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
