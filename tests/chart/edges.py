"""Who may connect to whom, with the chart's defaults: the specification of its NetworkPolicies. docs/operations.md says the same.

Ends are our components, `test` (the pod of `helm test`), and who is not ours: `stranger` (any other pod of the cluster), `monitoring`
(pods of the namespace of that name), `outside` (who is no pod, nodes among them), and `api`, the API server. DNS is open to all of ours.
"""

from collections.abc import Mapping
from typing import Final

Place = tuple[str, int]  # who listens, and on which TCP port

PORTS: Final[Mapping[str, tuple[int, ...]]] = {
    "ingestor": (8081, 9100),
    "aggregator": (9100,),
    "gateway": (8080, 9100),
    "operator": (9100,),
    "collector": (9100,),
    "watcher": (9100,),
    "kafka": (9092,),
    "redis": (6379,),
}
API: Final[Place] = ("api", 443)
_DOORS: Final[frozenset[Place]] = frozenset({("gateway", 8080), ("ingestor", 8081)})
_WATCHED: Final = frozenset((each, 9100) for each in ("ingestor", "aggregator", "gateway", "operator", "collector"))
EDGES: Final[Mapping[str, frozenset[Place]]] = {
    "ingestor": frozenset({("kafka", 9092), ("redis", 6379)}),
    "aggregator": frozenset({("kafka", 9092), ("redis", 6379)}),
    "gateway": frozenset({("redis", 6379)}),
    "operator": frozenset({("redis", 6379), API}),
    "collector": frozenset({("ingestor", 8081)}),
    "watcher": frozenset({("ingestor", 8081), *_WATCHED}),
    "kafka": frozenset(),
    "redis": frozenset(),
    "test": _DOORS,
    "stranger": _DOORS,
    "monitoring": _DOORS | {(each, 9100) for each, ports in PORTS.items() if 9100 in ports},
    "outside": frozenset({("gateway", 8080)}),
}
