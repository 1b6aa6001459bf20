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


def content(picture: Picture, message: Delta | Snapshot, mark: Mark | None = None) -> Content:
    """mark: what its readers have, where it goes on from there."""
    views = enumerate(message.views) if isinstance(message, Snapshot) else ((part.view, part) for part in message.views)
    cells = {place: count for place, view in views if (count := sum(len(column.groups) for column in view.cells))}
    if not cells:
        return NOTHING
    states = list(picture.states.values())
    overtaken = 0
    if mark:
        known = {place: mark.views[place][-1] for place in cells}
        overtaken = sum(max(0, states[place].written - known[place] - count) for place, count in cells.items())
    sampled = {place: states[place].sampled for place in cells}
    panels: dict[int, int] = {}
    for views_of in picture.composition.places:
        if times := [sampled[place] for place in views_of if place in sampled]:
            newest = max(times)
            panels[newest] = panels.get(newest, 0) + 1
    return Content(sum(cells.values()), overtaken, max(sampled.values()), tuple(panels.items()))
