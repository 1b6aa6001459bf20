"""What `all` tells the person at the terminal: a line per step on standard output, and what its children log."""

import contextlib
import json
from collections.abc import Callable
from typing import Final

import structlog

from services.local.members import BROKER, VALKEY, Composition, Member

log = structlog.get_logger()

_OWN_FIELDS: Final = ("event", "level", "timestamp", "service")


def step(text: str) -> None:
    print(text, flush=True)


def announce(composition: Composition, pids: dict[str, int | None], host: str, status: str) -> None:
    """Everything is up: where the wall is, and what was started. host: of the admin servers."""
    step("")
    for member in composition.members:
        step(f"  {member.name:<12}pid {pids.get(member.name)!s:<9}{_address(member, host)}")
    step(f"\n  The wall    {composition.wall}\n  Status      {status}\n  Stop        Ctrl-C\n")


def hearer(name: str) -> Callable[[str], None]:
    """What to do with a line that a child says."""
    return _hear_server if name in (VALKEY, BROKER) else lambda line: _hear_service(name, line)


def _hear_server(_: str) -> None:
    """What it says is of interest when it ends, and the process keeps its last words."""


def _hear_service(name: str, line: str) -> None:
    """Log again what a service has logged as JSON, under its name; anything else it would say is out of the ordinary."""
    event: dict[str, object] = {}
    with contextlib.suppress(json.JSONDecodeError):
        found = json.loads(line)
        event = found if isinstance(found, dict) else {}
    if "event" not in event:
        log.warning(line, service=name)
        return
    tell = {"debug": log.debug, "info": log.info, "warning": log.warning}.get(str(event.get("level")), log.error)
    tell(str(event["event"]), service=name, **{key: value for key, value in event.items() if key not in _OWN_FIELDS})


def _address(member: Member, host: str) -> str:
    """Where it serves; of one that serves nobody, its page."""
    if member.name in (VALKEY, BROKER):
        return f"{member.host}:{member.port}"
    return f"http://{member.host}:{member.port}/" if member.port else f"http://{host}:{member.admin}/status"
