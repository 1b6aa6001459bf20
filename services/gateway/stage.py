"""One dashboard that somebody watches: who watches it, what they have been told, what they are told next.

Synchronous and without Redis: the hub gives it the registry's entry and the time, and writes the frames that `tick` returns.
A viewer's first answer comes when the views have been read; until then, and where nothing changes, it hears a sign of life.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from services.contract.dashboards import Dashboard, DashboardError, parse
from services.contract.live import Delta, Error, Part, ServerMessage, Since, Snapshot, Status
from services.contract.registry import Entry
from services.gateway import metrics
from services.gateway.dashboard import Composition, Picture
from services.gateway.health import Freshness, Health
from services.gateway.outgoing import Outgoing, outgoing
from services.gateway.views import Held, Views

ALIVE_MS: Final = 600  # a second at most between two frames: the hub may be quiet for 350 ms
JUDGE_MS: Final = 200
PATIENCE_MS: Final = 1_000  # for the first read; then a viewer without anything gets what is there
VANISHED_MS: Final = 2_000  # a registry that Redis has lost is written again within this
SWITCH_MS: Final = 60_000
"""How long a changed dashboard may wait for its new views to be filled; until then viewers keep the old picture."""
UNTOLD_MS: Final = 6_000
"""The same where it is not told when a view is filled: by aggregators of a version that does not say so."""
LINGER_MS: Final = 5_000  # a page that is reloaded finds everything still there


class Viewer(Protocol):
    """Where frames go. Sending to one that is closed does nothing."""

    def send(self, message: Outgoing) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...


Out = tuple[Outgoing, list[Viewer]]
"""A message that is to be written, and to whom."""


class Stage:
    """A dashboard by its name, whether or not there is one."""

    def __init__(self, name: str, views: Views, health: Health, now: int) -> None:
        self.name = name
        self.entry: Entry | None = None
        self.picture: Picture | None = None
        self.held: list[Held] = []
        self.viewers: dict[Viewer, None] = {}  # who has an answer and gets what all get
        self.waiting: dict[Viewer, Since | None] = {}
        self.parts: list[Part] = []
        self.holders = 0  # others who need the views: HTTP requests, Plotly streams
        self.idle_since = now
        self._views = views
        self._health = health
        self._fault: Error | None = None
        self.shown = 0  # how often there was another document; 0: the registry is not read yet
        self._shown_at = now
        self._vanished_at: int | None = None
        self._heard_at = now
        self._judged_at = 0
        self._snapshot: Outgoing | None = None
        self._newest = 0
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
        return not (self.viewers or self.waiting or self.holders)

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

    def subscribe(self, viewer: Viewer, since: Since | None, now: int) -> None:
        """A viewer comes, or comes again with what it has."""
        self.viewers.pop(viewer, None)
        self.waiting[viewer] = since
        if self._fault:
            viewer.send(outgoing(self._fault))
        if self.ready:
            self._answer(viewer, now)

    def leave(self, viewer: Viewer, now: int) -> None:
        self.viewers.pop(viewer, None)
        self.waiting.pop(viewer, None)
        self.idle_since = now

    def tick(self, now: int) -> Iterable[Out]:
        """What is to be written now, in this order. To be consumed whole."""
        self._snapshot = None
        if self._vanished_at and now - self._vanished_at > VANISHED_MS:
            self._vanished_at = self.entry = None
            self._replace(None, now)
        self._switch(now)
        if self.picture:
            self.picture.trim(now)
            if not self.viewers:
                self.picture.skip()
            elif message := self.picture.tick(now):
                yield self._out(message, list(self.viewers), now)
        self._answer_waiting(now)
        yield from self._judge(now)
        if now - self._heard_at >= ALIVE_MS:
            yield self._out(self.picture.alive(now) if self.picture else Delta(self.name, "", now, []), list(self.viewers), now)
            yield self._out(Delta(self.name, "", now, []), list(self.waiting), now)

    def written(self, now: int) -> None:
        """A delta has been written: how old is the newest record in it?"""
        newest = max((held.newest for held in self.held), default=0)
        if newest > self._newest:
            if self._newest:
                metrics.DELAY.observe((now - newest) / 1000)
            self._newest = newest

    def close(self) -> None:
        """Let go of the views."""
        self._give_up()
        self._hold([])
        self.picture = None

    def message(self, now: int) -> Snapshot | None:
        return self.picture.snapshot(now) if self.picture else None

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
        for viewer in self.waiting:
            viewer.send(outgoing(self._fault or unknown(self.name)))

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
        if not lacking or now - since > patience or not (self.viewers or self.holders):
            self._show_next(now)

    def _show_next(self, now: int) -> None:
        if self._coming is None:
            return
        (composition, held, _), self._coming = self._coming, None
        self._begin_anew(now)
        self._hold(held)
        self.picture = Picture(composition, {item.view: item.state for item in held})

    def _begin_anew(self, now: int) -> None:
        self._snapshot, self._shown_at = None, now
        self.shown += 1
        self.waiting = {**dict.fromkeys(self.viewers), **self.waiting}
        self.viewers = {}

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

    def _answer_waiting(self, now: int) -> None:
        if not self.waiting or not self.picture:
            return
        patient = now - self._shown_at <= PATIENCE_MS
        for viewer, since in list(self.waiting.items()):
            # Who has something keeps it: a snapshot of what is not read yet would only take it away.
            if self.ready or (since is None and not patient):
                self._answer(viewer, now)

    def _answer(self, viewer: Viewer, now: int) -> None:
        if self.picture is None:
            return
        if not self.viewers:
            self.picture.skip()
            self._snapshot = None  # it may be older than what now counts as sent
        since = self.waiting.pop(viewer)
        resumed = since is not None and since.epoch == self.picture.epoch
        if since:
            metrics.RESUMES.labels("delta" if resumed else "snapshot").inc()
        if since and resumed:
            message = outgoing(self.picture.resume(since, now))
        else:
            message = self._snapshot = self._snapshot or outgoing(self.picture.snapshot(now))
        _send(message, viewer)
        self.viewers[viewer] = None
        if self.parts:
            _send(outgoing(self._status(now)), viewer)

    def _judge(self, now: int) -> Iterable[Out]:
        if now - self._judged_at < JUDGE_MS:
            return
        self._judged_at = now
        before = [(part.part, part.reason) for part in self.parts]
        self.parts = [] if self._fault else self._health.parts([_freshness(held) for held in self.held], now)
        if [(part.part, part.reason) for part in self.parts] != before:
            yield self._out(self._status(now), [*self.viewers, *self.waiting], now)

    def _status(self, now: int) -> Status:
        since = min((part.since for part in self.parts), default=now)
        return Status(self.name, now, bool(self.parts), now - since, self.parts)

    def _out(self, message: ServerMessage, viewers: list[Viewer], now: int) -> Out:
        self._heard_at = now
        return outgoing(message), viewers


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


def _send(message: Outgoing, viewer: Viewer) -> None:
    viewer.send(message)
    metrics.FRAMES.labels(message.kind).inc()
    metrics.BYTES.inc(len(message))
