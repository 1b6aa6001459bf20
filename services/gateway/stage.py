"""One dashboard that somebody watches: who watches it, what they have been told, what they are told next.

Synchronous and without Redis: the hub gives it the registry's entry and the time, and has the messages written that `tick` returns.
A viewer's first answer comes when the views have been read; until then, and where nothing changes, it hears a sign of life.
"""

from collections.abc import Iterable
from typing import Final

from services.contract.dashboards import Dashboard, DashboardError, parse
from services.contract.live import Error, Part, Since, Status
from services.contract.registry import Entry
from services.gateway import metrics
from services.gateway.audience import Audience
from services.gateway.dashboard import Composition, Picture, Position
from services.gateway.health import Freshness, Health
from services.gateway.outgoing import Outgoing, outgoing
from services.gateway.rates import Throttle
from services.gateway.recipients import Out
from services.gateway.viewer import Viewer
from services.gateway.views import Held, Views

JUDGE_MS: Final = 200
PATIENCE_MS: Final = 1_000  # for the first read; then a viewer without anything gets what is there
VANISHED_MS: Final = 2_000  # of a registry that Redis has lost, owners write their entries one after the other
SWITCH_MS: Final = 60_000
"""How long a changed dashboard may wait for its new views to be filled; until then viewers keep the old picture."""
UNTOLD_MS: Final = 6_000
"""The same where it is not told when a view is filled: by aggregators of a version that does not say so."""
LINGER_MS: Final = 5_000  # a page that is reloaded finds everything still there


