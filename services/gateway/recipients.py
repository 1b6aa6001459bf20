"""Who gets a message, sorted by how it gets to them. No I/O; what has become of sockets it asks `viewer.descriptors`.

Of what a tick costs beside its sends, a fifth was to look at each viewer for its socket. As long as the same viewers get the messages,
and none of them has got another socket or lost it, what was found the last time is used again.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from services.gateway.outgoing import Outgoing
from services.gateway.viewer import SHUT, Viewer, descriptors

INDIRECT: Final = array("i")


class Lot:
    """Some of them who are written to in the same way: straight to their sockets, all compressed or all not, or through `send`.

    first: they are those from there on; who is before them has had its turn. fds: the sockets of all viewers, INDIRECT where they have
    none. Right until `stale`.
    """

    __slots__ = ("_changes", "_viewers", "deflated", "fds", "first")

    def __init__(self, viewers: Sequence[Viewer], fds: "array[int]", changes: int, *, deflated: bool, first: int = 0) -> None:
        self._viewers = viewers
        self.fds = fds
        self.deflated = deflated
        self.first = first
        self._changes = changes  # of the descriptors, when these were looked up

    def __len__(self) -> int:
        return len(self._viewers) - self.first

    def __iter__(self) -> Iterator[Viewer]:
        return islice(self._viewers, self.first, None)

    @property
    def stale(self) -> bool:
        """Sort its viewers anew: a socket of somebody is another one now."""
        return descriptors.changes != self._changes

    @property
    def straight(self) -> bool:
        return bool(self.fds)

    def after(self, count: int) -> "Lot":
        """Without so many who have had their turn. Nobody is looked at: not even that is free with thousands."""
        return Lot(self._viewers, self.fds, self._changes, deflated=self.deflated, first=self.first + count)


def lots(viewers: Iterable[Viewer]) -> list[Lot]:
    """All of them, each in one lot, none of which is empty or stale."""
    plain, packed, others = _Straight(), _Straight(), list[Viewer]()
    for viewer in viewers:
        if (fd := viewer.fd) == SHUT:
            others.append(viewer)
        else:
            some = packed if viewer.deflated else plain
            some.viewers.append(viewer)
            some.fds.append(fd)
    now = descriptors.changes
    found = [Lot(some.viewers, some.fds, now, deflated=some is packed) for some in (plain, packed) if some.viewers]
    return [*found, Lot(others, INDIRECT, now, deflated=False)] if others else found


class _Straight:
    __slots__ = ("fds", "viewers")

    def __init__(self) -> None:
        self.viewers: list[Viewer] = []
        self.fds = array("i")


class Recipients:
    """Viewers who may get many messages. Who they are does not change."""

    __slots__ = ("_lots", "_viewers")

    def __init__(self, viewers: Iterable[Viewer]) -> None:
        self._viewers = tuple(viewers)
        self._lots: list[Lot] | None = None

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(self._viewers)

    @property
    def lots(self) -> Sequence[Lot]:
        """None of them is stale."""
        if self._lots is None or any(lot.stale for lot in self._lots):
            self._lots = lots(self._viewers)
        return self._lots


class Members:
    """Viewers who come and go, and between that get the same messages."""

    __slots__ = ("_recipients", "_viewers")

    def __init__(self) -> None:
        self._viewers: dict[Viewer, None] = {}
        self._recipients: Recipients | None = None

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(self._viewers)

    def __contains__(self, viewer: Viewer) -> bool:
        return viewer in self._viewers

    def add(self, viewer: Viewer) -> None:
        self._viewers[viewer] = None
        self._recipients = None

    def discard(self, viewer: Viewer) -> bool:
        """Whether it was one of them."""
        if viewer not in self._viewers:
            return False
        del self._viewers[viewer]
        self._recipients = None
        return True

    @property
    def recipients(self) -> Recipients:
        """As they are now."""
        if self._recipients is None:
            self._recipients = Recipients(self._viewers)
        return self._recipients


def ignore(viewer: Viewer) -> None:
    """It does not matter that this viewer does not get this message."""


@dataclass(slots=True, frozen=True)
class Out:
    """A message that is to be written, to whom, and who hears of those that are clogged and do not get it."""

    message: Outgoing
    viewers: Recipients
    missed: Callable[[Viewer], None] = ignore
