"""What /status says of a child. Pure: clocks are given."""

from datetime import UTC, datetime

from services.local.members import Member
from services.local.supervision import Child

_SHOWN = {"waiting": "starting", "stopped": "down"}


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