class Stage:
    """A dashboard by its name, whether or not there is one."""

    def __init__(self, name: str, views: Views, health: Health, throttle: Throttle, now: int) -> None:
        self.name = name
        self.entry: Entry | None = None
        self.picture: Picture | None = None
        self.held: list[Held] = []
        self.audience = Audience(name, throttle)
        self.parts: list[Part] = []
        self.holders = 0  # others who need the views: HTTP requests, Plotly streams
        self.idle_since = now
        self._views = views
        self._health = health
        self._fault: Error | None = None
        self.shown = 0  # how often there was another document; 0: the registry is not read yet
        self._shown_at = now
        self._vanished_at: int | None = None
        self._judged_at = 0
        self._ticked_at = 0
        self._throttle = throttle
        self._factor = throttle.factor
        self._newest = 0
        self._told = ("", 0)  # epoch of what viewers are told, and how often it had turned out to be lost
        self._renewed_at: int | None = None  # since when it is another one, and views are still missing
        self._coming: tuple[Composition, list[Held], int] | None = None  # what is shown next, and since when it is awaited

    @property
    def fault(self) -> Error | None:
        """Why there is no picture; None also where it is not known yet."""
        return self._fault

    @property
    def ready(self) -> bool:
        return self.picture is not None and all(held.ready for held in self.held)

    @property
    def idle(self) -> bool:
        return not (len(self.audience) or self.holders)

    def show(self, entry: Entry | None, now: int) -> None:
        """What the registry says of this dashboard."""
        if entry is None and self.picture:
            self._vanished_at = self._vanished_at or now
            return
        self._vanished_at = None
        if self.shown and entry == self.entry:
            return
        known, self.entry = self.entry, entry
        if entry and known and self.picture and (entry.revision, entry.document) == (known.revision, known.document):
            return  # only its fault is another one: the last good version stays
        self._replace(entry, now)

    def subscribe(self, viewer: Viewer, since: Since | Position | None, hz: int, now: int) -> None:
        """A viewer comes, or comes again with what it has. The next tick answers."""
        self.audience.ask(viewer, since, hz, now)
        if self._fault:
            viewer.send(outgoing(self._fault))

    def rate(self, viewer: Viewer, hz: int) -> None:
        self.audience.rate(viewer, hz)

    def leave(self, viewer: Viewer, now: int) -> None:
        self.audience.leave(viewer)
        self.idle_since = now

    def due_at(self) -> float | None:
        """When a tick has something to say (epoch ms; 0: at once), None where that is not known before something changes."""
        if self.picture is None:
            return None
        return 0 if self.audience.answerable and self.ready else self.audience.due_at(self.picture)

    def tick(self, now: int) -> Iterable[Out]:
        """What is to be written now, in this order. To be consumed whole."""
        if now < self._ticked_at:
            self._turn_back(now)
        self._ticked_at = now
        if self._vanished_at and now - self._vanished_at > VANISHED_MS:
            self._vanished_at = self.entry = None
            self._replace(None, now)
        self._switch(now)
        settled = self._settled(now)
        if self.picture:
            self.picture.trim(now)
            if settled:
                yield from self.audience.tick(self.picture, now)
        yield from self._answer_waiting(now)
        yield from self._judge(now)
        yield from self.audience.alive(self.picture if settled else None, now)

    def written(self, now: int) -> None:
        """A delta has been written: how old is the newest record in it?"""
        newest = max((held.state.arrived for held in self.held), default=0)
        if newest > self._newest:
            if self._newest:
                metrics.DELAY.observe((now - newest) / 1000)
            self._newest = newest

    def ages(self, now: int) -> dict[str, int]:
        """How old the newest value of each panel is (ms)."""
        return self.picture.ages(now) if self.picture else {}

    def close(self) -> None:
        """Let go of the views."""
        self._give_up()
        self._hold([])
        self.picture = None

    def snapshot(self, now: int) -> Outgoing | None:
        """The dashboard whole, made anew when something has changed."""
        return self.audience.snapshot(self.picture, now) if self.picture else None

    def _replace(self, entry: Entry | None, now: int) -> None:
        """Another document, or none: everybody waits for a new snapshot, or is told why there is none. A picture stays until the next one is filled."""
        dashboard, self._fault = readable(self.name, entry)
        self._give_up()
        if dashboard and entry:
            composition = Composition(dashboard, entry.revision)
            wanted = [(view, what.every_ms, window_ms) for view, (what, window_ms) in composition.views.items()]
            self._coming = composition, [self._views.open(*view) for view in wanted], now
            if self.picture is None:
                self._show_next(now)
            return
        self._begin_anew(now)
        self.close()
        message = outgoing(self._fault or unknown(self.name))
        for viewer in self.audience.waiting:
            viewer.send(message)

    def _switch(self, now: int) -> None:
        """Show what is coming as soon as nothing in it is emptier than it must be."""
        if self._coming is None:
            return
        composition, held, since = self._coming
        present = {item.view for item in self.held}
        told = any(item.state.filled for item in (*self.held, *held))
        lacking = [
            item for item in held
            if not (item.ready and (item.view in present or _filled(item, composition.views[item.view][1], told)))
        ]  # fmt: skip
        patience = SWITCH_MS if told else UNTOLD_MS
        if not lacking or now - since > patience or not (self.audience.answered or self.holders):
            self._show_next(now)

    def _show_next(self, now: int) -> None:
        if self._coming is None:
            return
        (composition, held, _), self._coming = self._coming, None
        self._begin_anew(now)
        self._hold(held)
        self.picture = Picture(composition, {item.view: item.state for item in held})

    def _begin_anew(self, now: int) -> None:
        self._shown_at = now
        self.shown += 1
        self.audience.begin_anew()

    def _give_up(self) -> None:
        """What was coming does not come any more."""
        if self._coming is not None:
            for item in self._coming[1]:
                self._views.close(item.view)
            self._coming = None

    def _hold(self, held: list[Held]) -> None:
        """Hold these instead of what is held; what is in both stays open."""
        before, self.held = self.held, held
        for item in before:
            self._views.close(item.view)

    def _answer_waiting(self, now: int) -> Iterable[Out]:
        waiting = self.audience.waiting
        if not waiting or not self.picture:
            return ()
        patient = now - self._shown_at <= PATIENCE_MS
        # Who has something keeps it: a snapshot of what is not read yet would only take it away.
        asked = [viewer for viewer, wish in waiting.items() if self.ready or (wish.since is None and not patient)]
        return self.audience.answer(self.picture, [viewer for viewer in asked if not self._seeks(viewer, now)], now)

    def _seeks(self, viewer: Viewer, now: int) -> bool:
        """Whether a viewer waits until what it has and is not here has been looked for, but not for long: the feed may have lost it."""
        wish = self.audience.waiting[viewer]
        if self.picture is None or wish.since is None or not (ahead := self.picture.ahead(wish.since)):
            return False
        if wish.sought is None:
            self.audience.waiting[viewer] = wish._replace(sought=now)
            for view in ahead:
                self._views.seek(view)
        return wish.sought is None or 0 <= now - wish.sought <= PATIENCE_MS

    def _turn_back(self, now: int) -> None:
        """The clock was set back: what was to be after some time must not wait until it is again what it was."""
        self._shown_at, self._judged_at, self.idle_since = min(self._shown_at, now), 0, min(self.idle_since, now)
        if self._vanished_at is not None:
            self._vanished_at = min(self._vanished_at, now)
        if self._coming is not None:
            composition, held, since = self._coming
            self._coming = composition, held, min(since, now)
        self._renewed_at = None
        for item in self.held:
            item.opened = min(item.opened, now)
        self.audience.turn_back(now)

    def _settled(self, now: int) -> bool:
        """Whether viewers may be told what is there. Views that are computed anew, or lost, come one after the other, and with each
        everybody would be sent the whole dashboard: all of them are waited for, but not for long."""
        epoch = (self.picture.epoch, self.picture.forks) if self.picture else ("", 0)
        if epoch != self._told and not self.ready:
            self._renewed_at = self._renewed_at or now
            if now - self._renewed_at <= PATIENCE_MS:
                return False
        self._told, self._renewed_at = epoch, None
        return True

    def _judge(self, now: int) -> Iterable[Out]:
        if now - self._judged_at < JUDGE_MS:
            return
        self._judged_at = now
        self.audience.judge(now)
        before = self._factor, [(part.part, part.reason) for part in self.parts]
        self.parts = [] if self._fault else self._health.parts([_freshness(held) for held in self.held], now)
        self._factor = self._throttle.factor
        if (self._factor, [(part.part, part.reason) for part in self.parts]) != before:
            yield from self.audience.tell(self._status(now), now)

    def _status(self, now: int) -> Status:
        since = min((part.since for part in self.parts), default=now)
        panels = self.picture.ages(now) if self.picture and self.parts else {}
        return Status(self.name, now, bool(self.parts), now - since, self.parts, panels=panels)


def _filled(held: Held, window_ms: int, told: bool) -> bool:
    """told: whether it is said of views when they are filled; else the first cells are a sign of it."""
    return held.state.filled >= window_ms if told else held.state.newest > 0


def _freshness(held: Held) -> Freshness:
    newest = held.state.newest
    return Freshness(held.state.every_ms, newest + held.state.every_ms if newest else 0, held.opened)


def readable(name: str, entry: Entry | None) -> tuple[Dashboard | None, Error | None]:
    """The dashboard, or why there is none."""
    if entry is None:
        return None, unknown(name)
    if entry.document is None:
        fault = entry.fault
        if fault is None:
            return None, Error(name, "broken_dashboard", "has no document", source=entry.source)
        return None, Error(name, "broken_dashboard", fault.reason, fault.path, fault.line, fault.source or entry.source)
    try:
        return parse(entry.document), None
    except DashboardError as error:
        return None, Error(name, "broken_dashboard", error.reason, error.path, source=entry.source)


def unknown(name: str) -> Error:
    return Error(name, "unknown_dashboard", f"there is no dashboard {name!r}")
