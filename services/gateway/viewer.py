"""Where messages go, whatever the door: a WebSocket, an event stream."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from services.gateway.outgoing import Outgoing

SHUT: Final = -1


class Viewer(Protocol):
    """clogged: what was sent last is still on its way; nothing more should be sent until it is not. deflated: it is sent compressed.

    fd: a socket that does not block and to which frames may be written now, past `send`; SHUT where there is none, and while it is
    clogged. What the socket does not take is given to `rest`.

    Sending to one that is closed does nothing.
    """

    clogged: bool
    deflated: bool
    fd: int

    def send(self, message: Outgoing) -> None: ...

    def rest(self, frame: bytes) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...


class Indirect:
    """A viewer to whom everything goes through `send`."""

    __slots__ = ()

    fd: int = SHUT

    def rest(self, frame: bytes) -> None:
        """Nothing was written past `send`."""


def ignore(viewer: Viewer) -> None:
    """It does not matter that this viewer does not get this message."""


@dataclass(slots=True, frozen=True)
class Out:
    """A message that is to be written, to whom, and who hears of those that are clogged and do not get it."""

    message: Outgoing
    viewers: list[Viewer]
    missed: Callable[[Viewer], None] = ignore
