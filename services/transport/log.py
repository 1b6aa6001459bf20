"""LogReader: reads the samples topic from offsets that the caller keeps. No consumer group, nothing is committed.

Writing is in `log_writer`, making topics in `log_topics`, the log's identity in `lineage`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

import msgspec
from aiokafka import errors
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords

from services.contract.names import SAMPLES_TOPIC
from services.transport.log_wire import RETRY_S, Leaders, LogAway, LogError, TopicMissing, Wire
from services.transport.settings import KafkaSettings
from services.transport.topic_ids import topic_id
from services.transport.transactions import Aborted

__all__ = ["LogAway", "LogError", "LogReader", "OffsetGone", "Record", "TopicMissing"]

PARTITION_BYTES: Final = 1 << 20  # of one partition in one answer
FETCH_BYTES: Final = 16 << 20  # of one answer
_EARLIEST: Final = -2
_LATEST: Final = -1


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of the log. timestamp: epoch ms at which it was written.

    One is made for each record that is read: a frozen dataclass takes six times as long to make, a named tuple three times.
    """

    partition: int
    offset: int
    timestamp: int
    value: bytes
    key: bytes | None = None


class OffsetGone(LogError):  # noqa: N818, says what happened
    """An offset that was to be read is before the log's start or after its end."""

    def __init__(self, partition: int, offset: int) -> None:
        super().__init__(f"partition {partition} has no offset {offset} (any more)")
        self.partition = partition
        self.offset = offset


