"""Columns: rows judged and turned into numbers. The second half of decoding; pure.

Labels are looked at once per series: rows are looked up by the bytes of their labels (SeriesTable), and only bytes that were
never seen are parsed, checked and made canonical.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from services.contract.batch import F64, I64, U8, U32, Keys
from services.contract.series import Kind, name_fault, partition_of, series_key
from services.ingestor.samples import MAX_TEXT, Fault, Rows, Sample

MAX_SERIES: Final = 200_000  # in one table
MAX_TABLE_BYTES: Final = 64 << 20

_LABELS: Final = msgspec.json.Decoder(dict[str, str] | None)
KINDS: Final = {kind.name: int(kind) for kind in Kind}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z")


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How far a sample's time may be from now, in ms."""

    future_ms: int = 60_000
    past_ms: int = 3_600_000


_SERIES: Final = np.dtype([("owner", np.int32), ("kind", np.uint8), ("length", np.uint32)])
"""owner: the partition; length: of the key, bytes."""


class SeriesTable:
    """Series by number: canonical key, kind, partition; found by the bytes as they were sent.

    It only grows; when it is `full`, take a new one. What was looked up in a table stays readable there.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.keys: list[bytes] = []
        self.faults: list[Fault] = []
        self._series = np.zeros(1024, _SERIES)
        # By kind, metric and the labels as sent. A number below zero is -1 - index into faults.
        self._sent: dict[str, dict[str, dict[bytes, int]]] = {}
        self._labels: dict[
            bytes, bytes
        ] = {}  # the same for all metrics of a host: what is looked up then fits the processor's caches
        self._ways = 0
        self._known: dict[tuple[bytes, int], int] = {}
        self._bytes = 0

    @property
    def full(self) -> bool:
        return self._ways >= MAX_SERIES or self._bytes >= MAX_TABLE_BYTES

    def numbers(self, samples: list[Sample]) -> npt.NDArray[np.int64]:
        """The series of each sample; below zero where it is faulty."""
        sent = self._sent
        try:  # most requests name series that are known
            found = [sent[sample.kind][sample.metric][bytes(sample.labels)] for sample in samples]
        except KeyError:
            found = [self._number(sample) for sample in samples]
        return np.array(found, np.int64)

    def owners(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """The partition of each series."""
        found: npt.NDArray[np.int32] = self._series["owner"][numbers]
        return found

    def dictionary(self, numbers: npt.NDArray[np.int64]) -> tuple[Keys, U8, U32]:
        """Keys and kinds of just these series, and the place of each among them."""
        different, places = _placed(numbers, len(self.keys))
        series = self._series[different]
        packed = b"".join(map(self.keys.__getitem__, different.tolist()))
        return Keys(packed, np.cumsum(series["length"], dtype=np.uint32)), series["kind"].copy(), places

    def intern(self, key: bytes, kind: int) -> int:
        """The number of a series, a new one where it is not known yet."""
        number = self._known.setdefault((key, kind), len(self.keys))
        if number == len(self.keys):
            self._append(key, kind)
        return number

    def _number(self, sample: Sample) -> int:
        labels = bytes(sample.labels)
        try:
            return self._sent[sample.kind][sample.metric][labels]
        except KeyError:
            return self._add(sample.metric, sample.kind, labels)

    def _add(self, metric: str, kind: str, labels: bytes) -> int:
        found = _series(metric, kind, labels)
        if isinstance(found, Fault):
            self.faults.append(found)
            number = -len(self.faults)
        else:
            number = self.intern(*found)
        labels = self._labels.setdefault(labels, labels)
        self._sent.setdefault(kind, {}).setdefault(metric, {})[labels] = number
        self._ways += 1
        self._bytes += len(metric) + len(labels)
        return number

    def _append(self, key: bytes, kind: int) -> None:
        if len(self.keys) == len(self._series):
            self._series = np.concatenate([self._series, np.zeros_like(self._series)])
        self._series[len(self.keys)] = partition_of(key, self.partitions), kind, len(key)
        self.keys.append(key)
        self._bytes += len(key)


def _placed(numbers: npt.NDArray[np.int64], size: int) -> tuple[npt.NDArray[np.int64], U32]:
    """The different ones of these numbers below `size`, ascending, and the place of each among them."""
    if size > 4 * len(numbers) + 4_096:  # else this is ten times as fast as sorting them
        different, inverse = np.unique(numbers, return_inverse=True)
        return different, inverse.astype(np.uint32)
    there = np.zeros(size, np.bool_)
    there[numbers] = True
    different = np.flatnonzero(there)
    places = np.empty(size, np.uint32)
    places[different] = np.arange(len(different), dtype=np.uint32)
    return different, places[numbers]


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples that were accepted, in the order in which they were sent. series: numbers in `table`; times: epoch ms.

    starts: since when counters count, epoch ms, 0 where nobody said; None where nobody said anything.
    """

    table: SeriesTable
    series: npt.NDArray[np.int64]
    times: I64
    values: F64
    starts: I64 | None = None

    def __len__(self) -> int:
        return len(self.series)

    def of(self, places: npt.NDArray[np.bool_]) -> "Columns":
        """Some of them."""
        starts = None if self.starts is None else self.starts[places]
        return Columns(self.table, self.series[places], self.times[places], self.values[places], starts)


