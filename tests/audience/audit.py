"""Are all viewers right? Each must hold what the history held at its version, and must never have been handed a frame with a hole. Pure."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from tests.audience.viewer import Cells, Viewer

History = Mapping[str, Mapping[int, Cells]]  # by view and version


def audit(viewers: Iterable[Viewer], history: History, first: int = 0) -> list[str]:
    """What is wrong with whom. history: at every version that there was; first: number of the first viewer."""
    found: list[str] = []
    for number, viewer in enumerate(viewers, first):
        wrong = list(viewer.faults)
        if set(viewer.versions) != set(history):
            wrong.append(f"has views {sorted(viewer.versions)} instead of {sorted(history)}")
        for view, version in viewer.versions.items():
            truth = history.get(view, {}).get(version)
            if truth is None:
                wrong.append(f"view {view} is at {version}, which the history never was")
            elif viewer.cells[view] != truth:
                wrong += differences(view, version, viewer.cells[view], truth)
        found += [f"viewer {number}: {fault}" for fault in wrong]
    return found


def differences(view: str, version: int, held: Cells, truth: Cells) -> list[str]:
    places = [at for at in held.keys() | truth.keys() if held.get(at) != truth.get(at)]
    return [f"view {view} at {version}, cell {at}: {held.get(at)} instead of {truth.get(at)}" for at in sorted(places)[:3]]


def holes(view: str, cells: Cells, every_ms: int) -> list[str]:
    """Where a line has a gap, of sources that never pause."""
    starts: dict[int, list[int]] = {}
    for start, group in sorted(cells):
        starts.setdefault(group, []).append(start)
    return [
        f"view {view}, group {group}: nothing between {before} and {after}"
        for group, found in starts.items()
        for before, after in pairwise(found)
        if after - before != every_ms
    ]
