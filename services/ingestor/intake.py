"""Intake: one body, from bytes to what became of each sample. Knows limits and waits for the log; knows no HTTP."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from services.ingestor import metrics
from services.ingestor.bodies import TooLargeError, is_lines, plain
from services.ingestor.columns import Columns, SeriesTable, TimeLimits, judge
from services.ingestor.outbox import Outbox
from services.ingestor.samples import Fault, Rows, decode_json, decode_lines
from services.ingestor.sender import LogChangedError, Sender
from services.ingestor.settings import IngestorSettings

SLICE: Final = 5_000  # samples judged before others get their turn: some milliseconds


class BusyError(Exception):
    """The samples are fine but cannot be taken now; come back later."""


@dataclass(slots=True)
class Outcome:
    """What became of a request. faults: by index in the request."""

    accepted: int
    faults: dict[int, Fault] = field(default_factory=dict)


class Reading:
    """The bytes of one body while it arrives."""

    def __init__(self, intake: "Intake") -> None:
        self._intake = intake
        self.size = 0

    def add(self, size: int) -> None:
        self.size += size
        self._intake.read(self, size)


class Intake:
    """Takes bodies. accepted, rejected: samples since the start, for /status."""

    def __init__(self, settings: IngestorSettings, outbox: Outbox, sender: Sender) -> None:
        self._settings = settings
        self._outbox = outbox
        self._sender = sender
        self._limits = TimeLimits(settings.future_ms, settings.past_ms)
        self._table = SeriesTable(1)
        self._reading = 0
        self.accepted = 0
        self.rejected: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """Bytes that wait here."""
        return self._reading + self._outbox.bytes

    @property
    def known_series(self) -> int:
        return len(self._table.keys)

    def check(self, content_type: str, content_length: str) -> bool:
        """Whether the head of a request announces lines; what can be refused by its head alone is refused."""
        lines = is_lines(content_type)
        if content_length.isdigit() and int(content_length) > self._settings.max_body_bytes:
            raise self._too_large()
        if not self._sender.partitions:
            raise BusyError(f"the log has not been reached yet: {self._sender.fault}")
        return lines

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reading]:
        """Counts a body against what may wait, for as long as it is here."""
        reading = Reading(self)
        try:
            yield reading
        finally:
            self._reading -= reading.size

    def read(self, reading: Reading, size: int) -> None:
        self._reading += size
        metrics.BODY_BYTES.inc(size)
        if reading.size > self._settings.max_body_bytes:
            raise self._too_large()
        if self.waiting > self._settings.max_waiting_bytes:
            raise BusyError("too much is waiting for the log")

    async def take(self, body: bytes, lines: bool, encoding: str) -> Outcome:
        """Decode, judge, and wait until the log has what was accepted."""
        text = plain(body, encoding, self._settings.max_decoded_bytes)
        outcome, columns = await self._judge(decode_lines(text) if lines else decode_json(text))
        for fault in outcome.faults.values():
            self.rejected[fault.code] = self.rejected.get(fault.code, 0) + 1
            metrics.REJECTED.labels(fault.code).inc()
        if outcome.accepted:
            await self._send(columns)
            self.accepted += outcome.accepted
            metrics.SAMPLES.inc(outcome.accepted)
        return outcome

    async def _judge(self, rows: Rows) -> tuple[Outcome, list[Columns]]:
        now_ms = int(time.time() * 1000)
        outcome, columns = Outcome(0), []
        for start in range(0, len(rows.samples), SLICE):
            if start:
                await asyncio.sleep(0)
            part = Rows(rows.samples[start : start + SLICE])
            part.faults = {i - start: fault for i, fault in rows.faults.items() if start <= i < start + SLICE}
            judged = judge(part, self._series(), now_ms, self._limits)
            outcome.accepted += len(judged.columns)
            outcome.faults |= {start + i: fault for i, fault in judged.faults.items()}
            if len(judged.columns):
                columns.append(judged.columns)
        return outcome, columns

    def _series(self) -> SeriesTable:
        """The table for the log's partitions, a fresh one when the old one is full or is for others."""
        if self._table.full or self._table.partitions != self._sender.partitions:
            self._table = SeriesTable(self._sender.partitions)
        return self._table

    async def _send(self, columns: list[Columns]) -> None:
        if self.waiting > self._settings.max_waiting_bytes:
            raise BusyError("too much is waiting for the log")
        if any(part.table.partitions != self._sender.partitions for part in columns):
            raise BusyError("the log began anew with other partitions")
        given = [self._sender.accept(part) for part in columns]
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1000):
                await asyncio.gather(*(answer for _, answer in given))
        except TimeoutError:
            reason = self._sender.fault or self._sender.state
            raise BusyError(f"the log has not acknowledged within {self._settings.timeout_ms} ms: {reason}") from None
        except LogChangedError as error:
            raise BusyError(str(error)) from None
        finally:
            for request, _ in given:
                self._sender.give_up(request)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(
            f"the body has more than {self._settings.max_body_bytes} bytes (TIDEBOARD_INGESTOR_MAX_BODY_BYTES)"
        )
