"""The viewers of one dashboard that have the same rate: who is in step and gets the frame that all get, and who is not."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from services.gateway.dashboard import Had, Mark
from services.gateway.rates import PAUSED
from services.gateway.recipients import Members
from services.gateway.viewer import Viewer

SLACK_MS = 12
"""A tick that comes so much early counts as in time: ticks follow the changes, which are not so regular."""


SHARED_MS = 30_000
"""Of those who are paused within this the same is remembered: a mark of a large dashboard is as long as twenty viewers."""


FEW: Final = 8  # so many different deltas are composed in a tick before they are shared


class Base(NamedTuple):
    """What a viewer has. told: the number of the status that it was told last."""

    mark: Mark
    told: int


class Tier:
    """members: in step, each has `mark`. behind: who has something else, because it came from elsewhere or was clogged.

    sent_at: when the members were sent something. looked_at: when it was last seen whether somebody can catch up.
    """

    __slots__ = ("behind", "heard_at", "hz", "looked_at", "mark", "members", "sent_at")

    def __init__(self, hz: int) -> None:
        self.hz = hz
        self.mark = Mark("", ())
        self.members = Members()
        self.behind: dict[Viewer, Base] = {}
        self.sent_at = 0
        self.looked_at = 0
        self.heard_at = 0

    def __len__(self) -> int:
        return len(self.members) + len(self.behind)

    def __iter__(self) -> Iterator[Viewer]:
        yield from self.members
        yield from self.behind

    def join(self, viewer: Viewer, base: Base, told: int, now: int) -> None:
        """A viewer that has this. told: the number of the newest status."""
        if not len(self):
            self.heard_at = now
        if self.hz == PAUSED:
            self.behind[viewer] = base._replace(mark=self._shared(base.mark, now))
            return
        if not self.members:
            self.mark = base.mark
        if base == (self.mark, told):
            self.members.add(viewer)
        else:
            self.behind[viewer] = base

    def _shared(self, mark: Mark, now: int) -> Mark:
        """What is remembered of a viewer that is paused: the same for many, and no more than it has."""
        if now - self.sent_at > SHARED_MS or not _within(self.mark, mark):
            self.mark, self.sent_at = mark, now
        return self.mark

    def take(self, viewer: Viewer, told: int) -> Base | None:
        """A viewer leaves, with what it has; None where it is not here."""
        if self.members.discard(viewer):
            return Base(self.mark, told)
        return self.behind.pop(viewer, None)

    def missed(self, base: Base, viewer: Viewer) -> None:
        """A viewer in step was clogged: it still has this."""
        if self.members.discard(viewer):
            self.behind[viewer] = base

    def due_at(self, mark: Mark, every_ms: float) -> float | None:
        """When something is to be said, None where nothing is."""
        if self.hz == PAUSED:
            return None
        if self.members and mark != self.mark:
            return self.sent_at + every_ms - SLACK_MS
        return max(self.sent_at, self.looked_at) + every_ms - SLACK_MS if self.behind else None

    def begin(self, mark: Mark, now: int) -> None:
        """Those who lack something are sent it now. Where that is only who is behind, the others' next frame does not wait for it."""
        self.looked_at = now
        if not self.members or mark != self.mark:
            self.sent_at = now


def shared(marks: Iterable[Mark], now: Mark) -> dict[Mark, Mark]:
    """From where each of these is brought to now, so that few deltas serve many viewers: from what all have that are about as far behind.

    They are sent some of what they have, which does no harm; never more than what was written in twice the time, or so.
    """
    found = list(dict.fromkeys(marks))
    near = [mark for mark in found if (mark.epoch, mark.forks) == (now.epoch, now.forks)]
    if len(near) <= FEW:
        return {mark: mark for mark in found}
    written = sum(view[-1] for view in now.views)
    alike: dict[int, list[Mark]] = {}
    for mark in near:
        alike.setdefault((written - sum(view[-1] for view in mark.views)).bit_length(), []).append(mark)
    begin = {mark: mark for mark in found}
    for some in alike.values():
        begin |= dict.fromkeys(some, _common(some))
    return begin


def _common(marks: Sequence[Mark]) -> Mark:
    """What everybody has who has one of these."""
    least = tuple(_least(views) for views in zip(*(mark.views for mark in marks), strict=True))
    return Mark(marks[0].epoch, least, marks[0].forks)


def _least(views: Sequence[Had]) -> Had:
    versions, closed, noted, written = zip(*views, strict=True)
    return min(versions), min(closed), min(noted), min(written)


def _within(mark: Mark, other: Mark) -> bool:
    """Whether who has the other one has all of this."""
    return (mark.epoch, mark.forks) == (other.epoch, other.forks) and all(
        one <= another
        for view, its in zip(mark.views, other.views, strict=True)
        for one, another in zip(view, its, strict=True)
    )
