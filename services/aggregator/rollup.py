"""Roll-ups: coarse cells made of finer ones, in one fold. Pure.

A coarse bucket is computed whole from the finer cells that lie in it, in the order of time, so that when it was computed does not show in it.
A bucket that changes is computed again a few times while it lasts, always before a finer cell of it is dropped, and never afterwards.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from services.aggregator.asked import SelectionCells
from services.aggregator.bucketed import PageAt
from services.aggregator.pooling import groups_in, pool

I64 = npt.NDArray[np.int64]

PER_BUCKET: Final = 10
"""How often an open bucket is computed, at most."""
LEAST_MS: Final = 1_000
"""Time between two computations of one selection, at least."""


class RollUps:
    """The selections of a fold that are rolled up, each after the finer one that it is rolled up from."""

    def __init__(self, cells: Mapping[str, SelectionCells]) -> None:
        found = []
        for coarse in cells.values():
            coarse.coarser_ms = ()
            if (finer := coarse.selection.finer) is not None and finer.id in cells:
                found.append(_RollUp(coarse, cells[finer.id]))
        self._rollups = sorted(found, key=lambda item: item.every_ms)
        for item in self._rollups:
            item.finer.coarser_ms = tuple(sorted({*item.finer.coarser_ms, item.every_ms}))

    def due(self, now_ms: int) -> bool:
        """Whether it is time to compute some bucket again. now_ms: epoch ms, of whatever clock the caller goes by."""
        return any(item.due(now_ms) for item in self._rollups)

    def roll(self, now_ms: int | None) -> None:
        """Compute the buckets for which it is time, by epoch ms; None: every bucket that changed."""
        for item in self._rollups:
            due = now_ms is None or item.due(now_ms)
            item.note()
            if due:
                item.roll(_LAST)
                item.rolled_at = (now_ms or 0) // item.pace_ms

    def roll_before(self, clock: int) -> None:
        """Compute the buckets that changed and of which finer cells may be dropped now. clock: newest ingest time, epoch ms."""
        for item in self._rollups:
            item.note()
            item.roll(item.finer.oldest(clock))

    def note(self) -> None:
        """Remember what changed, for pages are about to count as unchanged."""
        for item in self._rollups:
            item.note()

    def touch_all(self) -> None:
        """Count every finer bucket as changed."""
        for item in self._rollups:
            item.note(item.finer.cells.pages())


class _RollUp:
    """One coarse selection and the finer one below it."""

    def __init__(self, coarse: SelectionCells, finer: SelectionCells) -> None:
        self.coarse = coarse
        self.finer = finer
        self.every_ms = coarse.selection.every_ms
        self.pace_ms = max(LEAST_MS, self.every_ms // PER_BUCKET)
        self.rolled_at = 0
        self._pending: set[int] = set()
        self._keys: list[bytes] = []
        self._places: I64 = np.zeros(
            0, np.int64
        )  # by group of the finer one: its number in the coarse one, -1 where it has none yet
        self._coarse_keys: list[bytes] = []

    def due(self, now_ms: int) -> bool:
        return now_ms // self.pace_ms != self.rolled_at and bool(self._pending or self.finer.cells.dirty)

    def note(self, changed: Iterable[PageAt] | None = None) -> None:
        """Remember which buckets changed below; by default those that are to be stored."""
        pages = self.finer.cells.dirty if changed is None else changed
        self._pending.update({bucket // self.every_ms * self.every_ms for bucket, _ in pages})

    def roll(self, before: int) -> None:
        """Compute what changed in buckets that start before this epoch ms. Of which finer cells are gone stays as it is."""
        for bucket in sorted(bucket for bucket in self._pending if bucket < before):
            self._pending.discard(bucket)
            if bucket >= self.finer.whole_from:
                self._compute(bucket)

    def _compute(self, bucket: int) -> None:
        finer, coarse = self.finer.cells, self.coarse.cells
        starts = range(bucket, bucket + self.every_ms, self.finer.selection.every_ms)
        held = [content for content in map(finer.content, starts) if content is not None]
        parts = [(content, self._placing(groups_in(content))) for content in held]
        if parts:
            coarse.put(bucket, pool(self.coarse.selection.accumulator, parts, len(self.coarse.keys)))

    def _placing(self, groups: I64) -> I64:
        """By group of the finer one its number in the coarse one, which these get if they have none."""
        if self._keys is not self.finer.keys or self._coarse_keys is not self.coarse.keys:  # one was compacted: numbered anew
            self._keys, self._coarse_keys, self._places = self.finer.keys, self.coarse.keys, _NOBODY
        fresh = np.full(len(self._keys) - len(self._places), -1, np.int64)
        self._places = np.concatenate((self._places, fresh)) if len(fresh) else self._places
        for group in groups[self._places[groups] < 0].tolist():
            self._places[group] = self.coarse.number(self._keys[group])
        return self._places


_LAST: Final = int(np.iinfo(np.int64).max)
_NOBODY: Final = np.zeros(0, np.int64)
