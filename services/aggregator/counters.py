"""Counters: from cumulative samples to increases, and increases spread over buckets. Pure.

The increase between two samples of a series, in log order, is spread evenly over the time between them, 5 min at most.
A sample that is not newer than the last one is ignored and counted; a fall is a reset, after which the new value is the increase.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.contract import limits
from services.contract.batch import MAX_TIME
from services.contract.partials import COUNTER, PAGE, Rows

SPREAD_MS: Final = 300_000
MIN_COMPACTED: Final = 128
"""With fewer series than this, dead ones are not worth the trouble."""
_NEVER: Final = np.iinfo(np.int64).min

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Increases:
    """What counters grew by. sample: index of the sample that told it; begin, end: epoch ms, begin < end; amount >= 0."""

    sample: I64
    begin: I64
    end: I64
    amount: F64


class Counters:
    """The last sample of every counter of one partition, numbered in order of appearance."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.ignored = 0
        self._numbers: dict[bytes, int] = {}
        self._rows = np.zeros(0, COUNTER)
        self._dirty: set[int] = set()

    def number(self, key: bytes) -> int | None:
        """The number of a series, a new one at first sight; None where there are too many."""
        found = self._numbers.get(key)
        if found is None:
            if len(self.keys) >= limits.COUNTERS:
                return None
            found = self._numbers[key] = len(self.keys)
            self.keys.append(key)
            if found >= len(self._rows):
                grown = np.zeros(max(64, 2 * found), COUNTER)
                grown["time"] = _NEVER
                grown[: len(self._rows)] = self._rows
                self._rows = grown
        return found

    def advance(self, numbers: I64, times: I64, values: F64) -> Increases:
        """Take samples in log order; all of shape (n,). What the first sample of a series grew by nobody knows."""
        order = np.argsort(numbers, kind="stable")
        number, time, value = numbers[order], times[order], values[order]
        begins = np.flatnonzero(np.diff(number, prepend=-1))  # of each series' run
        run = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(number)))
        # The newest time before each sample: of its run, and of what is held. Runs are lifted apart, so that one pass does.
        lifted = np.maximum.accumulate(np.append(run[:1] * 0, run) * MAX_TIME + np.append(-1, time))[:-1] - run * MAX_TIME
        newest = np.maximum(lifted, self._rows["time"][number])
        fresh = np.flatnonzero(time > newest)
        self.ignored += len(number) - len(fresh)
        number, time, value, source = number[fresh], time[fresh], value[fresh], order[fresh]
        first = np.diff(number, prepend=-1) != 0
        before = np.where(first, self._rows["time"][number], np.append(0, time)[:-1])
        was = np.where(first, self._rows["value"][number], np.append(0.0, value)[:-1])
        last = np.flatnonzero(np.append(first[1:], True)[: len(first)])
        self._rows["time"][number[last]], self._rows["value"][number[last]] = time[last], value[last]
        self._dirty.update((number[last] // PAGE).tolist())
        amount = np.maximum(np.where(value < was, value, value - was), 0.0)
        told = np.flatnonzero(before != _NEVER)
        told = told[np.argsort(source[told], kind="stable")]
        begin = np.maximum(before[told], time[told] - SPREAD_MS)
        return Increases(source[told], begin, time[told], amount[told])

    def forget(self, before: int) -> bool:
        """Forget series whose last sample is older than this epoch ms. Whether the others were numbered anew: every page has changed then.

        What a forgotten series grows by when it comes back nobody knows, so it is done at edges of the log only.
        """
        times = self._rows["time"][: len(self.keys)]
        if len(ended := np.flatnonzero((times < before) & (times != _NEVER))):
            self._rows[ended] = (_NEVER, 0.0)
            self._dirty.update((ended // PAGE).tolist())
        live = np.flatnonzero(times != _NEVER)
        dead = len(times) - len(live)
        full = len(times) >= limits.COUNTERS
        if not dead or (len(times) < MIN_COMPACTED and not full) or dead * (10 if full else 2) < len(times):
            return False
        self.keys = [self.keys[number] for number in live.tolist()]
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self._rows = np.concatenate((self._rows[live], np.full(64, np.array((_NEVER, 0.0), COUNTER), COUNTER)))
        self._dirty = set(range(-(-len(live) // PAGE)))
        return True

    def dirty_pages(self) -> dict[int, Rows]:
        """Pages that changed since `committed`."""
        return {page: self._rows[page * PAGE : min((page + 1) * PAGE, len(self.keys))] for page in sorted(self._dirty)}

    def committed(self) -> None:
        self._dirty.clear()

    def load(self, keys: list[bytes], pages: dict[int, Rows]) -> None:
        """Take over what was stored; only before the first sample."""
        for key in keys:
            self.number(key)
        for page, rows in pages.items():
            self._rows[page * PAGE : page * PAGE + len(rows)] = rows

    def seed(self, key: bytes, time: int, value: float) -> None:
        """The last sample of a series in an earlier log. It counts as changed, so that the next commit stores it."""
        if (number := self.number(key)) is not None:
            self._rows[number] = (time, value)
            self._dirty.add(number // PAGE)

    def last(self) -> dict[bytes, tuple[int, float]]:
        """Every series' last sample: (epoch ms, value)."""
        rows = self._rows[: len(self.keys)].tolist()
        return {key: (time, value) for key, (time, value) in zip(self.keys, rows, strict=True) if time != _NEVER}


def spread(increases: Increases, every_ms: int) -> tuple[I64, I64, F64]:
    """Shares of increases per bucket: (index into increases, bucket start, amount), each of shape (m,), in the order of increases."""
    first = increases.begin // every_ms
    last = (increases.end - 1) // every_ms
    counts = last - first + 1
    index = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = (first[index] + place) * every_ms
    covered = np.minimum(start + every_ms, increases.end[index]) - np.maximum(start, increases.begin[index])
    return index, start, increases.amount[index] * (covered / (increases.end[index] - increases.begin[index]))
