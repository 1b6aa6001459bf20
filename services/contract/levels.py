"""Levels: a view in coarser buckets, kept for longer. Pure.

A dashboard's resolutions give every view a chain of levels, each rolled up from the one before, the first from the view's own buckets.
A level is a view like any other, with an id of its own, so that aggregators and gateways agree on it without talking to each other.
"""

from typing import Final

import msgspec

from services.contract.dashboards import Dashboard, Resolution
from services.contract.queries import MAX_BUCKETS
from services.contract.views import Input, View, retentions

OWN_MS: Final = 900_000
"""For how long the buckets that a query asks for are kept, where that is no more than MAX_BUCKETS and the window is not longer."""


class Level(msgspec.Struct, frozen=True):
    """A view and for how long its cells are kept, ms."""

    view: View
    kept_ms: int


def levels(view: View, window_ms: int, resolutions: tuple[Resolution, ...]) -> tuple[Level, ...]:
    """A view and its coarser levels, the finest first. window_ms: the longest window that shows it.

    A resolution that is not coarser than the view's own buckets keeps those for as long as it says; one that is no multiple of them, or of which
    a sliding window is no multiple, is left out.
    """
    if not resolutions:
        return (Level(view, window_ms),)
    own = max([OWN_MS, *(item.for_ms for item in resolutions if item.every_ms <= view.every_ms)])
    found = [Level(view, max(window_ms, min(own, MAX_BUCKETS * view.every_ms)))]
    for item in resolutions:
        finer = found[-1]
        fits = item.every_ms % finer.view.every_ms == 0 and all(one.over_ms % item.every_ms == 0 for one in view.inputs)
        if item.every_ms > finer.view.every_ms and fits:
            # What is kept shorter than the finer cells could not take all corrections that those still take.
            kept = max(item.for_ms, finer.kept_ms + finer.view.every_ms)
            found.append(Level(_coarser(finer.view, item.every_ms), kept))
    return tuple(found)


def kept(dashboard: Dashboard) -> dict[View, int]:
    """Every view of a dashboard at each of its levels, with the time for which its cells are kept, ms."""
    return {
        level.view: level.kept_ms
        for view, window_ms in retentions(dashboard).items()
        for level in levels(view, window_ms, dashboard.resolutions)
    }


def _coarser(view: View, every_ms: int) -> View:
    inputs = tuple(_input(item, every_ms) for item in view.inputs)
    return msgspec.structs.replace(view, inputs=inputs)


def _input(item: Input, every_ms: int) -> Input:
    return msgspec.structs.replace(item, selection=item.selection.coarser(every_ms))
