"""What there is to count of a message: how many cells it has, how many it passes over, and how new what it shows is. Pure.

Counted once for each message, as it is composed; the writer multiplies by who gets it.
"""

from typing import Final, NamedTuple

from services.contract.live import Delta, Snapshot
from services.gateway.dashboard import Mark, Picture


class Content(NamedTuple):
    """cells: in it. overtaken: values that its readers never see, as newer ones of the same cells had come before it was made.

    newest: time of the newest sample that it shows, epoch ms, 0 where it has no cells. panels: the same of the panels that it
    shows something new of, each time with the number of panels that have it.
    """

    cells: int = 0
    overtaken: int = 0
    newest: int = 0
    panels: tuple[tuple[int, int], ...] = ()


NOTHING: Final = Content()
_NO_CELLS: Final = -1


def content(picture: Picture, message: Delta | Snapshot, mark: Mark | None = None) -> Content:
    """mark: what its readers have, where it goes on from there."""
    views = enumerate(message.views) if isinstance(message, Snapshot) else ((part.view, part) for part in message.views)
    states = [*picture.states.values()]
    cells = overtaken = 0
    sampled: dict[int, int] = {}  # of each view that has cells here
    for place, view in views:
        count = 0
        for column in view.cells:
            count += len(column.groups)
        if count:
            state = states[place]
            cells += count
            sampled[place] = state.sampled
            if mark and (passed := state.written - mark.views[place][-1] - count) > 0:
                overtaken += passed
    if not cells:
        return NOTHING
    panels: dict[int, int] = {}
    for views_of in picture.composition.places:
        newest = _NO_CELLS
        for place in views_of:
            if (at := sampled.get(place, _NO_CELLS)) > newest:
                newest = at
        if newest != _NO_CELLS:
            panels[newest] = panels.get(newest, 0) + 1
    return Content(cells, overtaken, max(sampled.values()), tuple(panels.items()))
