"""The status of a resource: what has to be written so that it says what was decided, and the event that tells of it. Pure.

Nothing has to be written where it says so already: a write comes back through the watch, and must not lead to another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.operator.deciding import Verdict
from services.operator.resources import conditions

MAX_MESSAGE = 1_024
"""Characters of an event's note, as the API server allows them."""


@dataclass(frozen=True, slots=True)
class Event:
    """A line of `kubectl describe`."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def changes(verdict: Verdict, now: str) -> dict[str, Any] | None:
    """The merge patch, None where the status says it all. now: RFC 3339."""
    resource = verdict.resource
    before = resource.condition
    condition = {**before, **_condition(verdict)}
    if before.get("status") != condition["status"] or "lastTransitionTime" not in before:
        condition["lastTransitionTime"] = now
    status: dict[str, Any] = {"observedGeneration": resource.generation}
    if verdict.panels is not None:
        status["panels"] = verdict.panels
        status["memory"] = None if verdict.memory is None else quantity(verdict.memory)
    same = all(resource.status.get(name) == value for name, value in status.items())
    if same and condition == before:
        return None
    others = [dict(item) for item in conditions(resource.status) if item.get("type") != "Ready"]
    return {"status": {**status, "conditions": [*others, condition]}}


def quantity(size: int) -> str:
    """Bytes as Kubernetes writes them, rounded up: 83Mi."""
    for unit in ("", "Ki"):
        if size < 1024:
            return f"{size}{unit}"
        size = -(-size // 1024)
    return f"{size}Mi"


def event(verdict: Verdict) -> Event | None:
    """What is worth an event: that a resource has become ready, or is not, and why."""
    before, now = verdict.resource.condition, _condition(verdict)
    told = ("status", "reason") if verdict.ready else ("status", "reason", "message")
    if all(before.get(name) == now[name] for name in told):
        return None
    return Event("Normal" if verdict.ready else "Warning", verdict.reason, verdict.message[:MAX_MESSAGE])


def _condition(verdict: Verdict) -> Mapping[str, Any]:
    return {
        "type": "Ready",
        "status": "True" if verdict.ready else "False",
        "reason": str(verdict.reason),
        "message": verdict.message,
        "observedGeneration": verdict.resource.generation,
    }
