"""What both definitions say of a resource's state: the status, and the columns of `kubectl get`."""

from collections.abc import Mapping
from typing import Any, Final

from tools.crds.schemas import Schema, fields, items, text

_READY: Final = '.status.conditions[?(@.type=="Ready")]'

READY: Final[list[Mapping[str, Any]]] = [
    {"name": "Ready", "type": "string", "description": "Whether the newest version is in force.", "jsonPath": f"{_READY}.status"},
    {"name": "Reason", "type": "string", "description": "Why, in a word.", "jsonPath": f"{_READY}.reason"},
    {"name": "Age", "type": "date", "description": "Since it was made.", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Message", "type": "string", "description": "Why, in a sentence.", "jsonPath": f"{_READY}.message", "priority": 1},
]  # fmt: skip


def status(**more: Schema) -> Schema:
    """Written by the operator."""
    return fields(
        "What became of it. Written by the operator.",
        observedGeneration={
            "type": "integer",
            "format": "int64",
            "description": "The generation (metadata.generation) that all of the status is about.",
        },
        **more,
        conditions=items(
            "Ready is True when the newest version is in force. When it is False, the last good version, if there ever was"
            " one, still is.",
            _condition(),
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    )


def _condition() -> Schema:
    return fields(
        "One statement about the resource.",
        ("type", "status", "lastTransitionTime", "reason", "message"),
        type=text("What is stated.", maxLength=316),
        status=text("True, False or Unknown.", enum=["True", "False", "Unknown"]),
        reason=text(
            "Why, in one word: Accepted, Invalid (it cannot be read), NameTaken (another resource or another owner has the"
            " name), RegistryAway (Redis cannot be reached; it is tried again).",
            maxLength=1024,
        ),
        message=text("Why, in a sentence. Of what cannot be read: where, and what is expected there.", maxLength=32768),
        lastTransitionTime=text("When the status of the condition last changed.", format="date-time"),
        observedGeneration={"type": "integer", "format": "int64", "description": "The generation that this is about."},
    )
