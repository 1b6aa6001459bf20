"""Everybody who watches one dashboard: each at a rate, and each told exactly what it lacks.

Synchronous. Nothing is written here: `tick` gives messages, made once for all who lack the same, and the writer writes them, in
slices between which others have their turn. So whoever comes, or wants another rate, is dealt with by the next tick, after all
that was meant for it before has been written; only leaving is at once.

A viewer that is clogged gets nothing. What it has is remembered, and when it has drained one message brings it to now.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

from msgspec.structs import replace

from services.contract.live import Delta, Since, Status
from services.gateway import metrics
from services.gateway.content import content
from services.gateway.dashboard import Mark, Picture, Position
from services.gateway.outgoing import Outgoing, outgoing
from services.gateway.pace import Pace
from services.gateway.rates import PAUSED, RATES, Throttle
from services.gateway.recipients import Members, Out, Recipients
from services.gateway.tier import Base, Tier, shared
from services.gateway.viewer import Viewer

ALIVE_MS: Final = 600  # a second at most between two frames: the hub may be quiet for 350 ms
SOON_MS: Final = 1_000
SNAPSHOT_MS: Final = 1_000  # for so long a snapshot serves those who come; what it lacks follows at once


_NEVER: Final = -1  # no status was told that is of this number
_Key = tuple[tuple[str, int], ...] | tuple[int, ...] | None


class Wish(NamedTuple):
    """What a viewer that comes has, and the rate that it wants. told: it has heard a status before, which may have changed.

    sought: since when what it has and this gateway has not is looked for, epoch ms; None: it is not.
    """

    since: Since | Position | None
    hz: int
    told: bool = False
    sought: int | None = None


class _Made(NamedTuple):
    """A message, None where there is nothing to say, and what a viewer has that gets it."""

    message: Outgoing | None
    mark: Mark


class Audience:
    """waiting: who has no answer yet. status: what is to be told of the dashboard beside its numbers."""

    def __init__(self, dashboard: str, throttle: Throttle) -> None:
        self.dashboard = dashboard
        self.tiers = {hz: Tier(hz) for hz in (*RATES, PAUSED)}
        self.waiting: dict[Viewer, Wish] = {}
        self.status = Status(dashboard, 0, False, 0, [])
        self._throttle = throttle
        self._told = 0  # number of the newest status
        self._moves: dict[Viewer, int] = {}
        self._slow: dict[Viewer, Pace] = {}
        self._made: dict[Mark, _Made] = {}
        self._snapshots: dict[int, tuple[Outgoing, Mark, int]] = {}
        self._waited_at = 0

    def __len__(self) -> int:
        return sum(map(len, self.tiers.values())) + len(self.waiting)

    def __iter__(self) -> Iterator[Viewer]:
        for tier in self.tiers.values():
            yield from tier
        yield from self.waiting

    @property
    def answered(self) -> bool:
        """Whether somebody has an answer."""
        return any(map(len, self.tiers.values()))

    @property
    def answerable(self) -> bool:
        """Whether somebody waits who can be written to."""
        return any(not viewer.clogged for viewer in self.waiting)

    @property
    def slow(self) -> dict[Viewer, Pace]:
        """Who has missed frames lately."""
        return self._slow

    def behind_ms(self, viewer: Viewer, now: int) -> int:
        """How old the newest change is that a viewer has. Versions are the microseconds at which they were made."""
        for tier in self.tiers.values():
            mark = tier.behind[viewer].mark if viewer in tier.behind else tier.mark if viewer in tier.members else None
            if mark is not None:
                newest = max((version for version, *_ in mark.views), default=0)
                return max(0, now - newest // 1_000) if newest else 0
        return 0

    def ask(self, viewer: Viewer, since: Since | Position | None, hz: int, now: int) -> None:
        """A viewer comes, or comes again with what it has."""
        known = len(self)
        self.leave(viewer)
        if not self.waiting:
            self._waited_at = now
        self.waiting[viewer] = Wish(since, hz, told=self._told > 0 and len(self) < known)

    def rate(self, viewer: Viewer, hz: int) -> None:
        """It wants another rate."""
        if viewer in self.waiting:
            self.waiting[viewer] = self.waiting[viewer]._replace(hz=hz)
        elif any(viewer in tier.members or viewer in tier.behind for tier in self.tiers.values()):
            self._moves[viewer] = hz

    def leave(self, viewer: Viewer) -> None:
        self._take(viewer)
        self.waiting.pop(viewer, None)
        self._moves.pop(viewer, None)
        self._slow.pop(viewer, None)

    def begin_anew(self) -> None:
        """Nothing that anybody has is worth anything any more: all wait for a snapshot. They keep their rates."""
        wishes = {viewer: Wish(None, self._wished(viewer, hz), told=True) for hz, tier in self.tiers.items() for viewer in tier}
        self.waiting = {**wishes, **self.waiting}
        self.tiers = {hz: Tier(hz) for hz in self.tiers}
        self._moves, self._slow = {}, {}
        self._snapshots.clear()

    def turn_back(self, now: int) -> None:
        """The clock was set back."""
        for tier in self.tiers.values():
            tier.sent_at, tier.looked_at, tier.heard_at = (min(at, now) for at in (tier.sent_at, tier.looked_at, tier.heard_at))
        for pace in self._slow.values():
            pace.begin(now)
        self._waited_at = min(self._waited_at, now)
        self._snapshots.clear()

    def due_at(self, picture: Picture) -> float | None:
        """When a tick has something to say of the numbers, None where nothing is to be said."""
        if self._moves:
            return 0
        mark, every_ms = picture.mark, self._throttle.every_ms
        times = [tier.due_at(mark, every_ms(hz)) for hz, tier in self.tiers.items() if hz != PAUSED and len(tier)]
        return min((time for time in times if time is not None), default=None)

    def snapshot(self, picture: Picture, now: int) -> Outgoing | None:
        """As it is now."""
        return self._snapshot(picture, RATES[1], now, -1).message

    # What is to be written now. To be consumed whole.

    def tick(self, picture: Picture, now: int) -> Iterable[Out]:
        """What those who have an answer lack."""
        self._move(now)
        for hz, tier in self.tiers.items():
            due = tier.due_at(picture.mark, self._throttle.every_ms(hz)) if hz != PAUSED and len(tier) else None
            if due is not None and due <= now:
                self._made.clear()
                yield from self._catch_up(tier, picture, now)

    def answer(self, picture: Picture, viewers: Iterable[Viewer], now: int) -> Iterable[Out]:
        """The first answer to viewers that wait."""
        wishes: dict[Viewer, Wish] = {}
        answers: dict[tuple[int, _Key], tuple[_Made, list[Viewer]]] = {}
        resumes: dict[tuple[str, _Key], bool] = {}  # after another gateway has gone, thousands come at once with the same
        for viewer in viewers:
            if viewer.clogged:  # by another dashboard on the same socket
                continue
            wishes[viewer] = self.waiting.pop(viewer)
            since, hz, *_ = wishes[viewer]
            had, resumed = _key(since) if since else None, False
            if since:
                if (since.epoch, had) not in resumes:
                    resumes[since.epoch, had] = picture.resumes(since)
                resumed = resumes[since.epoch, had]
                metrics.RESUMES.labels("delta" if resumed else "snapshot").inc()
            key = hz, had if resumed else None
            if key not in answers:
                answers[key] = self._answer(picture, since if resumed else None, hz, now), []
            answers[key][1].append(viewer)
        for (hz, _), (made, asked) in answers.items():
            worth = self.status.stale or self._throttle.factor > 1
            for viewer in asked:
                told = _NEVER if worth or wishes[viewer].told else self._told
                self.tiers[hz].join(viewer, Base(made.mark, told), self._told, now)
            if made.message:
                yield Out(made.message, Recipients(asked), partial(self._wait_again, wishes))

    def tell(self, status: Status, now: int) -> Iterable[Out]:
        """Tell everybody how things are."""
        self.status, self._told = status, self._told + 1
        for tier in self.tiers.values():
            base = Base(tier.mark, self._told - 1)
            for reduced, viewers in self._by_limit(tier.members):
                yield Out(self._status(tier.hz, reduced, now), viewers, partial(tier.missed, base))
            if tier.hz == PAUSED:
                yield from self._tell_paused(tier, now)
        if self.waiting:
            self.waiting = {viewer: wish._replace(told=True) for viewer, wish in self.waiting.items()}
            yield Out(outgoing(status), Recipients(self.waiting))

    def alive(self, picture: Picture | None, now: int) -> Iterable[Out]:
        """Signs of life for those who have not heard anything for a while."""
        for hz, tier in self.tiers.items():
            if len(tier) and now - tier.heard_at >= ALIVE_MS and not self._soon(tier, picture):
                tier.heard_at = now
                if hz == PAUSED:
                    yield from self._tell_paused(tier, now)
                yield Out(outgoing(picture.alive(now) if picture else Delta(self.dashboard, "", now, [])), Recipients(tier))
        if self.waiting and now - self._waited_at >= ALIVE_MS:
            self._waited_at = now
            yield Out(outgoing(Delta(self.dashboard, "", now, [])), Recipients(self.waiting))

    def judge(self, now: int) -> None:
        """Give those who cannot keep up fewer frames, and those who can again more."""
        self._forget(now)
        for viewer, pace in list(self._slow.items()):
            before = pace.hz
            if pace.judge(now, self._throttle.every_ms(pace.hz)):
                metrics.PACES.labels("down" if pace.hz < before else "up", "reader").inc()
                if base := self._take(viewer):
                    self.tiers[pace.hz].join(viewer, base._replace(told=_NEVER), self._told, now)
            elif pace.over(now):
                del self._slow[viewer]

    # Inside.

    def _forget(self, now: int) -> None:
        """Let go of messages that serve nobody any more: a large dashboard whole is megabytes."""
        self._made.clear()
        self._snapshots = {hz: held for hz, held in self._snapshots.items() if now - held[2] <= SNAPSHOT_MS}

    def _catch_up(self, tier: Tier, picture: Picture, now: int) -> Iterable[Out]:
        """Bring a tier to now. Everything is composed before the first message is given away, so that all have the same then."""
        tier.begin(picture.mark, now)
        outs, before = [], Base(tier.mark, self._told)
        made = self._delta(picture, tier.mark, tier.hz, now) if tier.members else _Made(None, picture.mark)
        tier.mark = made.mark
        if made.message and tier.members:
            outs.append(Out(made.message, tier.members.recipients, partial(self._missed, tier, before, now)))
        late: dict[tuple[Base, bool], list[Viewer]] = {}
        for viewer, base in tier.behind.items():
            if viewer.clogged:
                self._count_miss(tier, viewer, now)
            else:
                late.setdefault((base, self._reduced(viewer)), []).append(viewer)
        begin = shared((base.mark for base, _ in late), picture.mark)
        for (base, reduced), viewers in late.items():
            recipients = Recipients(viewers)
            for viewer in viewers:
                del tier.behind[viewer]
                tier.members.add(viewer)
            if base.told != self._told:  # first: what changed may be all that a slow reader has room for
                outs.append(Out(self._status(tier.hz, reduced, now), recipients, partial(tier.missed, base)))
            if message := self._delta(picture, begin[base.mark], tier.hz, now).message:
                told = base._replace(told=self._told)
                outs.append(Out(message, recipients, partial(self._missed, tier, told, now)))
        if outs:
            tier.heard_at = now
        return outs

    def _delta(self, picture: Picture, mark: Mark, hz: int, now: int) -> _Made:
        made = self._made.get(mark)
        if made is None:
            if not picture.continues(mark):
                made = self._snapshot(picture, hz, now, -1)
            else:
                delta = picture.delta(mark, now)
                made = _Made(outgoing(delta, picture.mark, content(picture, delta, mark)) if delta else None, picture.mark)
            self._made[mark] = made
        return made

    def _wait_again(self, wishes: dict[Viewer, Wish], viewer: Viewer) -> None:
        if self._take(viewer):
            self.waiting[viewer] = wishes[viewer]

    def _answer(self, picture: Picture, since: Since | Position | None, hz: int, now: int) -> _Made:
        if not since:
            return self._snapshot(picture, hz, now)
        delta = picture.resume(since, now)
        return _Made(outgoing(delta, picture.mark, content(picture, delta)), picture.mark)

    def _snapshot(self, picture: Picture, hz: int, now: int, age_ms: int = SNAPSHOT_MS) -> _Made:
        """A snapshot for those of a rate that is at most so old, or lacks nothing."""
        held = self._snapshots.get(hz)
        if (
            held is None
            or not picture.continues(held[1])
            or now - held[2] > (SNAPSHOT_MS if held[1] == picture.mark else age_ms)
        ):
            snapshot = picture.snapshot(now, self._throttle.hz(hz))
            held = outgoing(snapshot, picture.mark, content(picture, snapshot)), picture.mark, now
            self._snapshots[hz] = held
        return _Made(held[0], held[1])

    def _move(self, now: int) -> None:
        moves, self._moves = self._moves, {}
        for viewer, hz in moves.items():
            if base := self._take(viewer):
                self._slow.pop(viewer, None)
                self.tiers[hz].join(viewer, base._replace(told=_NEVER), self._told, now)

    def _take(self, viewer: Viewer) -> Base | None:
        return next((base for tier in self.tiers.values() if (base := tier.take(viewer, self._told))), None)

    def _missed(self, tier: Tier, base: Base, now: int, viewer: Viewer) -> None:
        tier.missed(base, viewer)
        self._count_miss(tier, viewer, now)

    def _count_miss(self, tier: Tier, viewer: Viewer, now: int) -> None:
        metrics.MISSED.inc()
        pace = self._slow.get(viewer)
        if pace is None:
            pace = self._slow[viewer] = Pace(tier.hz, now)
        pace.missed(now)

    def _tell_paused(self, tier: Tier, now: int) -> Iterable[Out]:
        """Who is paused has no frames that a status could go with."""
        untold = [viewer for viewer, base in tier.behind.items() if base.told != self._told and not viewer.clogged]
        for viewer in untold:
            tier.behind[viewer] = tier.behind[viewer]._replace(told=self._told)
        if untold:
            yield Out(self._status(tier.hz, False, now), Recipients(untold), partial(_tell_again, tier))

    def _soon(self, tier: Tier, picture: Picture | None) -> bool:
        """Whether a frame with something in it comes within a second of the last one."""
        if picture is None or tier.hz == PAUSED:
            return False
        due = tier.due_at(picture.mark, self._throttle.every_ms(tier.hz))
        return due is not None and due - tier.heard_at <= SOON_MS

    def _wished(self, viewer: Viewer, hz: int) -> int:
        """The rate that a viewer of a tier asked for."""
        pace = self._slow.get(viewer)
        return pace.wish if pace else hz

    def _reduced(self, viewer: Viewer) -> bool:
        pace = self._slow.get(viewer)
        return pace is not None and pace.reduced

    def _by_limit(self, members: Members) -> list[tuple[bool, Recipients]]:
        """Who has fewer frames than it wants apart from the others."""
        if not self._slow:
            return [(False, members.recipients)] if members else []
        apart: dict[bool, list[Viewer]] = {False: [], True: []}
        for viewer in members:
            apart[self._reduced(viewer)].append(viewer)
        return [(reduced, Recipients(found)) for reduced, found in apart.items() if found]

    def _status(self, hz: int, reduced: bool, now: int) -> Outgoing:
        limit = "reader" if reduced else "gateway" if hz and self._throttle.factor > 1 else ""
        return outgoing(aged(self.status, now, self._throttle.hz(hz), limit))


def aged(status: Status, now: int, hz: float, limit: str) -> Status:
    """A status as it is some time later, to those of a rate."""
    later = now - status.now if status.stale else 0
    panels = {panel: age + later for panel, age in status.panels.items()}
    return replace(status, now=now, age_ms=status.age_ms + later, panels=panels, hz=hz, limit=limit)


def _tell_again(tier: Tier, viewer: Viewer) -> None:
    """A viewer that is paused was clogged, and has not heard the newest status."""
    if base := tier.behind.get(viewer):
        tier.behind[viewer] = base._replace(told=_NEVER)


def _key(since: Since | Position) -> _Key:
    if isinstance(since, Position):
        return since.versions
    return tuple(sorted(since.versions.items()))
