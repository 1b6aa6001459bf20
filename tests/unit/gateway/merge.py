"""A merge as readers see it, whole and in memory: it writes cells, knows every version of them, and makes changes and histories."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.contract.history import (
    NO_NOTES,
    VERSION,
    Cells,
    Change,
    NewGroup,
    Notes,
    ViewHistory,
    pack_rows,
    unpack_rows,
)

Table = dict[int, dict[int, float | None]]  # bucket -> group -> value


@dataclass
class Merge:
    epoch: str = "e1"
    version: int = 0
    closed: int = 0
    groups: dict[int, int] = field(default_factory=dict)  # group -> version that brought it
    cells: dict[tuple[int, int], tuple[float, int]] = field(default_factory=dict)  # (bucket, group) -> value, version
    notes: Notes = NO_NOTES
    filled: int = 0
    sampled: int = 0

    def write(self, values: Mapping[tuple[int, int], float], closed: int = 0, step: int = 1) -> Change:
        """values: (bucket, group) -> value; NaN is none."""
        prev, self.version = self.version, self.version + step
        self.closed = max(self.closed, closed)
        new = [group for group in sorted({group for _, group in values}) if group not in self.groups]
        self.groups |= dict.fromkeys(new, self.version)
        buckets: dict[int, dict[int, float]] = {}
        for (bucket, group), value in values.items():
            self.cells[bucket, group] = value, self.version
            buckets.setdefault(bucket, {})[group] = value
        cells = [Cells(bucket, list(row), [_null(value) for value in row.values()]) for bucket, row in buckets.items()]
        return Change(
            VERSION,
            self.epoch,
            prev,
            self.version,
            self.closed,
            0,
            0,
            [NewGroup(g, _labels(g)) for g in new],
            cells,
            sampled=self.sampled,
        )

    def close(self, closed: int) -> Change:
        """A message that moves only `closed`."""
        self.closed = max(self.closed, closed)
        return Change(VERSION, self.epoch, self.version, self.version, self.closed, 0, 0, [], [])

    def note(self, notes: Notes) -> Change:
        """A message that brings only notes."""
        self.notes = notes
        return Change(VERSION, self.epoch, self.version, self.version, self.closed, 0, 0, [], [], notes)

    def fill(self, window_ms: int) -> Change:
        """A message that says only that everything is there."""
        self.filled = window_ms
        return Change(VERSION, self.epoch, self.version, self.version, self.closed, 0, 0, [], [], filled=window_ms)

    def history(self, after: int = -1) -> ViewHistory:
        rows = {}
        for bucket in sorted({bucket for bucket, _ in self.cells}):
            row = sorted((g, v, value) for (b, g), (value, v) in self.cells.items() if b == bucket and v > after)
            if row:
                groups, versions, values = zip(*row, strict=True)
                blob = pack_rows(np.array(groups, np.uint32), np.array(versions, np.int64), np.array(values, np.float64))
                rows[bucket] = unpack_rows(blob)
        labels = {group: _labels(group) for group in self.groups}
        return ViewHistory(
            self.epoch, self.version, self.closed, 0, labels, rows, {}, self.notes, filled=self.filled, sampled=self.sampled
        )

    def table(self, after: int = -1) -> Table:
        """Every cell that a later version wrote."""
        table: Table = {}
        for (bucket, group), (value, version) in self.cells.items():
            if version > after:
                table.setdefault(bucket, {})[group] = _null(value)
        return table


def table(cells: list[Cells]) -> Table:
    found = {item.start: dict(zip(item.groups, map(_null, item.values), strict=True)) for item in cells}
    assert len(found) == len(cells), "a bucket is there twice"
    assert list(found) == sorted(found), "buckets are in the order of time"
    return found


def _null(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _labels(group: int) -> dict[str, str]:
    return {"cpu": str(group)}
