"""Decode: records of a source's topic to columns of samples, each with its place in the topic. Pure.

Everything that is decided about a sample depends on its record alone, but for one: a time ahead of now. So a record that is read
again gives the same samples in the same places, and whoever folds them knows those that it has.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from services.contract.batch import F64, I64, U64
from services.contract.series import name_fault, series_key
from services.contract.sources import Source
from services.ingestor.columns import KINDS, MAX_SERIES, MAX_TABLE_BYTES, SeriesTable, TimeLimits, far, start_fault
from services.ingestor.samples import MAX_TEXT, Fault
from services.ingestor.sources.extract import Labels, Row
from services.ingestor.sources.formats import PoisonError, decoder

INDEX_BITS: Final = 20
MAX_REASON: Final = 500
_LIMIT: Final = 1 << 62

_Sample = tuple[int, int, float, int]  # number of its series, time, value, start or 0


class Record(Protocol):
    """A record of a topic, as services.transport.log gives it. timestamp: epoch ms, below 1 where it has none."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Placed:
    """Samples in the order of their topic partition; each column of shape (samples,). sequences: record offset << 20 | number in the record.

    starts: since when counters count, epoch ms, 0 where nobody says.
    """

    table: SeriesTable
    series: npt.NDArray[np.int64]
    times: I64
    values: F64
    sequences: U64
    starts: I64


@dataclass(slots=True)
class Decoded:
    """What became of some records of a partition. faults: how many samples by code, with one reason of each; poison: records and why."""

    placed: Placed
    faults: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    poison: list[tuple[Record, str]] = field(default_factory=list)

    def refuse(self, fault: Fault, record: Record) -> None:
        self.faults[fault.code] = self.faults.get(fault.code, 0) + 1
        self.reasons[fault.code] = f"offset {record.offset}: {fault.reason}"


class Decoder:
    """Reads the records of one source. Series are numbered in a table for so many partitions of our own topic."""

    def __init__(self, source: Source, partitions: int, limits: TimeLimits) -> None:
        self._decode = decoder(source)
        self._constant = dict(source.labels)
        self._limits = limits
        self._begin(partitions)

    @property
    def partitions(self) -> int:
        return self._table.partitions

    def decode(self, records: Iterable[Record], now_ms: int) -> Decoded:
        """Samples of records of one partition, in their order."""
        if len(self._ways) >= MAX_SERIES or self._bytes >= MAX_TABLE_BYTES:
            self._begin(self.partitions)
        decoded = Decoded(self._placed([], []))
        samples: list[_Sample] = []
        sequences: list[int] = []
        for record in records:
            try:
                judged = self._record(record, now_ms)
            except PoisonError as error:
                decoded.poison.append((record, str(error)[:MAX_REASON]))
                continue
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                decoded.poison.append((record, f"is not understood: {error!r}"[:MAX_REASON]))
                continue
            first = record.offset << INDEX_BITS
            for index, item in enumerate(judged):
                if isinstance(item, Fault):
                    decoded.refuse(item, record)
                    continue
                samples.append(item)
                sequences.append(first + index)
        if samples:
            decoded.placed = self._placed(samples, sequences)
        return decoded

    def _record(self, record: Record, now_ms: int) -> list[_Sample | Fault]:
        own = record.timestamp if record.timestamp > 0 else now_ms
        return [self._judge(row, own, now_ms) for row in self._decode(record.value)]

    def _placed(self, samples: list[_Sample], sequences: list[int]) -> Placed:
        series, times, values, starts = zip(*samples, strict=True) if samples else ((), (), (), ())
        return Placed(
            self._table, np.array(series, np.int64), np.array(times, np.int64), np.array(values, np.float64),
            np.array(sequences, np.uint64), np.array(starts, np.int64),
        )  # fmt: skip

    def _judge(self, row: Row | Fault, own: int, now_ms: int) -> _Sample | Fault:
        """own: the time of the sample's record."""
        if isinstance(row, Fault):
            return row
        metric, kind, labels, value, time, start = row
        way = metric, kind, labels
        number = self._ways.get(way)
        if number is None:
            number = self._add(way)
        if number < 0:
            return self._faults[-1 - number]
        if time is None:
            time = own
        if time > now_ms + self._limits.future_ms:
            return far(min(time, _LIMIT), now_ms, self._limits)
        if time < 0:
            return Fault("time", f"time {max(time, -_LIMIT)} is before 1970")
        if time < min(own, now_ms) - self._limits.past_ms:
            return far(time, min(own, now_ms), self._limits)
        if start is None:
            return number, time, value, 0
        return start_fault(start, time) or (number, time, value, start)

    def _begin(self, partitions: int) -> None:
        self._table = SeriesTable(partitions)
        self._ways: dict[tuple[str, str, Labels], int] = {}  # a number below zero is -1 - index into faults
        self._faults: list[Fault] = []
        self._bytes = 0

    def _add(self, way: tuple[str, str, Labels]) -> int:
        metric, kind, labels = way
        found = self._series(metric, kind, labels)
        if isinstance(found, Fault):
            self._faults.append(found)
            number = -len(self._faults)
        else:
            number = self._table.intern(*found)
        self._ways[way] = number
        self._bytes += 200 + len(metric) + sum(len(name) + len(value) for name, value in labels)
        return number

    def _series(self, metric: str, kind: str, labels: Labels) -> tuple[bytes, int] | Fault:
        if kind not in KINDS:
            return Fault("kind", f"kind {kind[:MAX_TEXT]!r} is not one of {', '.join(KINDS)}")
        merged = {**self._constant, **{name: value for name, value in labels if value}}
        if reason := name_fault(metric, merged):
            return Fault("name" if name_fault(metric, {}) else "labels", reason)
        try:
            return series_key(metric, merged), KINDS[kind]
        except UnicodeEncodeError:
            return Fault("labels", "labels are not Unicode text")
