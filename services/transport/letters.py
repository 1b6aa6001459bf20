"""Letters: records that a person should look at, in a topic of their own (dead letters, late samples), with where they came from.

A record there has the original bytes as its value and key, and headers: topic, partition, offset, reason, source. The same letter may be there
twice, since whoever writes it may crash before it has noted that; its topic, partition and offset tell.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.contract.names import DEAD_LETTER_TOPIC
from services.transport.log_wire import LogError
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

MAX_VALUE_BYTES: Final = 800_000
"""Of a longer value only so much is kept, and a header says how long it was: a broker refuses records over 1 MB unless it is told otherwise."""
MAX_KEY_BYTES: Final = 64_000
"""The same of keys."""
MAX_REASON: Final = 1_000
MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 16 << 20
RETRY_S: Final = 1.0
STOP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A record and why it is here. source: who read it: the name of a Source, or of what reads our own topic."""

    topic: str
    partition: int
    offset: int
    reason: str
    source: str
    value: bytes | None
    key: bytes | None = None

    def headers(self) -> list[tuple[str, bytes]]:
        found = [
            ("topic", self.topic),
            ("partition", f"{self.partition}"),
            ("offset", f"{self.offset}"),
            ("reason", self.reason[:MAX_REASON]),
        ]
        found.append(("source", self.source))
        if self.value is not None and len(self.value) > MAX_VALUE_BYTES:
            found.append(("bytes", f"{len(self.value)}"))
        if self.key is not None and len(self.key) > MAX_KEY_BYTES:
            found.append(("key_bytes", f"{len(self.key)}"))
        return [(name, text.encode(errors="replace")) for name, text in found]


class LetterWriter:
    """Writes letters; connects when there is one."""

    def __init__(self, settings: KafkaSettings, topic: str = DEAD_LETTER_TOPIC) -> None:
        self._settings = settings
        self._topic = topic
        self._writer: LogWriter | None = None

    async def write(self, letters: Sequence[Letter]) -> None:
        """Returns when the topic has them. LogError: some may be there, write all of them again."""
        if not letters:
            return
        try:
            writer = await self._connected()
            await asyncio.gather(*(_append(writer, letter) for letter in letters))
        except LogError:
            await self.stop()
            raise

    async def stop(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.abandon()

    async def _connected(self) -> LogWriter:
        if self._writer is not None and self._writer.fault:
            await self.stop()
        if self._writer is None:
            writer = LogWriter(self._settings, topic=self._topic)
            await writer.start()
            self._writer = writer
        return self._writer


class LetterBox:
    """Takes letters from who cannot wait, and writes them when it can. written, lost: how many since the start."""

    def __init__(self, settings: KafkaSettings, topic: str = DEAD_LETTER_TOPIC) -> None:
        self._writer = LetterWriter(settings, topic)
        self._waiting: deque[Letter] = deque()
        self._bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self.failing = False  # the last attempt did not work
        self.written = 0
        self.lost = 0

    def post(self, letter: Letter) -> None:
        """Never waits. What does not fit, while the log is away, is lost and counted."""
        size = len(letter.value or b"")
        if len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            self.lost += 1
            return
        self._waiting.append(letter)
        self._bytes += size
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def settle(self) -> None:
        """Wait until nothing waits; while the topic cannot be written, for ever."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    async def stop(self) -> None:
        """Write what waits, where that takes no time. What is then not written is lost, unless it is posted again by who reads the log again."""
        if self._writing is not None:
            if not self.failing:
                await asyncio.wait([self._writing], timeout=STOP_S)
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._writer.stop()
        if self._waiting:
            first = self._waiting[0]
            log.error(
                "letters are lost", letters=len(self._waiting), topic=first.topic, partition=first.partition, offset=first.offset
            )  # fmt: skip
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._bytes = 0

    async def _write(self) -> None:
        """Until nothing waits."""
        while self._waiting:
            try:
                await self._flush(list(self._waiting))
                self.failing = False
            except LogError as error:
                self.failing = True
                log.warning("letters cannot be written", reason=str(error), waiting=len(self._waiting))
                await asyncio.sleep(RETRY_S)

    async def _flush(self, some: list[Letter]) -> None:
        await self._writer.write(some)
        for letter in some:
            self._waiting.popleft()
            self._bytes -= len(letter.value or b"")
        self.written += len(some)


def _append(writer: LogWriter, letter: Letter) -> "asyncio.Future[int]":
    value = (letter.value or b"")[:MAX_VALUE_BYTES]
    key = None if letter.key is None else letter.key[:MAX_KEY_BYTES]
    return writer.append(0, value, key, letter.headers())
