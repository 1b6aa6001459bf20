"""What a viewer holds by the documented protocol, and every breach of it that it notices. Pure.

A thousand viewers read the same frames, so that each distinct frame is understood once (`understand`); what it changes is
written into every viewer's own cells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

Cells = dict[tuple[int, int], float]  # (bucket start, group) -> value; cells without a value are not there


@dataclass(frozen=True, slots=True)
class Part:
    """What a frame says of one view: from and to which version, the cells that have a value then, and those that have none."""

    view: str
    from_: int
    to: int
    cells: Cells
    gone: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A message. fields: as it came; parts: of a snapshot or delta, those of a delta named by their place in the snapshot."""

    kind: str
    fields: Mapping[str, Any]
    parts: tuple[Part, ...] = ()

    @property
    def answers(self) -> bool:
        """Whether it may be what a gateway says first of a dashboard, other than a sign of life."""
        return self.kind in ("snapshot", "error") or (self.kind == "delta" and self.fields["epoch"] != "")


def understand(text: bytes) -> Frame:
    fields = msgspec.json.decode(text)
    kind = fields["type"]
    if kind == "snapshot":
        parts = [
            _part(view["id"], 0, fields["versions"][view["id"]], view["cells"]) for view in fields["views"]
        ]  # of everything before it nothing counts
    elif kind == "delta":
        parts = [_part(str(place), from_, to, cells) for place, from_, to, _, _, cells in fields["views"]]
    else:
        parts = []
    return Frame(kind, fields, tuple(parts))


def _part(view: str, from_: int, to: int, rows: list[Any]) -> Part:
    cells: Cells = {}
    gone: list[tuple[int, int]] = []
    for start, groups, values in rows:
        for group, value in zip(groups, values, strict=True):
            if value is None:
                gone.append((start, group))
            else:
                cells[start, group] = value
    return Part(view, from_, to, cells, tuple(gone))


@dataclass(slots=True)
class Viewer:
    """A client of one dashboard. lose: so many of the next deltas with cells are lost on purpose; forge: are applied without their cells."""

    epoch: str = ""
    views: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    cells: dict[str, Cells] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    snapshots: int = 0
    lose: int = 0
    forge: int = 0

    @property
    def since(self) -> dict[str, Any] | None:
        return {"epoch": self.epoch, "versions": self.versions} if self.epoch else None

    def take(self, frame: Frame) -> None:
        if frame.kind == "snapshot":
            self._begin(frame)
        elif frame.kind == "delta" and frame.fields["epoch"] == self.epoch:
            self._apply(frame)
        elif frame.kind == "error":
            self.faults.append(f"error {frame.fields['code']}: {frame.fields['reason']}")

    def _begin(self, frame: Frame) -> None:
        self.snapshots += 1
        self.epoch = frame.fields["epoch"]
        self.views = [part.view for part in frame.parts]
        self.versions = {part.view: part.to for part in frame.parts}
        self.cells = {part.view: dict(part.cells) for part in frame.parts}

    def _apply(self, frame: Frame) -> None:
        forged = False
        if any(part.cells for part in frame.parts):
            if self.lose:
                self.lose -= 1
                return
            if self.forge:
                self.forge -= 1
                forged = True
        for part in frame.parts:
            view = self.views[int(part.view)]
            held = self.versions[view]
            if part.from_ > held:
                self.faults.append(f"view {view}: a frame goes from {part.from_} on, and the viewer has {held}")
            elif part.to >= held:
                self.versions[view] = part.to
                if not forged:
                    cells = self.cells[view]
                    cells.update(part.cells)
                    for at in part.gone:
                        cells.pop(at, None)
