"""Counters: from cumulative samples to increases, and increases spread over buckets. Pure.

The increase between two samples of a series, in log order, is spread evenly over the time between them, 5 min at most.
A sample that is not newer than the last one is ignored and counted; a fall is a reset, after which the new value is the increase. Starts, and
several writers of one series, are `writers`' business.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.aggregator.keytable import KeyTable
from services.aggregator.writers import NEVER, SPREAD_MS, Last, Verdict
from services.contract import limits
from services.contract.partials import COUNTER, PAGE, Rows

MIN_COMPACTED: Final = 128
"""With fewer series than this, dead ones are not worth the trouble."""
_NOBODY: Final = np.array((NEVER, 0.0, 0, 0, 0.0), COUNTER)

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
        self.keys = KeyTable()
        self.ignored = 0
        self.contested: I64 = _NO_SAMPLES  # of the last advance: samples that were passed over for another writer's
        self._rows = np.zeros(0, COUNTER)
        self._dirty: set[int] = set()

    def number(self, key: bytes) -> int | None:
        """The number of a series, a new one at first sight; None where there are too many."""
        found = self.keys.find(key)
        if found is None:
            if len(self.keys) >= limits.COUNTERS:
                return None
            found = self.keys.append(key)
            if found >= len(self._rows):
                grown = np.full(found + found // 4 + 64, _NOBODY, COUNTER)
                grown[: len(self._rows)] = self._rows
                self._rows = grown
        return found

    def advance(self, numbers: I64, times: I64, values: F64, starts: I64 | None = None) -> Increases:
        """Take samples in log order; all of shape (n,). What the first sample of a series grew by nobody knows, but for one with a start.

        starts: epoch ms since when each counts, 0 where nobody knows. `ignored` and `contested` say what was passed over.
        """
        self.contested = _NO_SAMPLES
        order = np.argsort(numbers, kind="stable")
        odd = self._odd(numbers[order], times[order], values[order], None if starts is None else starts[order])
        plain = self._advance_plainly(order[~odd], numbers, times, values)
        if not odd.any():
            return _in_order(plain)
        mine = np.sort(order[odd])
        known = np.zeros(len(mine), np.int64) if starts is None else starts[mine]
        return _in_order(_joined(plain, self._advance_one_by_one(mine, numbers[mine], times[mine], values[mine], known)))

    def _odd(self, number: I64, time: I64, value: F64, start: I64 | None) -> npt.NDArray[np.bool_]:
        """Which samples are of series that do not simply grow; all in the order of series, then of the log."""
        rows = self._rows[number]
        first = np.diff(number, prepend=-1) != 0
        was = np.where(first, np.where(rows["time"] == NEVER, -np.inf, rows["value"]), np.append(0.0, value)[:-1])
        before = np.where(first, rows["time"], np.append(0, time)[:-1])
        found: npt.NDArray[np.bool_] = (value < was) | (rows["other_time"] != 0) | (time <= before)
        if start is not None:
            found |= start != rows["start"]
        if not found.any():
            return found
        series = np.zeros(len(self.keys), np.bool_)
        series[number[found]] = True
        odd: npt.NDArray[np.bool_] = series[number]
        return odd

    def _advance_plainly(self, order: I64, numbers: I64, times: I64, values: F64) -> Increases:
        """Series whose samples are ever newer and never fall. order: places of samples, by series, then by the log."""
        number, time, value = numbers[order], times[order], values[order]
        first = np.diff(number, prepend=-1) != 0
        before = np.where(first, self._rows["time"][number], np.append(0, time)[:-1])
        was = np.where(first, self._rows["value"][number], np.append(0.0, value)[:-1])
        last = np.flatnonzero(np.append(first[1:], True)[: len(first)])
        self._rows["time"][number[last]], self._rows["value"][number[last]] = time[last], value[last]
        self._dirty.update((number[last] // PAGE).tolist())
        told = np.flatnonzero(before != NEVER)
        begin = np.maximum(before[told], time[told] - SPREAD_MS)
        return Increases(order[told], begin, time[told], np.maximum(value[told] - was[told], 0.0))

    def _advance_one_by_one(self, places: I64, numbers: I64, times: I64, values: F64, starts: I64) -> Increases:
        """The rest, by the rules of `writers`. places: of the samples, in log order."""
        lasts: dict[int, Last] = {}
        told: list[tuple[int, int, int, float]] = []
        contested = []
        columns = zip(places.tolist(), numbers.tolist(), times.tolist(), values.tolist(), starts.tolist(), strict=True)
        for place, number, time, value, start in columns:
            last = lasts.get(number)
            if last is None:
                last = lasts[number] = Last(*self._rows[number].item())
            verdict, step = last.take(time, value, start)
            if step is not None:
                told.append((place, step.begin, time, step.amount))
            self.ignored += verdict is Verdict.old
            if verdict is Verdict.contested:
                contested.append(place)
        for number, last in lasts.items():
            if last.row() != self._rows[number].item():
                self._rows[number] = last.row()
                self._dirty.add(number // PAGE)
        self.contested = np.array(contested, np.int64)
        rows = np.array(told, np.dtype([("place", "<i8"), ("begin", "<i8"), ("end", "<i8"), ("amount", "<f8")]))
        return Increases(rows["place"], rows["begin"], rows["end"], rows["amount"])

    def forget(self, before: int) -> bool:
        """Forget series whose last sample is older than this epoch ms. Whether the others were numbered anew: every page has changed then.

        What a forgotten series grows by when it comes back nobody knows, so it is done at edges of the log only.
        """
        times = self._rows["time"][: len(self.keys)]
        if len(ended := np.flatnonzero((times < before) & (times != NEVER))):
            self._rows[ended] = _NOBODY
            self._dirty.update((ended // PAGE).tolist())
        live = np.flatnonzero(times != NEVER)
        dead = len(times) - len(live)
        full = len(times) >= limits.COUNTERS
        if not dead or (len(times) < MIN_COMPACTED and not full) or dead * (10 if full else 2) < len(times):
            return False
        self.keys = self.keys.kept(live)
        self._rows = np.concatenate((self._rows[live], np.full(64, _NOBODY, COUNTER)))
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

    def seed(self, key: bytes, last: np.void) -> None:
        """The last sample of a series in an earlier log, a row of COUNTER. It counts as changed, so that the next commit stores it."""
        if (number := self.number(key)) is not None:
            self._rows[number] = last
            self._dirty.add(number // PAGE)

    def last(self) -> dict[bytes, np.void]:
        """Every series' last sample, a row of COUNTER."""
        return {key: row for key, row in zip(self.keys, self._rows, strict=False) if row["time"] != NEVER}


_NO_SAMPLES: Final = np.zeros(0, np.int64)


def _joined(one: Increases, other: Increases) -> Increases:
    return Increases(
        np.concatenate((one.sample, other.sample)), np.concatenate((one.begin, other.begin)),
        np.concatenate((one.end, other.end)), np.concatenate((one.amount, other.amount)),
    )  # fmt: skip


def _in_order(found: Increases) -> Increases:
    """By the samples that told them, as they are in the log."""
    order = np.argsort(found.sample, kind="stable")
    return Increases(found.sample[order], found.begin[order], found.end[order], found.amount[order])


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
