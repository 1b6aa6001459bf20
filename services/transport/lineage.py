"""Lineage: the identity of the log.

Topic names outlive a log that began anew (a broker that forgets, a topic made again), so the log carries a name of its
own: the first record of a topic with one partition that is kept for ever. Offsets of another lineage mean nothing.
"""

import asyncio
import secrets
import time
from typing import Any, Final

from aiokafka import errors
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from services.contract.names import LINEAGE_TOPIC, SAMPLES_TOPIC
from services.transport.log_topics import ensure_topics_on
from services.transport.log_wire import RETRY_S, LogAway, LogError, Wire
from services.transport.settings import KafkaSettings

_BYTES: Final = 4096
_WAIT_MS: Final = 10  # with 0 the embedded broker answers without having looked


async def read_lineage(settings: KafkaSettings) -> str | None:
    """The log's name; None when it has none yet. LogError when the log cannot be read."""
    watch = LineageWatch(settings)
    try:
        return await watch.current()
    finally:
        await watch.stop()


async def ensure_lineage(settings: KafkaSettings) -> str:
    """The log's name; gives it one where it has none. Makes missing topics."""
    wire = Wire(settings)
    try:
        await wire.open()
        await ensure_topics_on(wire, settings)
        return await ensure_lineage_on(wire, settings)
    finally:
        await wire.close()


async def ensure_lineage_on(wire: Wire, settings: KafkaSettings) -> str:
    """The same over a Wire that is open, where the topics exist."""
    deadline = time.monotonic() + settings.request_timeout_ms / 1000
    while True:
        try:
            if (name := await _first(wire)) is None:
                await _write(wire, secrets.token_hex(8), settings)
                name = await _first(wire)  # somebody else's may have come before ours: the first one wins
            if name is not None:
                return name
            fault = LogError("the lineage was written but cannot be read back")
        except LogAway:
            raise
        except LogError as error:  # Kafka names a leader some moments before it leads
            fault = error
        if time.monotonic() > deadline:
            raise fault
        await asyncio.sleep(RETRY_S)


class LineageWatch:
    """Answers once a second, for little, what the log's name is now. The log may begin anew while we run."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._wire: Wire | None = None
        self.partitions = 0

    async def current(self) -> str | None:
        """The name; None when there is none yet. LogError when the log cannot be read; ask again later.

        `partitions`: how many the samples topic has at that moment.
        """
        try:
            if self._wire is None:
                self._wire = Wire(self._settings)
                await self._wire.open()
            name = await _first(self._wire)
            self.partitions = len((await self._wire.leaders([SAMPLES_TOPIC])).get(SAMPLES_TOPIC, {}))
            return name
        except LogError:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._wire is not None:
            await self._wire.close()
            self._wire = None


async def _first(wire: Wire) -> str | None:
    """The value of the first record of the lineage topic; None when there is none."""
    if (node := await _leader(wire)) is None:
        return None
    answer = await wire.ask(node, FetchRequest(_WAIT_MS, 1, _BYTES, 0, [(LINEAGE_TOPIC, [(0, 0, _BYTES)])]))
    if not answer.topics:
        raise LogError("the broker does not say the lineage")
    _, code, *_, data = answer.topics[0][1][0]
    error = errors.for_code(code)
    if error in (errors.UnknownTopicOrPartitionError, errors.OffsetOutOfRangeError):
        return None
    if error is not errors.NoError:
        raise LogError(f"the lineage cannot be read: {error.__name__}")
    batches: Any = MemoryRecords(data or b"")
    while (batch := batches.next_batch()) is not None:
        for record in batch:
            if record.value is not None:
                return str(record.value, "ascii", "replace")
    return None


async def _leader(wire: Wire) -> int | None:
    leader = (await wire.leaders([LINEAGE_TOPIC])).get(LINEAGE_TOPIC, {}).get(0, -1)
    return leader if leader >= 0 else None


async def _write(wire: Wire, name: str, settings: KafkaSettings) -> None:
    if (node := await _leader(wire)) is None:
        raise LogError("the lineage topic has no leader")
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, _BYTES)
    builder.append(0, int(time.time() * 1000), None, name.encode(), [])
    request = ProduceRequest(None, -1, settings.request_timeout_ms, [(LINEAGE_TOPIC, [(0, bytes(builder.build()))])])
    answer = await wire.ask(node, request)
    if (error := errors.for_code(answer.topics[0][1][0][1])) is not errors.NoError:
        raise LogError(f"the lineage cannot be written: {error.__name__}")
