"""Outlet: the bridges' way into our own log, apart from that of the HTTP door, so that neither waits for the other's requests.

It keeps nothing: what was not acknowledged is read again from the topic that it came from.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from services.transport.letters import Letter, LetterWriter
from services.transport.log_topics import ensure_topics
from services.transport.log_wire import LogError, TopicMissing
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings

HOLD_S: Final = 60.0  # whoever gave the order may be gone
UNDER_WAY_S: Final = 1.0


class Outlet:
    """Shared by all bridges of an ingestor."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._writer: LogWriter | None = None
        self._letters = LetterWriter(kafka)
        self._connecting = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._forgotten: asyncio.TimerHandle | None = None

    @property
    def held(self) -> bool:
        return not self._open.is_set()

    async def writer(self) -> LogWriter:
        """A writer of our log that is in order. Waits while the outlet is held; LogError while the log is away.

        What follows each other must go through one writer: after a failure it takes nothing more, so that no gap is left behind.
        """
        await self._open.wait()
        async with self._connecting:
            if self._writer is not None and self._writer.fault:
                await self._writer.abandon()
                self._writer = None
            if self._writer is None:
                writer = LogWriter(self._kafka)
                await writer.start()
                if self.held:
                    await writer.abandon()
                    raise LogError("the log is held")
                self._writer = writer
            return self._writer

    async def write_letters(self, letters: Sequence[Letter]) -> None:
        """Returns when their topic has them. LogError: some may be there."""
        try:
            await self._letters.write(letters)
        except TopicMissing as error:
            await ensure_topics(self._kafka)  # somebody deleted it
            raise LogError(str(error)) from None

    async def hold(self) -> None:
        """Write nothing from now on until `resume`, or for HOLD_S at most. When this returns, nothing is under way."""
        self._open.clear()
        if self._forgotten is None:
            self._forgotten = asyncio.get_running_loop().call_later(HOLD_S, self.resume)
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(writer.stop(), UNDER_WAY_S)
            await writer.abandon()
        await self._letters.stop()

    def resume(self) -> None:
        self._open.set()
        if self._forgotten is not None:
            self._forgotten.cancel()
            self._forgotten = None

    async def stop(self) -> None:
        self.resume()
        if self._writer is not None:
            await self._writer.abandon()
        await self._letters.stop()
