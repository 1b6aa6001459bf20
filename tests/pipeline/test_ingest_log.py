"""The log's transport against a real broker: reading, writing, lineage, and what a broker that forgets does to each."""

import asyncio

import pytest

from services.contract.names import DEAD_LETTER_TOPIC, LATE_TOPIC, LINEAGE_TOPIC, SAMPLES_TOPIC
from services.transport.lineage import LineageWatch, ensure_lineage, read_lineage
from services.transport.log import LogReader, OffsetGone, Record
from services.transport.log_topics import ensure_topics
from services.transport.log_wire import LogAway, LogError, TopicMissing
from services.transport.log_writer import CODECS, LogWriter
from services.transport.settings import KafkaSettings
from tests.servers import Broker


async def read(reader: LogReader, count: int) -> list[Record]:
    """So many records, however they come."""
    found: list[Record] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await reader.poll(1000)
    assert len(found) == count
    return found


def values(records: list[Record], partition: int) -> list[tuple[int, bytes]]:
    return [(record.offset, record.value) for record in records if record.partition == partition]


async def test_what_is_appended_is_read_in_the_order_and_at_the_offsets_that_were_told(
    writer: LogWriter, reader: LogReader
) -> None:
    appended = [(i % 4, b"%d" % i) for i in range(200)]
    offsets = await asyncio.gather(*(writer.append(*one) for one in appended))
    reader.assign(dict.fromkeys(range(4), 0))
    records = await read(reader, 200)
    for partition in range(4):
        told = [(offset, value) for offset, (where, value) in zip(offsets, appended, strict=True) if where == partition]
        assert values(records, partition) == told
        assert [offset for offset, _ in told] == list(range(50))
        assert reader.highwater(partition) == 50


@pytest.mark.parametrize("codec", CODECS)
async def test_every_compression_is_read_back(kafka: KafkaSettings, reader: LogReader, codec: str) -> None:
    writer = LogWriter(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, compression=codec))
    await writer.start()
    payloads = [bytes([i]) * 10_000 for i in range(5)]
    await asyncio.gather(*(writer.append(0, payload) for payload in payloads))
    reader.assign({0: 0})
    assert [record.value for record in await read(reader, 5)] == payloads
    await writer.stop()


async def test_more_than_one_request_holds_is_sent_in_several_in_order(writer: LogWriter, reader: LogReader) -> None:
    payloads = [bytes([i]) * 400_000 for i in range(8)]
    await asyncio.gather(*(writer.append(2, payload) for payload in payloads))
    reader.assign({2: 0})
    assert [record.value for record in await read(reader, 8)] == payloads


async def test_reading_begins_where_it_is_told_to_and_only_what_is_assigned(writer: LogWriter, reader: LogReader) -> None:
    await asyncio.gather(*(writer.append(i % 2, b"%d" % i) for i in range(20)))
    reader.assign({0: 7})
    assert values(await read(reader, 3), 0) == [(7, b"14"), (8, b"16"), (9, b"18")]
    assert await reader.poll(100) == []
    reader.assign({1: 9, 0: 10})
    assert values(await read(reader, 1), 1) == [(9, b"19")]
    reader.assign({0: 10})
    await writer.append(1, b"not read")
    await writer.append(0, b"new")
    assert [record.value for record in await read(reader, 1)] == [b"new"]


async def test_two_readers_read_the_same_log_independently(kafka: KafkaSettings, writer: LogWriter, reader: LogReader) -> None:
    await asyncio.gather(*(writer.append(0, b"%d" % i) for i in range(10)))
    other = LogReader(kafka)
    reader.assign({0: 0})
    other.assign({0: 9})
    assert len(await read(reader, 10)) == 10
    assert values(await read(other, 1), 0) == [(9, b"9")]
    await other.stop()


async def test_an_offset_beyond_the_end_is_gone(writer: LogWriter, reader: LogReader) -> None:
    await writer.append(1, b"x")
    reader.assign({1: 99})
    with pytest.raises(OffsetGone) as error:
        await read(reader, 1)
    assert (error.value.partition, error.value.offset) == (1, 99)
    reader.assign({1: 0})
    assert values(await read(reader, 1), 1) == [(0, b"x")]


async def test_offsets_can_be_asked_for_while_reading(writer: LogWriter, reader: LogReader) -> None:
    await reader.start()
    await asyncio.gather(*(writer.append(0, b"%d" % i) for i in range(3)))
    reader.assign({0: 0})
    await read(reader, 3)
    assert await reader.partitions() == 4
    assert await reader.start_offsets([0, 3]) == {0: 0, 3: 0}
    # The embedded broker knows no times, so everything from the start on is the answer.
    assert await reader.offsets_at(0, range(4)) == {0: 0, 1: 0, 2: 0, 3: 0}


