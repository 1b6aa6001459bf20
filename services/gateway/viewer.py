"""Where messages go, whatever the door: a WebSocket, an event stream."""

from typing import Final, Protocol

from services.gateway.outgoing import Outgoing

SHUT: Final = -1


class Descriptors:
    """Those of this process that are a viewer's `fd`.

    changes: how often the `fd` of a viewer that was there became another one. Who keeps descriptors may use them as long as this is
    what it was: a descriptor that is closed becomes another connection's.
    """

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes = 0


descriptors: Final = Descriptors()


class Viewer(Protocol):
    """clogged: what was sent last is still on its way; nothing more should be sent until it is not. deflated: it is sent compressed,
    from its beginning to its end.

    fd: a socket that does not block and to which frames may be written now, past `send`; SHUT where there is none, and while it is
    clogged. What the socket does not take is given to `rest`, which keeps it as it is: thousands may share it. When it changes, `descriptors` counts it.

    Sending to one that is closed does nothing.
    """

    clogged: bool
    deflated: bool

    @property
    def fd(self) -> int: ...

    def send(self, message: Outgoing) -> None: ...

    def rest(self, frame: bytes | memoryview) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...


class Indirect:
    """A viewer to whom everything goes through `send`."""

    __slots__ = ()

    fd: int = SHUT

    def rest(self, frame: bytes | memoryview) -> None:
        """Nothing was written past `send`."""
