"""Where messages go, whatever the door: a WebSocket, an event stream."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from services.gateway.outgoing import Outgoing


class Viewer(Protocol):
    """clogged: what was sent last is still on its way; nothing more should be sent until it is not. deflated: it is sent compressed.

    Sending to one that is closed does nothing.
    """

    clogged: bool
    deflated: bool

    def send(self, message: Outgoing) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...


def ignore(viewer: Viewer) -> None:
    """It does not matter that this viewer does not get this message."""


@dataclass(slots=True, frozen=True)
class Out:
    """A message that is to be written, to whom, and who hears of those that are clogged and do not get it."""

    message: Outgoing
    viewers: list[Viewer]
    missed: Callable[[Viewer], None] = ignore