async def test_a_log_without_topics_says_so_and_is_not_given_any_by_reading(kafka: KafkaSettings, reader: LogReader) -> None:
    assert await reader.partitions() == 0
    assert await read_lineage(kafka) is None
    reader.assign({0: 0})
    with pytest.raises(TopicMissing):
        await reader.poll(500)
    assert await reader.partitions() == 0


async def test_no_broker_at_all_is_said_at_once(broker: Broker, kafka: KafkaSettings, reader: LogReader) -> None:
    broker.kill()
    writer = LogWriter(kafka)
    try:
        for attempt in (reader.start(), reader.partitions(), writer.start(), read_lineage(kafka), ensure_topics(kafka)):
            with pytest.raises(LogAway, match="no connection to"):
                await attempt
    finally:
        broker.start()


async def test_topics_are_made_once_whoever_comes_first(kafka: KafkaSettings) -> None:
    await asyncio.gather(*(ensure_topics(kafka) for _ in range(5)))
    other = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=9)
    found = await ensure_topics(other)
    counts = {topic: len(leaders) for topic, leaders in found.items()}
    assert counts == {SAMPLES_TOPIC: 4, LINEAGE_TOPIC: 1, LATE_TOPIC: 1, DEAD_LETTER_TOPIC: 1}


async def test_a_new_log_has_as_many_partitions_as_the_settings_say(kafka: KafkaSettings) -> None:
    found = await ensure_topics(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=7))
    assert sorted(found[SAMPLES_TOPIC]) == list(range(7))


async def test_everybody_calls_the_log_by_the_name_that_came_first(kafka: KafkaSettings) -> None:
    names = await asyncio.gather(*(ensure_lineage(kafka) for _ in range(5)))
    assert len(set(names)) == 1
    assert await read_lineage(kafka) == names[0] == await ensure_lineage(kafka)
    assert len(bytes.fromhex(names[0])) == 8


async def test_a_log_that_began_anew_has_another_name(broker: Broker, kafka: KafkaSettings) -> None:
    watch = LineageWatch(kafka)
    before = await ensure_lineage(kafka)
    assert await watch.current() == before
    broker.kill()
    with pytest.raises(LogAway):
        await watch.current()
    broker.start()
    assert await watch.current() is None
    after = await ensure_lineage(kafka)
    assert after != before
    assert await watch.current() == after
    await watch.stop()


async def test_a_writer_that_lost_its_broker_never_writes_again(
    broker: Broker, kafka: KafkaSettings, reader: LogReader
) -> None:
    lost = asyncio.Event()
    writer = LogWriter(kafka, lost.set)
    await writer.start()
    await writer.append(0, b"before")
    broker.restart()
    async with asyncio.timeout(5):
        await lost.wait()
    assert isinstance(writer.fault, LogAway)
    with pytest.raises(LogAway):
        await writer.append(0, b"never")
    await writer.stop()
    again = LogWriter(kafka)
    await again.start()
    assert await again.append(0, b"after") == 0
    reader.assign({0: 0})
    assert values(await read(reader, 1), 0) == [(0, b"after")]
    await again.stop()


async def test_a_reader_says_that_the_broker_is_away_and_reads_on_when_it_is_back(
    broker: Broker, kafka: KafkaSettings, writer: LogWriter, reader: LogReader
) -> None:
    await writer.append(0, b"before")
    reader.assign({0: 0})
    await read(reader, 1)
    broker.kill()
    for _ in range(2):
        with pytest.raises(LogAway):
            await read(reader, 1)
    broker.start()
    again = LogWriter(kafka)
    await again.start()
    await asyncio.gather(*(again.append(0, b"%d" % i) for i in range(3)))
    assert values(await _patiently(reader), 0) == [
        (1, b"1"),
        (2, b"2"),
    ]  # it goes on where it was: lineage tells that this is wrong
    await again.stop()


async def _patiently(reader: LogReader) -> list[Record]:
    async with asyncio.timeout(10):
        while True:
            try:
                if records := await reader.poll(1000):
                    return records
            except LogError:
                continue


async def test_what_waits_fails_when_a_writer_is_abandoned(writer: LogWriter) -> None:
    waiting = [writer.append(0, b"x" * 500_000) for _ in range(6)]
    await writer.abandon()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, LogAway) for one in found)


async def test_what_was_given_is_written_before_a_writer_stops(writer: LogWriter, reader: LogReader) -> None:
    waiting = [writer.append(0, b"%d" % i) for i in range(20)]
    await writer.stop()
    assert await asyncio.gather(*waiting) == list(range(20))
    reader.assign({0: 0})
    assert len(await read(reader, 20)) == 20
