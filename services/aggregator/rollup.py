"""Roll-ups: coarse cells made of finer ones, in one fold. Pure.

A coarse bucket is computed whole from the finer cells that lie in it, in the order of time, so that when it was computed does not show in it.
A bucket that changes is computed again a few times while it lasts, always before a finer cell of it is dropped, and never afterwards.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from services.aggregator.asked import SelectionCells
from services.aggregator.bucketed import PageAt
from services.aggregator.pooling import pool

SETTLED: Final = 8
"""Buckets that are computed in one go while live views go on: of 500 groups each takes a third of a millisecond."""
PER_BUCKET: Final = 10
"""How often an open bucket is computed, at most."""
LEAST_MS: Final = 5_000
"""Time between two computations of one selection, at least. Coarse buckets are looked back at, not watched."""


class RollUps:
    """The selections of a fold that are rolled up, each after the finer one that it is rolled up from."""

    def __init__(self, cells: Mapping[str, SelectionCells], before: "Iterable[_RollUp] | None" = None) -> None:
        known = {(id(item.coarse), id(item.finer)): item for item in before or ()}
        found = []
        for name, coarse in cells.items():
            coarse.coarser_ms = ()
            if (finer := coarse.selection.finer) is not None and finer.id in cells:
                item = known.get((id(coarse), id(cells[finer.id])))
                if item is None:
                    item = _RollUp(name, coarse, cells[finer.id])
                    if before is not None:
                        item.note(item.finer.cells.pages())
                found.append(item)
        self.rollups = sorted(found, key=lambda item: item.every_ms)
        for item in self.rollups:
            item.finer.coarser_ms = tuple(sorted({*item.finer.coarser_ms, item.every_ms}))

    def joined(self, other: "RollUps", cells: Mapping[str, SelectionCells]) -> "RollUps":
        """Those of both that are over these very cells go on. Of all others every finer bucket counts as changed."""
        return RollUps(cells, (*self.rollups, *other.rollups))

    def due(self, now_ms: int) -> bool:
        """Whether it is time to compute some bucket again. now_ms: epoch ms, of whatever clock the caller goes by."""
        return any(item.due(now_ms) for item in self.rollups)

    def roll(self, now_ms: int | None, edge: int) -> None:
        """Compute the buckets for which it is time, by epoch ms; None: every bucket that changed. edge: epoch ms when the fold dropped what is old.

        Groups are numbered in the order of the finer list each time, so that which ones a limit admits does not depend on the time.
        """
        for item in self.rollups:
            item.register(edge)
            due = now_ms is None or item.due(now_ms)
            item.note()
            if due:
                item.roll()
                item.rolled_at = item.turn(now_ms or 0)

    def settle(self, edge: int) -> Iterator[None]:
        """Compute every bucket that changed, some of one selection at a step."""
        for item in self.rollups:
            item.register(edge)
            item.note()
            yield from item.steps(SETTLED)

    def note(self) -> None:
        """Remember what changed, for pages are about to count as unchanged."""
        for item in self.rollups:
            item.note()

    def touch_all(self) -> None:
        """Count every finer bucket as changed."""
        for item in self.rollups:
            item.note(item.finer.cells.pages())


class _RollUp:
    """One coarse selection and the finer one below it."""

    def __init__(self, name: str, coarse: SelectionCells, finer: SelectionCells) -> None:
        self.name = name
        self.coarse = coarse
        self.finer = finer
        self.every_ms = coarse.selection.every_ms
        self.pace_ms = pace_ms(self.every_ms)
        self.phase_ms = int(coarse.selection.id, 16) % self.pace_ms  # so that not all are computed in the same moment
        self.rolled_at = 0
        self._pending: set[int] = set()
        self._keys: list[bytes] = []
        self._places: list[int] = []  # by group of the finer one: its number in the coarse one
        self._coarse_keys: list[bytes] = []

    def turn(self, now_ms: int) -> int:
        """Counts the times at which it is computed."""
        return (now_ms + self.phase_ms) // self.pace_ms

    def due(self, now_ms: int) -> bool:
        return self.turn(now_ms) != self.rolled_at and bool(self._pending or self.finer.cells.dirty)

    def note(self, changed: Iterable[PageAt] | None = None) -> None:
        """Remember which buckets changed below; by default those that are to be stored."""
        pages = self.finer.cells.dirty if changed is None else changed
        if pages:
            self._pending.update({bucket // self.every_ms * self.every_ms for bucket, _ in pages})

    def roll(self) -> None:
        """Compute what changed. Of which finer cells are gone stays as it is."""
        for _ in self.steps(len(self._pending) or 1):
            pass

    def steps(self, buckets: int) -> Iterator[None]:
        """The same, so many buckets at a step. Nothing may change in between."""
        pending = sorted(self._pending)
        for at in range(0, len(pending), buckets):
            for bucket in pending[at : at + buckets]:
                if bucket >= self.finer.whole_from:
                    self._compute(bucket)
            yield
        self._pending.clear()
        if self.finer.newest >= self.finer.whole_from:
            self.coarse.saw(self.finer.newest)

    def register(self, edge: int) -> None:
        """Number the groups of the finer one that are new. Of a group that is pooled, the edge says since when."""
        if self._keys is not self.finer.keys or self._coarse_keys is not self.coarse.keys:  # one was compacted: numbered anew
            self._keys, self._coarse_keys, self._places = self.finer.keys, self.coarse.keys, []
        if len(self._places) < len(self._keys):
            self._places += [self.coarse.number(key, edge) for key in self._keys[len(self._places) :]]

    def _compute(self, bucket: int) -> None:
        finer, coarse = self.finer.cells, self.coarse.cells
        starts = range(bucket, bucket + self.every_ms, self.finer.selection.every_ms)
        places = np.array(self._places, np.int64)
        parts = [(content, places) for content in map(finer.content, starts) if content is not None]
        if parts:
            coarse.put(bucket, pool(self.coarse.selection.accumulator, parts, len(self.coarse.keys)))


def pace_ms(every_ms: int) -> int:
    """How long a change of a finer cell may wait until it is in the coarser one."""
    return max(LEAST_MS, every_ms // PER_BUCKET)
