"""The series that a fold has seen, numbered as they came, so that columns of samples carry numbers. Pure.

A cache: beginning it anew loses time and nothing else. What a series means to the selections is `lanes`' to remember. Past its bound a part of it
is forgotten: what has not come for long, and what came last. So where more series come and go than there is room for, some stay
known all the time, which they would not if those were kept that came last.
"""

from collections.abc import Callable
from itertools import compress
from typing import Final

import numpy as np
import numpy.typing as npt

from services.aggregator.columns import Column
from services.contract.batch import Batch, BatchError, Keys
from services.contract.series import Kind

MAX_SERIES: Final = 400_000
"""Of all folds of a process together: about 100 MiB."""
LEAST_SERIES: Final = 10_000
"""Of one fold, however many there are."""
KEPT: Final = 0.75
"""How much of its room is taken after some were forgotten."""
SILENT_MS: Final = 150_000
"""A series that has not come for so long, by the clock of the log, is forgotten first: scrapes are a minute apart at most."""
MAX_DICTIONARIES: Final = 8 << 20
"""Bytes of dictionaries that are known whole."""

I64 = npt.NDArray[np.int64]
NewSeries = Callable[[int, int, bytes], None]
"""Told of (number, kind, key) at first sight. ValueError where the key is not one."""


def room(folds: int) -> int:
    """How many series each of so many folds may remember."""
    return max(LEAST_SERIES, MAX_SERIES // max(1, folds))


class SeriesList:
    """Series by kind and key: the same key with another kind is another series. most: how many are remembered, but for those of one record."""

    def __init__(self, on_new: NewSeries, most: int) -> None:
        self.most = most
        self._on_new = on_new
        self._numbers: list[dict[bytes, int]] = [{} for _ in Kind]
        self._known = 0
        self._came = Column()  # by number: when it came last, epoch ms; written only where room is short
        self._now = 0
        self._dictionaries: dict[bytes, I64] = {}  # whole, with the numbers of its series
        self._bytes = 0

    def __len__(self) -> int:
        return self._known

    @property
    def full(self) -> bool:
        return self._known > self.most

    def numbers(self, batch: Batch) -> I64:
        """The number of each series of a batch's dictionary; not to be written to. ValueError where one is not a series.

        Whoever posts the same series every second sends the same dictionary every second: it is looked up whole first.
        """
        found = self._looked_up_whole(batch, batch.keys) if isinstance(batch.keys, Keys) else self._looked_up(batch)
        self._now = max(self._now, batch.ingest_ms)
        if 2 * self._known > self.most and len(found):
            self._mark()
            self._came.all()[found] = self._now
        return found

    def forget(self) -> I64:
        """Make room. The numbers that are kept, ascending; they are numbered anew in this order."""
        self._mark()
        lately = np.flatnonzero(self._came.all() > self._now - SILENT_MS)
        kept = lately[: int(self.most * KEPT)]
        self._came.keep(kept)
        which = np.zeros(self._known, np.bool_)
        which[kept] = True
        new = np.cumsum(which) - 1
        for kind, known in enumerate(self._numbers):
            mine = np.fromiter(known.values(), np.int64, len(known))
            stay = which[mine]
            self._numbers[kind] = dict(zip(compress(known, stay.tolist()), new[mine[stay]].tolist(), strict=True))
        self._known = len(kept)
        self._dictionaries, self._bytes = {}, 0
        return kept

    def _mark(self) -> None:
        """Let what is not marked yet have come now."""
        self._came.extend(np.full(self._known - len(self._came), self._now))

    def _looked_up_whole(self, batch: Batch, keys: Keys) -> I64:
        whole = batch.kinds.tobytes() + keys.ends.tobytes() + keys.packed
        found = self._dictionaries.get(whole)
        if found is None:
            found = self._looked_up(batch)
            self._bytes += len(whole) + found.nbytes
            if self._bytes > MAX_DICTIONARIES:
                self._dictionaries, self._bytes = {}, 0
            self._dictionaries[whole] = found
        return found

    def _looked_up(self, batch: Batch) -> I64:
        kinds, known = batch.kinds.tolist(), self._numbers
        try:
            if len(set(kinds)) == 1:
                return np.fromiter(map(known[kinds[0]].__getitem__, batch.keys), np.int64, len(kinds))
            return np.array([known[kind][key] for key, kind in zip(batch.keys, kinds, strict=True)], np.int64)
        except (KeyError, IndexError):
            return np.array([self._number(key, kind) for key, kind in zip(batch.keys, kinds, strict=True)], np.int64)

    def _number(self, key: bytes, kind: int) -> int:
        if kind >= len(self._numbers):
            raise BatchError(f"kind {kind} is not known")
        found = self._numbers[kind].get(key)
        if found is None:
            self._on_new(self._known, kind, key)
            found = self._numbers[kind][key] = self._known
            self._known += 1
        return found
