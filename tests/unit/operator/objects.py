"""Objects as an API server sends them, for tests of the operator."""

import itertools
from typing import Any

from services.contract.claims import Kind
from services.contract.document import API_VERSION
from services.operator.resources import Resource, read

_versions = itertools.count(1)

BOARD: dict[str, Any] = {"panels": [{"id": "cpu", "type": "stat", "query": {"metric": "load"}}]}
BAD_BOARD: dict[str, Any] = {"panels": [{"id": "cpu", "type": "stat", "query": {"metric": "load", "fn": ["avrage"]}}]}
TOPIC: dict[str, Any] = {"topic": "shop.orders", "format": "json"}


def body(
    name: str = "shop",
    spec: Any = BOARD,
    *,
    namespace: str = "a",
    kind: Kind = "Dashboard",
    uid: str = "",
    generation: int = 1,
    created: str = "2026-11-29T12:00:00Z",
    status: Any = None,
    version: int | None = None,
) -> dict[str, Any]:
    """Every one is newer than those made before it, unless `version` says otherwise."""
    found = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"{kind}/{namespace}/{name}",
            "resourceVersion": str(next(_versions) if version is None else version),
            "generation": generation,
            "creationTimestamp": created,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": spec,
    }
    return found if status is None else {**found, "status": status}


def resource(name: str = "shop", spec: Any = BOARD, **more: Any) -> Resource:
    return read(more.get("kind", "Dashboard"), body(name, spec, **more))
