"""Outbox: accepted samples from the moment they are judged until the log has them. Pure; `sender` does the sending.

Samples of several requests share records: they linger for some milliseconds, and then each partition's become a record, a
Batch with the next sequence of that partition. A record keeps its bytes, and with them its sequence, however often it is
sent. A request is done when all its records are acknowledged.

What is promised: a request that was answered 2xx is in the log. Of one that was not, any part may or may not be: its records
are sent until the moment when it is answered, and those that nobody waits for any more are not sent again.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from services.contract.batch import I64, Batch, encode
from services.ingestor.columns import Columns, SeriesTable

SAMPLE_BYTES: Final = 20  # in a record: series, time, value


@dataclass(frozen=True, slots=True)
class Limits:
    """linger_s: how long samples wait for others. record_samples, record_bytes: when a record is full."""

    linger_s: float = 0.005
    record_samples: int = 10_000
    record_bytes: int = 512 * 1024


@dataclass(eq=False, slots=True)
class Request:
    """One request of a client. open: parts and records that are not acknowledged. given_up: it has been answered without them."""

    samples: int
    open: int = 0
    given_up: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Outgoing:
    """A record for one partition. requests: those whose samples are in it, once each."""

    partition: int
    sequence: int
    payload: bytes
    samples: int
    requests: tuple[Request, ...]


@dataclass(slots=True)
class _Open:
    """The next record of a partition, as it grows."""

    parts: list[tuple[Request, Columns]] = field(default_factory=list)
    samples: int = 0


class Outbox:
    """Every method that needs the time is given it: `now` in seconds on any clock, `now_ms` epoch ms."""

    def __init__(self, instance: int, limits: Limits) -> None:
        self._instance = instance
        self._limits = limits
        self._open: dict[int, _Open] = {}
        self._since: float | None = None
        self._full = False
        self._sequences: dict[int, int] = {}
        self._waiting: dict[int, deque[Outgoing]] = {}
        self.bytes = 0

    def add(self, columns: Columns, now: float) -> Request:
        """Take samples; they are in the next records."""
        request = Request(len(columns))
        for partition, part in _by_partition(columns):
            place = self._open.setdefault(partition, _Open())
            place.parts.append((request, part))
            place.samples += len(part)
            request.open += 1
            self._full = self._full or place.samples >= self._limits.record_samples
        self.bytes += len(columns) * SAMPLE_BYTES
        if self._since is None:
            self._since = now
        return request

    def due(self) -> float | None:
        """When `close` should be called: a time, 0 for at once, None when there is nothing."""
        if self._since is None:
            return None
        return 0.0 if self._full else self._since + self._limits.linger_s

    def close(self, now_ms: int) -> list[Outgoing]:
        """Make records of what has lingered. They wait here until `acknowledge`."""
        made = [record for partition, place in sorted(self._open.items()) for record in self._records(partition, place, now_ms)]
        self.bytes -= sum(place.samples for place in self._open.values()) * SAMPLE_BYTES
        for record in made:
            self._waiting.setdefault(record.partition, deque()).append(record)
            self.bytes += len(record.payload)
        self._open.clear()
        self._since, self._full = None, False
        return made

    def acknowledge(self, record: Outgoing) -> list[Request]:
        """The log has this record: the requests that are done with it."""
        self._remove(record)
        done = []
        for request in record.requests:
            request.open -= 1
            if not request.open and not request.given_up:
                done.append(request)
        return done

    def give_up(self, request: Request) -> None:
        """The request has been answered; what only it waits for is not sent again."""
        request.given_up = True

    def unacknowledged(self) -> list[Outgoing]:
        """What to send again, in order per partition; drops what nobody waits for any more."""
        for record in [record for queue in self._waiting.values() for record in queue]:
            if all(request.given_up for request in record.requests):
                self._remove(record)
        return [record for queue in self._waiting.values() for record in queue]

    def clear(self) -> list[Request]:
        """Forget everything: the requests that were still waiting."""
        parts = [request for place in self._open.values() for request, _ in place.parts]
        sent = [request for queue in self._waiting.values() for record in queue for request in record.requests]
        self._open.clear()
        self._waiting.clear()
        self._since, self._full, self.bytes = None, False, 0
        return [request for request in dict.fromkeys(parts + sent) if not request.given_up]

    @property
    def empty(self) -> bool:
        return self._since is None and not any(self._waiting.values())

    @property
    def records(self) -> int:
        """Records that wait for the log."""
        return sum(map(len, self._waiting.values()))

    def _remove(self, record: Outgoing) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._waiting[record.partition].remove(record)
            self.bytes -= len(record.payload)

    def _records(self, partition: int, place: _Open, now_ms: int) -> Iterator[Outgoing]:
        """The records of one partition: one, unless it would be too long or tables changed within it."""
        for request, _ in place.parts:
            request.open -= 1
        for table, parts in _by_table(place.parts):
            bounds = np.cumsum([len(part) for _, part in parts])
            series = np.concatenate([part.series for _, part in parts])
            times = np.concatenate([part.times for _, part in parts])
            values = np.concatenate([part.values for _, part in parts])
            whole = Columns(table, series, times, values, _starts([part for _, part in parts]))
            for start, end, sequence, payload in self._payloads(partition, whole, 0, len(whole), now_ms):
                first, last = np.searchsorted(bounds, [start, end - 1], side="right")
                requests = tuple(dict.fromkeys(request for request, _ in parts[first : last + 1]))
                for request in requests:
                    request.open += 1
                yield Outgoing(partition, sequence, payload, end - start, requests)

    def _payloads(
        self, partition: int, whole: Columns, start: int, end: int, now_ms: int
    ) -> Iterator[tuple[int, int, int, bytes]]:
        """Slices with their sequence and bytes, halved until they fit."""
        if end - start <= self._limits.record_samples:
            sequence = self._sequences.get(partition, -1) + 1
            payload = encode(_batch(self._instance, sequence, whole, slice(start, end), now_ms))
            if len(payload) <= self._limits.record_bytes or end - start == 1:
                self._sequences[partition] = sequence
                yield start, end, sequence, payload
                return
        half = (start + end) // 2
        yield from self._payloads(partition, whole, start, half, now_ms)
        yield from self._payloads(partition, whole, half, end, now_ms)


def _by_partition(columns: Columns) -> Iterator[tuple[int, Columns]]:
    owners = columns.table.owners(columns.series)
    for partition in np.unique(owners).tolist():
        mine = owners == partition
        if mine.all():
            yield partition, columns
        else:
            yield partition, columns.of(mine)


def _by_table(parts: list[tuple[Request, Columns]]) -> Iterator[tuple[SeriesTable, list[tuple[Request, Columns]]]]:
    """Runs of parts whose series are numbered by the same table."""
    run: list[tuple[Request, Columns]] = []
    for part in parts:
        if run and run[0][1].table is not part[1].table:
            yield run[0][1].table, run
            run = []
        run.append(part)
    yield run[0][1].table, run


def _batch(instance: int, sequence: int, whole: Columns, part: slice, now_ms: int) -> Batch:
    """The samples of a slice with a dictionary of just their series."""
    keys, kinds, series = whole.table.dictionary(whole.series[part])
    starts = None if whole.starts is None else whole.starts[part]
    return Batch(instance, sequence, now_ms, keys, kinds, series, whole.times[part], whole.values[part], starts=starts)


def _starts(parts: list[Columns]) -> I64 | None:
    if all(part.starts is None for part in parts):
        return None
    return np.concatenate([np.zeros(len(part), np.int64) if part.starts is None else part.starts for part in parts])
