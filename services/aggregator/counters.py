"""Counters: from cumulative samples to increases, and increases spread over buckets. Pure.

The increase between two samples of a series, in log order, is spread evenly over the time between them, 5 min at most.
A sample that is not newer than the last one is ignored and counted; a fall is a reset, after which the new value is the increase.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.contract.partials import COUNTER, PAGE, Rows

SPREAD_MS: Final = 300_000
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

    def number(self, key: bytes) -> int:
        """The number of a series, a new one at first sight."""
        found = self._numbers.get(key)
        if found is None:
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
        last_time, last_value = self._rows["time"], self._rows["value"]
        found: list[tuple[int, int, int, float]] = []
        for i, (number, time, value) in enumerate(zip(numbers.tolist(), times.tolist(), values.tolist(), strict=True)):
            before = int(last_time[number])
            if time <= before:
                self.ignored += 1
                continue
            if before != _NEVER:
                fallen = value < last_value[number]
                amount = value if fallen else value - float(last_value[number])
                found.append((i, max(before, time - SPREAD_MS), time, max(amount, 0.0)))
            last_time[number], last_value[number] = time, value
            self._dirty.add(number // PAGE)
        sample, begin, end, amounts = zip(*found, strict=True) if found else ((), (), (), ())
        return Increases(
            np.array(sample, np.int64), np.array(begin, np.int64), np.array(end, np.int64), np.array(amounts, np.float64)
        )

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
        number = self.number(key)
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
