"""Sender: gives the outbox's records to the log, and makes a new writer when one fails or when it is told to hold.

It heals by itself: a failed writer is abandoned, a new one is made (which makes topics first, over the very connection that
it writes to), and what is not acknowledged is sent again in order with the same sequences. `hold` and `resume` do the same
on order, for whoever replaces the broker.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable
from typing import Final

import structlog

from services.ingestor import metrics
from services.ingestor.columns import Columns
from services.ingestor.outbox import Outbox, Outgoing, Request
from services.runtime.logs import Reasons
from services.transport.log_wire import LogError
from services.transport.log_writer import LogWriter

log = structlog.get_logger()

HOLD_S: Final = 60.0  # whoever gave the order may be gone
UNDER_WAY_S: Final = 1.0
BACKOFF_S: Final = (0.05, 1.0)  # first and longest


class LogChangedError(Exception):
    """The log began anew with another number of partitions; what was meant for the old ones was dropped."""


class Sender:
    """Between `start` and `stop` a task of its own keeps a writer. States: connecting, sending, held, stopped."""

    def __init__(self, outbox: Outbox, make_writer: Callable[[Callable[[], None]], LogWriter]) -> None:
        """make_writer: given what to call when the writer is lost."""
        self._outbox = outbox
        self._make_writer = make_writer
        self._writer: LogWriter | None = None
        self._answers: dict[Request, asyncio.Future[None]] = {}
        self._flush: asyncio.TimerHandle | None = None
        self._held_until: float | None = None
        self._trouble = asyncio.Event()  # the writer failed or must go
        self._nudge = asyncio.Event()  # do not wait any longer before the next attempt
        self._changed = asyncio.Event()
        self._backoff = BACKOFF_S[0]
        self._reasons = Reasons()
        self._task: asyncio.Task[None] | None = None
        self.partitions = 0
        self.lineage = ""
        self.fault = "not connected yet"
        self.acknowledged_ms = 0

    @property
    def state(self) -> str:
        if self._task is None or self._task.done():
            return "stopped"
        if self._held_until is not None:
            return "held"
        return "connecting" if self._writer is None else "sending"

    def start(self) -> asyncio.Task[None]:
        """Begin; the task never ends by itself."""
        self._task = asyncio.create_task(self._keep())
        return self._task

    async def stop(self, patience_s: float) -> int:
        """Send what is still here for so long, then end: the number of records that the log did not take."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not self._outbox.empty:
                    self._changed.clear()
                    await self._changed.wait()
        if self._flush:
            self._flush.cancel()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._abandon()
        return self._outbox.records

    def accept(self, columns: Columns) -> tuple[Request, "asyncio.Future[None]"]:
        """Take samples; the future is done when the log has all of them."""
        loop = asyncio.get_running_loop()
        request = self._outbox.add(columns, loop.time())
        answer = self._answers[request] = loop.create_future()
        due = self._outbox.due()
        if due is not None and (self._flush is None or due == 0.0):
            if self._flush:
                self._flush.cancel()
            self._flush = loop.call_at(due, self._close)
        return request, answer

    def give_up(self, request: Request) -> None:
        """The request will be answered without the log."""
        self._outbox.give_up(request)
        self._answers.pop(request, None)

    async def hold(self) -> None:
        """Send nothing from now on until `resume`, or for HOLD_S at most. When this returns, nothing is under way.

        What was under way is waited for, so that it is not sent to the next log as well; but not for long.
        """
        self._held_until = time.monotonic() + HOLD_S
        writer, self._writer = self._writer, None
        self._trouble.set()
        metrics.LOG_UP.set(0)
        if writer:
            try:
                await asyncio.wait_for(writer.stop(), UNDER_WAY_S)
            except TimeoutError:
                await writer.abandon()

    async def resume(self, patience_s: float) -> bool:
        """Send again, what waits first. Whether the log was reached in time."""
        self._held_until = None
        self._backoff = BACKOFF_S[0]
        self._nudge.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self.state == "connecting":
                    self._changed.clear()
                    await self._changed.wait()
        return self.state == "sending"

    # The task

    async def _keep(self) -> None:
        while True:
            while self._held_until is not None:
                await self._pause(self._held_until - time.monotonic())
                if self._held_until is not None and time.monotonic() >= self._held_until:
                    log.warning("nobody said resume, so the ingestor goes on by itself", after_s=HOLD_S)
                    self._held_until = None
            if await self._connect():
                await self._trouble.wait()
                await self._lose()
            if self._held_until is None:
                await self._pause(self._backoff)
                self._backoff = min(self._backoff * 2, BACKOFF_S[1])

    async def _connect(self) -> bool:
        writer = self._make_writer(self._trouble.set)
        try:
            await writer.start()
        except LogError as error:
            self._note(str(error))
            return False
        if self._held_until is not None:
            await writer.abandon()
            return False
        self._trouble.clear()
        if writer.fault:
            self._note(str(writer.fault))
            await writer.abandon()
            return False
        self._adopt(writer)
        return True

    def _adopt(self, writer: LogWriter) -> None:
        """From here on records go to this writer; those that wait go first."""
        grown = (
            writer.lineage == self.lineage and writer.partitions > self.partitions
        )  # the old ones take what was meant for them
        if self.partitions not in (0, writer.partitions) and not grown:
            for request in self._outbox.clear():
                if answer := self._answers.pop(request, None):
                    answer.set_exception(LogChangedError("the log began anew with other partitions"))
        if self.fault:
            log.info("the log accepts", lineage=writer.lineage, partitions=writer.partitions)
        self._writer, self.partitions, self.lineage, self.fault = writer, writer.partitions, writer.lineage, ""
        self._reasons.over()
        metrics.LOG_UP.set(1)
        self._changed.set()
        for record in self._outbox.unacknowledged():
            self._give(writer, record)

    async def _lose(self) -> None:
        if self._writer and self._writer.fault:
            self._note(str(self._writer.fault))
        await self._abandon()

    async def _abandon(self) -> None:
        writer, self._writer = self._writer, None
        metrics.LOG_UP.set(0)
        if writer:
            await writer.abandon()

    async def _pause(self, seconds: float) -> None:
        self._nudge.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._nudge.wait()

    def _note(self, fault: str) -> None:
        metrics.LOG_ERRORS.inc()
        if self._reasons.new(fault):
            log.warning("the log does not accept", reason=fault)
        self.fault = fault
        self._changed.set()

    # Records

    def _close(self) -> None:
        """The linger is over."""
        self._flush = None
        for record in self._outbox.close(int(time.time() * 1000)):
            if self._writer:
                self._give(self._writer, record)

    def _give(self, writer: LogWriter, record: Outgoing) -> None:
        done = writer.append(record.partition, record.payload)
        done.add_done_callback(functools.partial(self._answered, record))

    def _answered(self, record: Outgoing, done: "asyncio.Future[int]") -> None:
        if done.cancelled() or done.exception():
            self._trouble.set()
            return
        self._backoff = BACKOFF_S[0]
        self.acknowledged_ms = int(time.time() * 1000)
        metrics.RECORDS.inc()
        metrics.RECORD_BYTES.inc(len(record.payload))
        for request in self._outbox.acknowledge(record):
            if (answer := self._answers.pop(request, None)) and not answer.done():
                answer.set_result(None)
        if self._outbox.empty:
            self._changed.set()
