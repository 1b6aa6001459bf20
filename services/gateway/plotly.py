"""One panel as a stream for Plotly.js: `react` with everything, then `extend` with each bucket once, when it is closed. Pure.

`Plotly.extendTraces` only appends, so what cannot be said by appending (a new group, a corrected bucket, data that was
recomputed) is said by another `react`. All viewers of the same (dashboard, panel, max_points) share one stream.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from services.contract.history import Rows
from services.contract.limits import OVERFLOW
from services.contract.views import Line, PanelPlan
from services.gateway.viewstate import ViewState

Frame = dict[str, Any]

DEFAULT_POINTS: Final = 200
MAX_POINTS: Final = 10_000
REACT_EVERY_MS: Final = 1_000  # corrections may come with every late sample
_PLACE: Final = re.compile(r"\{([^{}]*)\}")


class Stream:
    """states: by view id. max_points: how many points of a trace are held."""

    def __init__(self, plan: PanelPlan, states: Mapping[str, ViewState], max_points: int) -> None:
        self._plan = plan
        self._max_points = max_points
        self._tracks = [_Track(plan, line, states[line.view.id]) for line in plan.lines]
        self._react_at = 0
        self._stale = False  # something that was sent is no longer so

    def react(self, now: int) -> Frame:
        """Everything that is closed, for a viewer that has nothing, or nothing true. What `tick` says later goes on from the last tick."""
        since = now - self._plan.panel.window_ms
        traces = [trace for track in self._tracks for trace in track.traces(since, self._max_points)]
        return {"action": "react", "traces": traces, "layout": _layout(self._plan)}

    def start(self, now: int) -> None:
        """Count everything as sent."""
        for track in self._tracks:
            track.mark()
        self._react_at, self._stale = now, False

    def tick(self, now: int) -> Frame | None:
        """What all viewers lack since the last tick."""
        grown = any(track.grown() for track in self._tracks)
        self._stale |= any(track.corrected() for track in self._tracks)
        if grown or (self._stale and not 0 <= now - self._react_at < REACT_EVERY_MS):
            self.start(now)
            return self.react(now)
        if not any(track.closing() for track in self._tracks):
            return None
        traces = [trace for track in self._tracks for trace in track.extend()]
        return {"action": "extend", "traces": traces, "max_points": self._max_points}


class _Track:
    """One line of the panel: a trace for each group of its view, all with the same x. It remembers what was sent."""

    def __init__(self, plan: PanelPlan, line: Line, state: ViewState) -> None:
        self._plan = plan
        self._line = line
        self._state = state
        self.mark()

    def mark(self) -> None:
        state = self._state
        self._history, self._version, self._closed = (state.epoch, state.forks), state.version, state.closed
        self._groups = sorted(state.groups)

    def grown(self) -> bool:
        return (self._state.epoch, self._state.forks) != self._history or len(self._state.groups) != len(self._groups)

    def corrected(self) -> bool:
        """Whether a bucket that was sent has changed since."""
        if self._state.version == self._version:
            return False
        changed = self._state.changed_after(self._version)
        self._version = self._state.version
        return any(cells.start + self._state.every_ms <= self._closed for cells in changed)

    def closing(self) -> list[int]:
        """Buckets that have been closed since, by time."""
        if self._state.closed == self._closed:
            return []
        every = self._state.every_ms
        return [start for start in self._state.starts() if self._closed < start + every <= self._state.closed]

    def extend(self) -> list[Frame]:
        starts = self.closing()
        self._closed = self._state.closed
        return [{"x": [starts], "y": [column]} for column in self._columns(starts)]

    def traces(self, since: int, max_points: int) -> list[Frame]:
        starts = [start for start in self._state.starts() if start >= since and start + self._state.every_ms <= self._closed]
        starts = starts[-max_points:]
        return [
            {
                "type": "scatter",
                "mode": "lines",
                "name": name_of(self._plan, self._line, self._state.groups[group]),
                "x": starts,
                "y": column,
            }
            for group, column in zip(self._groups, self._columns(starts), strict=True)
        ]

    def _columns(self, starts: Sequence[int]) -> list[list[float | None]]:
        """The values of each group in these buckets."""
        table = np.full((len(starts), len(self._groups)), math.nan)
        order = np.array(self._groups, np.uint32)
        for at, start in enumerate(starts):
            rows: Rows = self._state.rows(start)
            rows = rows[np.isin(rows["group"], order)]  # a group that came after the last tick is not sent yet
            table[at, np.searchsorted(order, rows["group"])] = rows["value"]
        return [[None if math.isnan(value) else value for value in column] for column in table.T.tolist()]


def name_of(plan: PanelPlan, line: Line, labels: Mapping[str, str]) -> str:
    """What a trace is called: as on the wall (frontend/src/wall/series.ts)."""
    legend = plan.panel.legend
    if OVERFLOW.items() <= labels.items():
        words = ["other groups", *(value for label, value in labels.items() if label not in OVERFLOW)]
    else:
        words = [*labels.values()] if legend is None else [fill(legend, {"query": line.query, "fn": line.fn, **labels})]
    said = legend or ""
    if len({other.query for other in plan.lines}) > 1 and "{query}" not in said:
        words.append(line.query)
    if len({other.fn for other in plan.lines}) > 1 and "{fn}" not in said:
        words.append(line.fn)
    return " · ".join(word for word in words if word) or plan.panel.title


def fill(template: str, words: Mapping[str, str]) -> str:
    """A legend: '{cpu} busy' with the group's labels; what is not a label stays empty."""
    return _PLACE.sub(lambda found: words.get(found[1].strip(), ""), template).strip()


def _layout(plan: PanelPlan) -> Frame:
    panel = plan.panel
    yaxis: Frame = {"rangemode": "normal"}
    if panel.min is not None or panel.max is not None:
        yaxis["range"] = [panel.min, panel.max]
    if panel.unit == "percentunit":
        yaxis["tickformat"] = ".0%"
    return {"title": {"text": panel.title}, "xaxis": {"type": "date"}, "yaxis": yaxis, "showlegend": True}
