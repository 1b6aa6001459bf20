"""Reader and writer against a broker that answers as the test says: refusals, damage, and answers that come too late."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka import errors
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.contract.names import SAMPLES_TOPIC
from services.transport import log, log_writer
from services.transport.log import LogReader, OffsetGone, TopicMissing
from services.transport.log_wire import LogAway, LogError
from services.transport.log_writer import REQUEST_BYTES, LogWriter
from services.transport.settings import KafkaSettings

SETTINGS = KafkaSettings(compression="none", fetch_wait_ms=1, request_timeout_ms=100)


def batch(base: int, *values: bytes) -> bytes:
    """A record batch as a broker keeps it."""
    builder: Any = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for index, value in enumerate(values):
        builder.append(index, 1000 + index, None, value, [])
    data = builder.build()
    data[:8] = base.to_bytes(8, "big")  # not part of the checksum
    return bytes(data)


@dataclass
class Broker:
    """One broker that leads all partitions. Each request takes the next answer from its script, and then waits for ever."""

    partitions: int = 2
    script: list[Any] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    opened: int = 0

    def answers(self, *partitions: tuple[Any, ...]) -> None:
        """An answer to a fetch: (partition, code, highwater, data)."""
        self.script.append(SimpleNamespace(topics=[(SAMPLES_TOPIC, list(partitions))]))

    async def asked(self, requests: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(10):
            while len(self.requests) < requests:  # noqa: ASYNC110, a few turns of the loop
                await asyncio.sleep(0)

    def fetched(self, request: int) -> dict[int, int]:
        """The offsets that a request asked for."""
        return {partition: offset for partition, offset, _ in self.requests[request].topics[0][1]}


class FakeWire:
    """The Wire of services.transport, to the Broker of the test."""

    broker: ClassVar[Broker]

    def __init__(self, settings: KafkaSettings, on_break: object = None) -> None:
        self.on_break = on_break

    async def open(self) -> None:
        self.broker.opened += 1

    async def leaders(self, topics: list[str]) -> dict[str, dict[int, int]]:
        return {topic: dict.fromkeys(range(self.broker.partitions), 1) for topic in topics}

    async def ask(self, node: int, request: Any) -> Any:
        self.broker.requests.append(request)
        if not self.broker.script:
            await asyncio.Event().wait()
        answer = self.broker.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    async def close(self) -> None:
        pass


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    FakeWire.broker = Broker()
    for module in (log, log_writer):
        monkeypatch.setattr(module, "Wire", FakeWire)
    monkeypatch.setattr(log, "RETRY_S", 0.0)
    yield FakeWire.broker


@pytest.fixture
def reader(broker: Broker) -> LogReader:
    return LogReader(SETTINGS)


async def read(reader: LogReader) -> list[tuple[int, int, bytes]]:
    return [(record.partition, record.offset, record.value) for record in await reader.poll(1000)]


async def test_records_before_the_position_are_passed_over(broker: Broker, reader: LogReader) -> None:
    broker.answers((0, 0, 9, batch(5, b"5", b"6", b"7") + batch(8, b"8")))
    reader.assign({0: 6})
    assert await read(reader) == [(0, 6, b"6"), (0, 7, b"7"), (0, 8, b"8")]
    await broker.asked(2)
    assert broker.fetched(1) == {0: 9}
    assert reader.highwater(0) == 9
    await reader.stop()


async def test_records_that_came_with_a_fault_are_handed_over_before_it(broker: Broker, reader: LogReader) -> None:
    broker.answers((1, errors.OffsetOutOfRangeError.errno, -1, b""), (0, 0, 2, batch(0, b"a", b"b")))
    reader.assign({0: 0, 1: 50})
    assert await read(reader) == [(0, 0, b"a"), (0, 1, b"b")]
    with pytest.raises(OffsetGone) as error:
        await read(reader)
    assert (error.value.partition, error.value.offset) == (1, 50)
    broker.answers((0, 0, 3, batch(2, b"c")), (1, 0, 8, batch(7, b"x")))
    reader.assign({0: 2, 1: 7})
    assert await read(reader) == [(0, 2, b"c"), (1, 7, b"x")]
    await reader.stop()


async def test_a_damaged_record_is_never_handed_over_and_never_passed_over(broker: Broker, reader: LogReader) -> None:
    damaged = bytearray(batch(1, b"broken"))
    damaged[-1] ^= 1
    for _ in range(2):
        broker.answers((0, 0, 2, batch(0, b"fine") + bytes(damaged)), (1, 0, 1, batch(0, b"other")))
    reader.assign({0: 0, 1: 0})
    assert await read(reader) == [(1, 0, b"other")]
    with pytest.raises(LogError, match="partition 0 has a damaged record at offset 1"):
        await read(reader)
    broker.script.clear()
    broker.answers((0, 0, 2, batch(0, b"fine") + batch(1, b"whole")))
    assert await read(reader) == [(0, 0, b"fine"), (0, 1, b"whole")]
    await reader.stop()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((0, errors.UnknownTopicOrPartitionError.errno, -1, b""), TopicMissing),
        ((0, errors.NotLeaderForPartitionError.errno, -1, b""), LogError),
        (LogAway("cut off"), LogAway),
    ],
)
async def test_after_a_refusal_the_reader_connects_anew_and_reads_on(
    broker: Broker, reader: LogReader, answer: Any, kind: type[Exception]
) -> None:
    broker.answers((0, 0, 1, batch(0, b"a")))
    if isinstance(answer, Exception):
        broker.script.append(answer)
    else:
        broker.answers(answer)
    broker.answers((0, 0, 2, batch(1, b"b")))
    reader.assign({0: 0})
    assert await read(reader) == [(0, 0, b"a")]
    with pytest.raises(kind):
        await read(reader)
    assert await read(reader) == [(0, 1, b"b")]
    assert broker.opened == 2
    await reader.stop()


async def test_an_answer_to_an_older_assignment_is_ignored(broker: Broker, reader: LogReader) -> None:
    late = asyncio.Event()

    class Late:
        def __call__(self, _: Any) -> Any:
            late.set()
            return SimpleNamespace(topics=[(SAMPLES_TOPIC, [(0, 0, 9, batch(0, b"old"))])])

    broker.script.append(Late())
    reader.assign({0: 0})
    task = asyncio.create_task(reader.poll(1000))
    await broker.asked(1)
    reader.assign({0: 5})
    broker.answers((0, 0, 9, batch(5, b"new")))
    assert [(record.offset, record.value) for record in await task] == [(5, b"new")]
    assert late.is_set()
    await reader.stop()


async def test_a_position_past_the_end_is_gone_even_if_the_broker_says_nothing(broker: Broker, reader: LogReader) -> None:
    broker.answers((0, 0, 3, b""))
    reader.assign({0: 7})
    with pytest.raises(OffsetGone, match="partition 0 has no offset 7"):
        await read(reader)
    await reader.stop()


async def test_a_poll_that_is_cancelled_loses_nothing(broker: Broker, reader: LogReader) -> None:
    reader.assign({0: 0})
    gate = asyncio.Event()
    original = FakeWire.ask

    async def slow(self: FakeWire, node: int, request: Any) -> Any:
        await gate.wait()
        return await original(self, node, request)

    broker.answers((0, 0, 1, batch(0, b"a")))
    FakeWire.ask = slow  # type: ignore[method-assign]
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.poll(5000), 0.01)
        gate.set()
        assert await read(reader) == [(0, 0, b"a")]
    finally:
        FakeWire.ask = original  # type: ignore[method-assign]
    await reader.stop()


# Writing


@pytest.fixture
async def writer(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> LogWriter:
    async def topics(wire: FakeWire, _: KafkaSettings) -> dict[str, dict[int, int]]:
        return await wire.leaders([SAMPLES_TOPIC])

    async def lineage(_: FakeWire, __: KafkaSettings) -> str:
        return "0123456789abcdef"

    monkeypatch.setattr(log_writer, "ensure_topics_on", topics)
    monkeypatch.setattr(log_writer, "ensure_lineage_on", lineage)
    writer = LogWriter(SETTINGS)
    await writer.start()
    return writer


def taken(base: int, **codes: int) -> Any:
    """An answer to a produce: all its partitions take their records from `base` on, but for those with a code (p0=...)."""

    def answer(request: Any) -> Any:
        ((topic, partitions),) = request._topics
        return SimpleNamespace(
            topics=[(topic, [(partition, codes.get(f"p{partition}", 0), base) for partition, _ in partitions])]
        )

    return answer


def sizes(broker: Broker) -> list[dict[int, int]]:
    """How many bytes of each partition each request had."""
    return [{partition: len(data) for partition, data in request._topics[0][1]} for request in broker.requests]


async def test_what_comes_while_a_request_is_under_way_goes_with_the_next(broker: Broker, writer: LogWriter) -> None:
    broker.script += [taken(10), taken(11)]
    first = writer.append(0, b"a")
    await broker.asked(1)
    rest = [writer.append(0, b"b"), writer.append(1, b"c"), writer.append(0, b"d")]
    assert [await first, *await asyncio.gather(*rest)] == [10, 11, 11, 12]
    assert len(broker.requests) == 2
    await writer.stop()


async def test_a_request_holds_no_more_of_a_partition_than_it_may(broker: Broker, writer: LogWriter) -> None:
    broker.script += [taken(0), taken(3), taken(6)]
    waiting = [writer.append(0, bytes(REQUEST_BYTES // 3)) for _ in range(7)] + [writer.append(1, b"small")]
    assert await asyncio.gather(*waiting) == [0, 1, 2, 3, 4, 5, 6, 0]
    assert [max(request.values()) < REQUEST_BYTES + 1000 for request in sizes(broker)] == [True] * 3
    await writer.stop()


async def test_one_that_is_longer_than_a_request_may_be_goes_alone(broker: Broker, writer: LogWriter) -> None:
    broker.script += [taken(0), taken(1), taken(2)]
    waiting = [writer.append(0, data) for data in (b"a", bytes(REQUEST_BYTES + 1), b"b")]
    assert await asyncio.gather(*waiting) == [0, 1, 2]
    await writer.stop()


async def test_a_refusal_of_one_partition_breaks_the_writer_but_not_what_was_taken(broker: Broker, writer: LogWriter) -> None:
    broker.script.append(taken(4, p1=errors.NotEnoughReplicasError.errno))
    fine, refused = writer.append(0, b"a"), writer.append(1, b"b")
    assert await fine == 4
    with pytest.raises(LogError, match="partition 1 does not take records: NotEnoughReplicasError"):
        await refused
    with pytest.raises(LogError, match="NotEnoughReplicasError"):
        await writer.append(0, b"c")
    assert writer.fault is not None
    assert len(broker.requests) == 1
    await writer.stop()


async def test_a_lost_connection_fails_all_that_waits_and_nothing_is_tried_again(broker: Broker, writer: LogWriter) -> None:
    broker.script.append(LogAway("cut off"))
    waiting = [writer.append(i % 2, b"x") for i in range(6)]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(one) for one in found] == ["cut off"] * 6
    assert len(broker.requests) == 1
    await writer.stop()


async def test_a_record_that_comes_between_two_questions_is_not_passed_over(broker: Broker) -> None:
    """Kafka finds a record by its time only when it has told everybody of it: that answer may say none, and the next one know its end."""
    end = 0

    def answer(request: Any) -> Any:
        nonlocal end
        (partition, timestamp), *_ = request._topics[0][1]
        offset = end if timestamp == -1 else -1
        end = 0 if timestamp == -1 else 2
        return SimpleNamespace(topics=[(SAMPLES_TOPIC, [(partition, 0, -1, offset)])])

    broker.script += [answer] * 3
    assert await LogReader(SETTINGS).offsets_at(1_000, [0]) == {0: 0}