@dataclass(slots=True)
class Judged:
    """What became of rows. faults: by index in the request."""

    columns: Columns
    faults: dict[int, Fault] = field(default_factory=dict)


def judge(rows: Rows, table: SeriesTable, now_ms: int, limits: TimeLimits) -> Judged:
    """Columns of the samples that are fine, and what is wrong with the others."""
    samples = rows.samples
    series = table.numbers(samples)
    values = np.array([sample.value for sample in samples], np.float64)
    times, faults = _times(samples, now_ms)
    bad = series < 0
    for index in np.flatnonzero(bad).tolist():
        faults[index] = table.faults[-1 - int(series[index])]
    for index in np.flatnonzero((times > now_ms + limits.future_ms) | (times < now_ms - limits.past_ms)).tolist():
        faults.setdefault(index, far(int(times[index]), now_ms, limits))
    starts = _starts(samples, times, faults)
    faults.update(rows.faults)
    columns = Columns(table, series, times, values, starts)
    if faults:
        fine = np.ones(len(samples), np.bool_)
        fine[list(faults)] = False
        columns = columns.of(fine)
    return Judged(columns, dict(sorted(faults.items())))


def _starts(samples: list[Sample], times: I64, faults: dict[int, Fault]) -> I64 | None:
    """Since when counters count; of other kinds it means nothing. Faults are added."""
    if {type(sample.start) for sample in samples} <= {type(None)}:
        return None
    starts = np.zeros(len(samples), np.int64)
    for index, sample in enumerate(samples):
        if sample.start is None or sample.kind != Kind.counter.name:
            continue
        found = _time(sample.start, 0, "start")
        fault = found if isinstance(found, Fault) else start_fault(found, int(times[index]))
        if fault:
            faults.setdefault(index, fault)
        else:
            starts[index] = found
    return starts if starts.any() else None


def start_fault(start: int, time: int) -> Fault | None:
    """What is wrong with the start of a counter at this time of its sample; both epoch ms."""
    if 0 < start <= time:
        return None
    return Fault("time", f"start {start} is not between 1970 and the time of the sample, {time}")


def _times(samples: list[Sample], now_ms: int) -> tuple[I64, dict[int, Fault]]:
    sent = [sample.time for sample in samples]
    kinds = set(map(type, sent))
    if kinds == {int}:
        try:
            return np.array(sent, np.int64), {}
        except OverflowError:
            pass
    elif kinds == {type(None)}:
        return np.full(len(sent), now_ms, np.int64), {}
    faults: dict[int, Fault] = {}
    times = np.full(len(sent), now_ms, np.int64)
    for index, time in enumerate(sent):
        found = _time(time, now_ms)
        if isinstance(found, Fault):
            faults[index] = found
        else:
            times[index] = found
    return times, faults


def _time(time: float | str | None, now_ms: int, name: str = "time") -> int | Fault:
    """Epoch ms, or why not. name: of the field."""
    if time is None:
        return now_ms
    if isinstance(time, str):
        return rfc_3339(time, name)
    if not abs(time) < 1 << 62:
        return Fault("time", f"{name} is not one: too large a number")
    return int(time)


def rfc_3339(text: str, name: str = "time") -> int | Fault:
    fault = Fault(
        "time", f"{name} {text[:MAX_TEXT]!r} is neither epoch milliseconds nor RFC 3339, as in 2025-11-22T09:41:00.250Z"
    )
    if not _RFC_3339.match(text):
        return fault
    try:
        return (datetime.fromisoformat(text.upper()) - _EPOCH) // _MS
    except (ValueError, OverflowError):
        return fault


def far(time: int, now_ms: int, limits: TimeLimits) -> Fault:
    if time > now_ms:
        hint = "; is it in micro- or nanoseconds?" if time > now_ms * 100 else ""
        away, limit, where = time - now_ms, limits.future_ms, "future"
    else:
        hint = "; is it in seconds?" if 0 < time < now_ms // 100 else ""
        away, limit, where = now_ms - time, limits.past_ms, "past"
    return Fault("time", f"time {time} is {away / 1000:.15g} s in the {where}, {limit / 1000:.15g} s at most{hint}")


def _series(metric: str, kind: str, labels: bytes) -> tuple[bytes, int] | Fault:
    """Key and kind of a series, or what is wrong with it."""
    if kind not in KINDS:
        return Fault("kind", f"kind {kind[:MAX_TEXT]!r} is not one of {', '.join(KINDS)}")
    try:
        found: Mapping[str, str] = _LABELS.decode(labels) or {}
    except UnicodeDecodeError:
        return Fault("labels", "labels are not UTF-8")
    except (msgspec.DecodeError, RecursionError):
        return _labels_fault(labels)
    if reason := name_fault(metric, found):
        return Fault("name" if name_fault(metric, {}) else "labels", reason)
    return series_key(metric, found), KINDS[kind]


def _labels_fault(labels: bytes) -> Fault:
    try:
        found: Any = msgspec.json.decode(labels)
    except (ValueError, RecursionError):
        return Fault("labels", "labels are no object of strings")
    if not isinstance(found, dict):
        return Fault("labels", "labels are not an object")
    name = next((name for name, value in found.items() if not isinstance(value, str)), "")
    return Fault("labels", f"label {name[:MAX_TEXT]!r} has a value that is not a string")
