"""What /status says of a child. Pure: clocks are given."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from services.local.members import Member
from services.local.supervision import Child

_SHOWN = {"waiting": "starting", "stopped": "down"}


def not_up(children: Iterable[Child]) -> list[str]:
    """Names of those that do not run, or have not answered yet."""
    return [child.name for child in children if child.state != "up"]


def unready(children: Iterable[Child], reasons: Mapping[str, str]) -> str:
    """Why not everything does its work, empty where all does. reasons: what those that are up say of themselves."""
    children = list(children)
    if away := not_up(children):
        return f"not up: {', '.join(away)}"
    return "; ".join(f"{child.name} is not ready: {reason}" for child in children if (reason := reasons.get(child.name)))


def child_status(member: Member, child: Child, reason: str, host: str, now: float, wall_now: float) -> dict[str, object]:
    """now: of the clock that `child` knows, wall_now: epoch seconds at the same moment. reason: why it is up and yet not ready."""
    since = datetime.fromtimestamp(wall_now - (now - child.since), UTC)
    return {
        "name": member.name,
        "state": _SHOWN.get(child.state, child.state),
        "reason": reason,
        "pid": child.pid,
        "since": since.isoformat(timespec="seconds"),
        "restarts": child.restarts,
        "last_exit": child.last_exit,
        "address": f"{member.host}:{member.port}" if member.port else "",
        "status": f"http://{host}:{member.admin}/status" if member.admin else "",
    }
