"""A dashboard as its viewers see it: its plan and its views' states composed into snapshots and deltas. Pure.

One frame serves all viewers that have the same: a mark says what that is, and a delta goes from a mark to now.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from services.contract import live
from services.contract.dashboards import Dashboard
from services.contract.history import NewGroup
from services.contract.live import Delta, LineInfo, PanelInfo, Snapshot, ViewDelta, ViewNotes
from services.contract.views import PanelPlan, View, plan, retentions
from services.gateway.viewstate import ViewState

Had = tuple[int, int, int, int]
"""What a viewer has of a view: its version, up to when it is closed, when its notes changed, and how many cells had been written.

A plain tuple: marks are made of hundreds of them, many times a second."""


class Mark(NamedTuple):
    """What a viewer has of a picture, of each of its views.

    forks: how often views had turned out to be lost by the feed. Who has something from before such a time may have more than there is.
    """

    epoch: str
    views: tuple[Had, ...]
    forks: int = 0


class Position(NamedTuple):
    """What a viewer has that does not name views: their versions in the order of the composition."""

    epoch: str
    versions: tuple[int, ...]


class Composition:
    """What the document alone says: its views in the order in which deltas number them, and its panels."""

    __slots__ = ("name", "panels", "places", "plans", "revision", "title", "views", "window_ms")

    def __init__(self, dashboard: Dashboard, revision: str) -> None:
        self.name = dashboard.name
        self.title = dashboard.title
        self.window_ms = dashboard.window_ms
        self.revision = revision
        self.plans = plan(dashboard)
        windows = retentions(dashboard)
        self.views: dict[str, tuple[View, int]] = {}  # id -> the view and the longest window that shows it
        for item in self.plans:
            for line in item.lines:
                self.views.setdefault(line.view.id, (line.view, windows[line.view]))
        places = {view: place for place, view in enumerate(self.views)}
        self.panels = [_panel(item, places) for item in self.plans]
        self.places = [[line.view for line in panel.lines] for panel in self.panels]  # of each panel's views


class Picture:
    """A composition with its states. states: one for each view of the composition."""

    __slots__ = ("_epoch_of", "_mark", "_seen", "composition", "states")

    def __init__(self, composition: Composition, states: Mapping[str, ViewState]) -> None:
        self.composition = composition
        self.states = {view: states[view] for view in composition.views}
        self._epoch_of: list[str] | None = None
        self._seen = -1
        self._mark = Mark("", ())

    @property
    def mark(self) -> Mark:
        """What a viewer has that is told everything now: the same object for as long as nothing changes."""
        states = self.states.values()
        seen = sum([state.changes for state in states])
        if seen != self._seen:
            views = tuple([(state.version, state.closed, state.notes.at, state.written) for state in states])
            mark = Mark(self._name([state.epoch for state in states]), views, sum([state.forks for state in states]))
            self._seen, self._mark = seen, self._mark if mark == self._mark else mark
        return self._mark

    def _name(self, epochs: list[str]) -> str:
        if epochs == self._epoch_of:
            return self._mark.epoch
        self._epoch_of = epochs
        text = "\n".join([self.composition.revision, *epochs])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def epoch(self) -> str:
        """Names what versions belong to: this document and these histories, on any gateway."""
        return self.mark.epoch

    @property
    def forks(self) -> int:
        """How often views have turned out to be lost by the feed."""
        return self.mark.forks

    def continues(self, mark: Mark) -> bool:
        """Whether a delta can go from a mark to now."""
        now = self.mark
        return mark.epoch == now.epoch and mark.forks == now.forks

    def resumes(self, since: live.Since | Position) -> bool:
        """Whether a delta can go to now from what a viewer has, of this gateway or another one."""
        return since.epoch == self.epoch and all(
            self.states[view].knows(version) for view, version in self._versions(since).items()
        )

    def ahead(self, since: live.Since | Position) -> list[str]:
        """The views of which a viewer has more than there is here: it comes from a gateway that has heard more, or the feed has lost it."""
        if since.epoch != self.epoch:
            return []
        return [view for view, version in self._versions(since).items() if version > self.states[view].version]

    def _versions(self, since: live.Since | Position) -> dict[str, int]:
        """What a viewer has of each view, 0 where it has nothing."""
        named = since.versions if isinstance(since, live.Since) else dict(zip(self.states, since.versions, strict=False))
        return {view: named.get(view, 0) for view in self.states}

    def trim(self, now: int) -> None:
        for state in self.states.values():
            state.trim(now)

    def delta(self, mark: Mark, now: int) -> Delta | None:
        """What a viewer lacks that has this, None where that is nothing. It `continues` the mark."""
        parts, notes = [], []
        for place, ((version, closed, noted, _), state) in enumerate(zip(mark.views, self.states.values(), strict=True)):
            if state.version > version or state.closed > closed:
                parts.append(_part(place, state, version))
            if state.notes.at > noted:
                notes.append(ViewNotes(place, state.notes))
        return self._delta(parts, now, notes) if parts or notes else None

    def ages(self, now: int) -> dict[str, int]:
        """How old the newest value of each panel is (ms), of those that have any."""
        ends = {place: state.newest + state.every_ms for place, state in enumerate(self.states.values()) if state.newest}
        newest = {
            panel.id: max((ends.get(line.view, 0) for line in panel.lines), default=0) for panel in self.composition.panels
        }
        return {panel: max(0, now - end) for panel, end in newest.items() if end}

    def alive(self, now: int) -> Delta:
        return self._delta([], now)

    def snapshot(self, now: int, hz: float = 0) -> Snapshot:
        """hz: frames a second that will follow."""
        composition = self.composition
        views = []
        for (view, (what, window_ms)), state in zip(composition.views.items(), self.states.values(), strict=True):
            groups = [NewGroup(number, labels) for number, labels in state.groups.items()]
            cells = state.cells(now - window_ms)
            views.append(
                live.ViewState(view, state.every_ms, window_ms, what.additive, state.closed, groups, cells, state.notes)
            )
        return Snapshot(
            v=live.VERSION, dashboard=composition.name, epoch=self.epoch, now=now, hz=hz, title=composition.title,
            window=composition.window_ms, versions={view: state.version for view, state in self.states.items()},
            views=views, panels=composition.panels,
        )  # fmt: skip

    def resume(self, since: live.Since | Position, now: int) -> Delta:
        """What a viewer lacks who has this. It `resumes` it."""
        versions = self._versions(since)
        parts = [_part(place, state, versions[view]) for place, (view, state) in enumerate(self.states.items())]
        # What notes it has nobody knows; those that are gone are told too.
        return self._delta(
            parts, now, [ViewNotes(place, state.notes) for place, state in enumerate(self.states.values()) if state.notes.at]
        )

    def _delta(self, parts: list[ViewDelta], now: int, notes: list[ViewNotes] | None = None) -> Delta:
        return Delta(self.composition.name, self.epoch, now, parts, notes or [])


def _part(place: int, state: ViewState, version: int) -> ViewDelta:
    return ViewDelta(place, version, state.version, state.closed, state.groups_after(version), state.changed_after(version))


def _panel(item: PanelPlan, places: Mapping[str, int]) -> PanelInfo:
    panel = item.panel
    lines = [LineInfo(line.query, line.fn, places[line.view.id]) for line in item.lines]
    return PanelInfo(
        panel.id, panel.title, panel.type, panel.unit, panel.window_ms, panel.grid, panel.thresholds,
        panel.min, panel.max, panel.decimals, panel.legend, panel.description, lines,
    )  # fmt: skip