class LogReader:
    """Reads partitions in log order.

    Any method may raise LogError; the reader then connects anew when it is called again, RETRY_S later at the earliest.
    One fetch per broker is always under way, so that the answer is there when the caller comes back.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str = SAMPLES_TOPIC,
        partition_bytes: int = PARTITION_BYTES,
        committed: bool = False,
    ) -> None:
        """partition_bytes: of one partition in one answer, but for a record that is longer.

        committed: wait for the end of transactions, and pass over those that were aborted; our own topic has none.
        """
        self._settings = settings
        self._topic = topic
        self._committed = committed
        self._partition_bytes = partition_bytes
        self._fetches: Wire | None = None
        self._questions: Wire | None = None  # apart, since a broker answers the requests of a connection one by one
        self._leaders: Leaders = {}
        self._positions: dict[int, int] = {}
        self._highwater: dict[int, int] = {}
        self._looked: dict[int, float] = {}  # when was asked what was answered last
        self._flying: dict[int, tuple[dict[int, int], asyncio.Task[Any], float]] = {}  # node -> offsets asked for, answer, when
        self._fault: LogError | None = None  # came with records, which are handed over first
        self._retry_at = 0.0
        self._opening = asyncio.Lock()
        self._turn = 0

    async def start(self) -> None:
        """Connect. LogAway where no broker answers."""
        async with self._asking():
            pass

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self._positions = dict(offsets)
        self._highwater = {partition: end for partition, end in self._highwater.items() if partition in offsets}
        self._looked = {partition: at for partition, at in self._looked.items() if partition in offsets}
        self._fault = None

    async def poll(self, timeout_ms: int) -> list[Record]:
        """What has come, in log order per partition; empty when nothing came in time.

        OffsetGone when a position is not in the log: assign anew. Other LogErrors: the log cannot be read now; poll again.
        """
        deadline = time.monotonic() + timeout_ms / 1000
        try:
            while True:
                await self._pause(deadline)
                await self._connect()
                records = await self._receive(deadline)
                if records or time.monotonic() >= deadline:
                    return records
        except OffsetGone:
            raise
        except LogError:
            await self._reset()
            raise

    def highwater(self, partition: int) -> int | None:
        """The offset that the next record of the partition will get, as of the last answer; None before the first."""
        return self._highwater.get(partition)

    def overdue_s(self) -> float:
        """For how long an answer has been missing that should have come, 0 where none is.

        A broker that is asked for what is not there yet answers after `fetch_wait_ms`; one that has much to send may need longer.
        """
        waited = [time.monotonic() - at for _, task, at in self._flying.values() if not task.done()]
        return max(0.0, max(waited, default=0.0) - self._settings.fetch_wait_ms / 1000)

    def looked_at(self) -> float | None:
        """As of when `highwater` tells the end of every assigned partition, monotonic seconds; None while one was never answered.

        That is when its answer was asked for: what came after that need not be in it.
        """
        looked = [self._looked.get(partition) for partition in self._positions]
        known = [at for at in looked if at is not None]
        return min(known) if known and len(known) == len(looked) else None

    def position(self, partition: int) -> int | None:
        """The offset up to which `poll` has given everything, also where records had no value; None where it is not assigned."""
        return self._positions.get(partition)

    async def topic_id(self) -> str | None:
        """The UUID of the topic; None where the broker knows no such thing. TopicMissing where there is none."""
        async with self._asking() as (wire, _):
            return await topic_id(wire, self._topic)

    async def partitions(self) -> int:
        """How many partitions the topic has, 0 where it is missing."""
        async with self._asking() as (_, leaders):
            return len(leaders)

    async def start_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset that each partition still has."""
        return {partition: offset for partition, (offset, _) in (await self._offsets(_EARLIEST, partitions)).items()}

    async def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset that the next record of each partition will get."""
        return {partition: offset for partition, (offset, _) in (await self._offsets(_LATEST, partitions)).items()}

    async def offsets_at(self, epoch_ms: int, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset whose record is from epoch_ms or later; the end of the partition where there is none."""
        wanted = list(partitions)
        # The ends first: a record that is written between the two questions is then behind the end, and never passed over.
        ends = await self._offsets(_LATEST, wanted)
        found = await self._offsets(max(epoch_ms, 0), wanted)
        # The embedded broker keeps no index by time and says "offset 0, time -1"; from the start on is right, if more than asked.
        starts = await self.start_offsets([p for p, (offset, at) in found.items() if offset >= 0 and at < 0])
        return {p: starts.get(p, offset if offset >= 0 else ends[p][0]) for p, (offset, _) in found.items()}

    async def stop(self) -> None:
        await self._reset()
        if self._questions:
            await self._questions.close()
            self._questions = None

    # Fetching

    async def _pause(self, deadline: float) -> None:
        until = min(self._retry_at, deadline) - time.monotonic()
        if until > 0:
            await asyncio.sleep(until)

    async def _connect(self) -> None:
        if self._fetches is None and self._positions:
            self._fetches = await self._open()
            self._leaders = {}
        if self._fetches is not None and not self._positions.keys() <= self._leaders.keys():  # or the topic has grown
            self._leaders = (await self._fetches.leaders([self._topic])).get(self._topic, {})

    def _launch(self) -> None:
        """See that a fetch is under way to every broker that leads an assigned partition."""
        if self._fetches is None or self._fault:
            return
        by_node: dict[int, dict[int, int]] = {}
        for partition, offset in sorted(self._positions.items()):
            if (node := self._leaders.get(partition, -1)) < 0:
                raise TopicMissing(f"topic {self._topic} has no partition {partition} with a leader")
            by_node.setdefault(node, {})[partition] = offset
        for node, offsets in by_node.items():
            if node not in self._flying:
                task = asyncio.create_task(self._fetches.ask(node, self._request(offsets)))
                self._flying[node] = offsets, task, time.monotonic()

    def _request(self, offsets: dict[int, int]) -> FetchRequest:
        partitions = [(partition, offset, self._partition_bytes) for partition, offset in offsets.items()]
        # A broker fills its answer in this order: where there is more than fits, the first ones would get all of it.
        self._turn = (self._turn + 1) % len(partitions)
        partitions = partitions[self._turn :] + partitions[: self._turn]
        return FetchRequest(self._settings.fetch_wait_ms, 1, FETCH_BYTES, int(self._committed), [(self._topic, partitions)])

    async def _receive(self, deadline: float) -> list[Record]:
        """The records of the answers that are there, or that come before the deadline."""
        if self._fault:
            fault, self._fault = self._fault, None
            raise fault
        self._launch()
        timeout = max(deadline - time.monotonic(), 0)
        if not self._flying:
            await asyncio.sleep(timeout)
            return []
        await asyncio.wait([task for _, task, _ in self._flying.values()], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        # From here on nothing awaits: positions move on exactly when their records are returned.
        records: list[Record] = []
        for node, (asked, task, at) in list(self._flying.items()):
            if task.done():
                del self._flying[node]
                self._take(asked, task, at, records)
        if not self._fault:
            self._launch()
        return records

    def _take(self, asked: dict[int, int], task: asyncio.Task[Any], at: float, records: list[Record]) -> None:
        try:
            answer = task.result()
        except LogError as error:
            self._fault = error
            return
        for _, partitions in answer.topics:
            for partition, code, highwater, *rest, data in partitions:
                if self._positions.get(partition) != asked.get(partition):
                    continue  # assigned anew since
                try:
                    self._check(partition, code)
                    self._highwater[partition], self._looked[partition] = highwater, at
                    if highwater < self._positions[partition]:  # the embedded broker says nothing about it
                        raise OffsetGone(partition, self._positions[partition])
                    records.extend(self._unpack(partition, data, self._aborted(rest)))
                except LogError as error:
                    self._fault = error

    def _check(self, partition: int, code: int) -> None:
        error = errors.for_code(code)
        if error is errors.OffsetOutOfRangeError:
            raise OffsetGone(partition, self._positions[partition])
        if error is errors.UnknownTopicOrPartitionError:
            raise TopicMissing(f"topic {self._topic} has no partition {partition} any more")
        if error is not errors.NoError:
            raise LogError(f"partition {partition} cannot be read: {error.__name__}")

    def _aborted(self, rest: list[Any]) -> Aborted:
        """rest: what an answer says of a partition between its end and its records; its only list is that of aborted transactions."""
        return Aborted(next((item for item in rest if isinstance(item, list)), ()) if self._committed else ())

    def _unpack(self, partition: int, data: bytes | None, aborted: Aborted) -> list[Record]:
        position, records = self._positions[partition], []
        batches = MemoryRecords(data or b"")
        while (batch := batches.next_batch()) is not None:
            if not batch.validate_crc():
                raise LogError(f"partition {partition} has a damaged record at offset {batch.base_offset}")
            if not aborted.holds(batch):
                try:
                    # A broker answers with whole batches, which may begin before what was asked for.
                    records += [
                        Record(partition, record.offset, record.timestamp, record.value, record.key)
                        for record in batch
                        if record.offset >= position and record.value is not None
                    ]
                except errors.KafkaError as error:
                    raise LogError(f"partition {partition} cannot be read at offset {batch.base_offset}: {error!r}") from None
            position = batch.next_offset
        self._positions[partition] = position
        return records

    async def _reset(self) -> None:
        """Forget connections and what is under way; positions stay."""
        self._retry_at = time.monotonic() + RETRY_S
        tasks = [task for _, task, _ in self._flying.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._flying.clear()
        if self._fetches:
            await self._fetches.close()
            self._fetches = None

    # Questions

    async def _open(self) -> Wire:
        wire = Wire(self._settings)
        try:
            await wire.open()
        except BaseException:
            await wire.close()
            raise
        return wire

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[tuple[Wire, Leaders]]:
        """A Wire for questions, and the topic's leaders; the Wire is dropped when it turns out to be broken."""
        async with self._opening:  # several may ask at once
            wire = self._questions = self._questions or await self._open()
        try:
            yield wire, (await wire.leaders([self._topic])).get(self._topic, {})
        except LogAway:
            if self._questions is wire:
                self._questions = None
            await wire.close()
            raise

    async def _offsets(self, timestamp: int, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """ListOffsets: partition -> (offset, timestamp), each -1 where there is none."""
        wanted = list(partitions)
        found: dict[int, tuple[int, int]] = {}
        if not wanted:
            return found
        async with self._asking() as (wire, leaders):
            by_node: dict[int, list[tuple[int, int]]] = {}
            for partition in wanted:
                if (node := leaders.get(partition, -1)) < 0:
                    raise TopicMissing(f"topic {self._topic} has no partition {partition} with a leader")
                by_node.setdefault(node, []).append((partition, timestamp))
            for node, questions in by_node.items():
                answer = await wire.ask(node, OffsetRequest(-1, 0, [(self._topic, questions)]))
                for partition, code, at, offset, *_ in answer.topics[0][1]:
                    if (error := errors.for_code(code)) is not errors.NoError:
                        raise LogError(f"partition {partition} does not say its offsets: {error.__name__}")
                    found[partition] = offset, at
        return found
