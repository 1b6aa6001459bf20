"""A dashboard as its viewers see it: its plan and its views' states composed into snapshots and deltas. Pure.

One frame serves all viewers: a delta goes from what the last tick sent. Who joins in between has more than its `from`,
which does no harm; who comes back with `since` gets a delta of its own.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from services.contract import live
from services.contract.dashboards import Dashboard
from services.contract.history import NewGroup
from services.contract.live import Delta, LineInfo, PanelInfo, Snapshot, ViewDelta, ViewNotes
from services.contract.views import PanelPlan, View, plan, retentions
from services.gateway.viewstate import ViewState

HZ: Final = 10


class Composition:
    """What the document alone says: its views in the order in which deltas number them, and its panels."""

    __slots__ = ("name", "panels", "plans", "revision", "title", "views", "window_ms")

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


class Picture:
    """A composition with its states, and what was sent of them. states: one for each view of the composition."""

    __slots__ = ("_epoch", "_epoch_of", "_sent", "_sent_epoch", "composition", "states")

    def __init__(self, composition: Composition, states: Mapping[str, ViewState]) -> None:
        self.composition = composition
        self.states = {view: states[view] for view in composition.views}
        self._epoch_of: list[str] | None = None
        self._epoch = ""
        self._sent_epoch = ""
        self._sent: list[tuple[int, int, int]] = []  # (version, closed, when its notes changed) of each view
        self.skip()

    @property
    def epoch(self) -> str:
        """Names what versions belong to: this document and these histories, on any gateway."""
        epochs = [state.epoch for state in self.states.values()]
        if epochs != self._epoch_of:
            text = "\n".join([self.composition.revision, *epochs])
            self._epoch_of, self._epoch = epochs, hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return self._epoch

    def skip(self) -> None:
        """Count everything as sent."""
        self._sent_epoch = self.epoch
        self._sent = [(state.version, state.closed, state.notes.at) for state in self.states.values()]

    def trim(self, now: int) -> None:
        for state in self.states.values():
            state.trim(now)

    def tick(self, now: int) -> Delta | Snapshot | None:
        """What all viewers lack since the last tick, None where nothing changed; a snapshot where what they have is of another epoch."""
        if self.epoch != self._sent_epoch:
            self.skip()
            return self.snapshot(now)
        parts, notes = [], []
        for place, state in enumerate(self.states.values()):
            version, closed, noted = self._sent[place]
            if state.version > version or state.closed > closed:
                parts.append(_part(place, state, version))
            if state.notes.at > noted:
                notes.append(ViewNotes(place, state.notes))
            self._sent[place] = state.version, state.closed, state.notes.at
        return self._delta(parts, now, notes) if parts or notes else None

    def alive(self, now: int) -> Delta:
        return self._delta([], now)

    def snapshot(self, now: int) -> Snapshot:
        composition = self.composition
        views = []
        for (view, (what, window_ms)), state in zip(composition.views.items(), self.states.values(), strict=True):
            groups = [NewGroup(number, labels) for number, labels in state.groups.items()]
            cells = state.cells(now - window_ms)
            views.append(
                live.ViewState(view, state.every_ms, window_ms, what.additive, state.closed, groups, cells, state.notes)
            )
        return Snapshot(
            v=live.VERSION, dashboard=composition.name, epoch=self.epoch, now=now, hz=HZ, title=composition.title,
            window=composition.window_ms, versions={view: state.version for view, state in self.states.items()},
            views=views, panels=composition.panels,
        )  # fmt: skip

    def resume(self, since: live.Since, now: int) -> Delta | Snapshot:
        """What a viewer lacks who has this."""
        if since.epoch != self.epoch:
            return self.snapshot(now)
        versions = since.versions
        parts = [_part(place, state, versions.get(view, 0)) for place, (view, state) in enumerate(self.states.items())]
        # What notes it has nobody knows; those that are gone are told too.
        return self._delta(
            parts, now, [ViewNotes(place, state.notes) for place, state in enumerate(self.states.values()) if state.notes.at]
        )

    def _delta(self, parts: list[ViewDelta], now: int, notes: list[ViewNotes] | None = None) -> Delta:
        return Delta(self.composition.name, self.epoch, now, parts, notes or [])


def _part(place: int, state: ViewState, version: int) -> ViewDelta:
    # A viewer may have more than this gateway: of another one, or of a Redis that lost its last seconds.
    from_ = min(version, state.version)
    return ViewDelta(place, from_, state.version, state.closed, state.groups_after(from_), state.changed_after(version))


def _panel(item: PanelPlan, places: Mapping[str, int]) -> PanelInfo:
    panel = item.panel
    lines = [LineInfo(line.query, line.fn, places[line.view.id]) for line in item.lines]
    return PanelInfo(
        panel.id, panel.title, panel.type, panel.unit, panel.window_ms, panel.grid, panel.thresholds,
        panel.min, panel.max, panel.decimals, panel.legend, panel.description, lines,
    )  # fmt: skip
