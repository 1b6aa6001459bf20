"""LogWriter: appends records to one topic, the samples topic or another one. It never tries anything twice.

When a request fails the writer is broken: what waited fails with the same error, and whoever holds the records makes a
new writer and gives them again, in order. A record may then be in the log twice, at the second place with nothing new
before it; (instance, sequence) in the record tells readers. Kafka's idempotent producer would add nothing to that, since
it only guards retries of one producer (and the embedded broker has none).
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import errors
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.contract.names import SAMPLES_TOPIC
from services.transport.lineage import ensure_lineage_on
from services.transport.log_topics import ensure_topics_on
from services.transport.log_wire import Leaders, LogAway, LogError, TopicMissing, Wire
from services.transport.settings import KafkaSettings

REQUEST_BYTES: Final = 900_000
"""Of one partition in one request, before compression. A broker refuses batches over 1 MB unless it is told otherwise."""

LOOK_S: Final = 2.0

CODECS: Final = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

Headers = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class _Waiting:
    payload: bytes
    done: "asyncio.Future[int]"
    key: bytes | None = None
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes of what was given, without what the log adds to each record."""
        return len(self.payload) + len(self.key or b"") + sum(16 + 4 * len(name) + len(it) for name, it in self.headers)


class LogWriter:
    """Appends to partitions. One request per broker is under way at a time; what comes meanwhile goes with the next.

    on_break is called when a broker ended a connection, so that one that is gone is noticed while nothing is written.
    """

    def __init__(self, settings: KafkaSettings, on_break: Callable[[], None] | None = None, topic: str = SAMPLES_TOPIC) -> None:
        self._settings = settings
        self._on_break = on_break
        self._topic = topic
        self._wire = Wire(settings, self._lost)
        self._leaders: Leaders = {}
        self._queues: dict[int, deque[_Waiting]] = {}
        self._senders: dict[int, asyncio.Task[None]] = {}  # by node
        self._fault: LogError | None = None
        self._watching: asyncio.Task[None] | None = None
        self.lineage = ""
        self.looked_at = float("-inf")
        """When was asked what last said that the topic has as many partitions as `partitions`, monotonic seconds."""

    @property
    def partitions(self) -> int:
        return len(self._leaders)

    @property
    def fault(self) -> LogError | None:
        """Why the writer is of no more use; None while it is."""
        return self._fault

    async def start(self) -> None:
        """Connect, make missing topics, name the log, and look where the partitions are. LogError when that fails.

        Only who writes samples makes topics and names the log; for others a topic that is missing is an error.
        """
        asked = time.monotonic()
        try:
            await self._wire.open()
            if self._topic == SAMPLES_TOPIC:
                self._leaders = (await ensure_topics_on(self._wire, self._settings))[SAMPLES_TOPIC]
                self.lineage = await ensure_lineage_on(self._wire, self._settings)
            else:
                self._leaders = (await self._wire.leaders([self._topic])).get(self._topic, {})
            if not self._leaders:
                raise TopicMissing(f"there is no topic {self._topic}")
        except BaseException:
            await self._wire.close()
            raise
        self._queues, self.looked_at = {partition: deque() for partition in self._leaders}, asked
        if self._topic == SAMPLES_TOPIC:
            self._watching = asyncio.create_task(self._watch())

    def append(self, partition: int, payload: bytes, key: bytes | None = None, headers: Headers = ()) -> "asyncio.Future[int]":
        """A future that gives the record's offset when all replicas have it. LogError: it may or may not be there."""
        done = asyncio.get_running_loop().create_future()
        if self._fault:
            done.set_exception(self._fault)
            return done
        self._queues[partition].append(_Waiting(payload, done, key, headers))
        node = self._leaders[partition]
        if node not in self._senders:
            self._senders[node] = asyncio.create_task(self._send(node))
        return done

    async def look(self) -> bool:
        """Whether the topic still has as many partitions. LogError where it has more, or no broker says: the writer is then of no more use."""
        if self._fault:
            raise self._fault
        asked = time.monotonic()
        try:
            leaders = (await self._wire.leaders([self._topic])).get(self._topic, {})
            if len(leaders) > self.partitions:
                raise LogAway(f"the topic has {len(leaders)} partitions now, it had {self.partitions}")
        except LogError as error:
            self._break(error)
            if self._on_break:
                self._on_break()
            raise
        if len(leaders) < self.partitions:
            return False
        self.looked_at = asked
        return True

    async def stop(self) -> None:
        """Wait until all that was given is acknowledged or has failed, and close."""
        while self._senders:
            await asyncio.wait(list(self._senders.values()))
        await self._end_watch()
        self._break(LogAway("the writer was stopped"))
        await self._wire.close()

    async def abandon(self) -> None:
        """Close at once; what waits fails. What is under way may still reach the log."""
        senders = list(self._senders.values())
        for sender in senders:
            sender.cancel()
        await self._end_watch()
        self._break(LogAway("the writer was abandoned"))
        await self._wire.close()
        await asyncio.gather(*senders, return_exceptions=True)

    async def _watch(self) -> None:
        """Look now and then whether the topic has more partitions by now. Series then belong to others: whoever writes begins again."""
        with contextlib.suppress(LogError):
            while self._fault is None:
                await asyncio.sleep(LOOK_S)
                await self.look()

    async def _end_watch(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None

    async def _send(self, node: int) -> None:
        """Send what waits for one broker until nothing does."""
        try:
            while taken := self._take(node):
                await self._produce(node, taken)
        except LogError as error:
            self._break(error)
        except Exception as error:  # whoever waits must hear of it, whatever it was
            self._break(LogError(f"the broker's answer is not understood: {error!r}"))
        finally:
            self._senders.pop(node, None)

    def _take(self, node: int) -> dict[int, list[_Waiting]]:
        """As much of each partition as one request may hold. It stays queued until it is acknowledged."""
        taken = {}
        for partition, queue in self._queues.items():
            if not queue or self._leaders[partition] != node:
                continue
            size = 0
            some: list[_Waiting] = []
            for waiting in queue:
                if some and size + waiting.size > REQUEST_BYTES:
                    break
                some.append(waiting)
                size += waiting.size
            taken[partition] = some
        return taken

    async def _produce(self, node: int, taken: dict[int, list[_Waiting]]) -> None:
        now_ms = int(time.time() * 1000)
        data = [(partition, self._pack(some, now_ms)) for partition, some in taken.items()]
        request = ProduceRequest(None, -1, self._settings.request_timeout_ms, [(self._topic, data)])
        answer = await self._wire.ask(node, request)
        refused = None
        for partition, code, base_offset, *_ in answer.topics[0][1]:
            if (error := errors.for_code(code)) is not errors.NoError:
                refused = LogError(f"partition {partition} does not take records: {error.__name__}")
                continue
            queue = self._queues[partition]
            for index, waiting in enumerate(taken[partition]):
                queue.popleft()
                if not waiting.done.done():
                    waiting.done.set_result(base_offset + index)
        if refused:
            raise refused

    def _pack(self, some: list[_Waiting], now_ms: int) -> bytes:
        size = sum(waiting.size + 64 for waiting in some) + 128
        builder: Any = DefaultRecordBatchBuilder(2, CODECS[self._settings.compression], 0, -1, -1, -1, size)
        for index, waiting in enumerate(some):
            builder.append(index, now_ms, waiting.key, waiting.payload, list(waiting.headers))
        return bytes(builder.build())

    def _lost(self) -> None:
        self._break(LogAway("the broker ended the connection"))
        if self._on_break:
            self._on_break()

    def _break(self, fault: LogError) -> None:
        self._fault = self._fault or fault
        for queue in self._queues.values():
            for waiting in queue:
                if not waiting.done.done():
                    waiting.done.set_exception(self._fault)
            queue.clear()
