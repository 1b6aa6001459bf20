"""The log on Apache Kafka itself: what the embedded broker cannot show, such as retention, times, and data that outlives the broker.

The aggregator's tests run on both brokers in `test_aggregator`.
"""

import asyncio
import time

import pytest
from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteRecordsRequest

from services.contract.names import DEAD_LETTER_TOPIC, LATE_TOPIC, LINEAGE_TOPIC, SAMPLES_TOPIC
from services.transport.lineage import LineageWatch, ensure_lineage, read_lineage
from services.transport.log import LogReader, OffsetGone, Record
from services.transport.log_topics import ensure_topics
from services.transport.log_wire import LogError, TopicMissing, Wire
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings
from tests.kafka.server import Kafka, empty

PATIENCE_S = 60.0


@pytest.fixture
async def kafka(kafka_server: Kafka) -> KafkaSettings:
    """A log that nobody has begun."""
    await empty(kafka_server)
    return KafkaSettings(bootstrap_servers=kafka_server.bootstrap)


async def read(reader: LogReader, count: int) -> list[Record]:
    """So many records, over every fault."""
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            try:
                found += await reader.poll(1000)
            except OffsetGone:
                raise
            except LogError:
                continue
    return found


async def begun(kafka: KafkaSettings) -> LogWriter:
    """A writer, as soon as the broker takes one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            writer = LogWriter(kafka)
            try:
                await writer.start()
            except LogError:
                await asyncio.sleep(0.05)
                continue
            return writer


async def forget(kafka: KafkaSettings, partition: int, before: int) -> None:
    """Delete the records before an offset, as retention does."""
    wire = Wire(kafka)
    await wire.open()
    node = (await wire.leaders([SAMPLES_TOPIC]))[SAMPLES_TOPIC][partition]
    answer = await wire.ask(node, DeleteRecordsRequest([(SAMPLES_TOPIC, [(partition, before)])], 5_000))
    assert answer.topics[0][1][0][1:3] == (before, errors.NoError.errno)
    await wire.close()


async def test_topics_have_the_partitions_and_the_retention_that_the_settings_say(kafka: KafkaSettings) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=3, retention_ms=7_200_000)
    made = await ensure_topics(settings)
    letters = {LATE_TOPIC: [0], DEAD_LETTER_TOPIC: [0]}
    found = {topic: sorted(leaders) for topic, leaders in made.items()}
    assert found == {SAMPLES_TOPIC: [0, 1, 2], LINEAGE_TOPIC: [0], **letters}
    assert await configured(kafka, "retention.ms") == {SAMPLES_TOPIC: "7200000", LINEAGE_TOPIC: "-1"}


async def configured(kafka: KafkaSettings, name: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic, {name: None}) for topic in (SAMPLES_TOPIC, LINEAGE_TOPIC)]
        answers = await admin.describe_configs(asked)
        return {resource[3]: resource[4][0][1] for answer in answers for resource in answer.resources}
    finally:
        await admin.close()


async def test_topics_that_are_there_are_left_as_they_are(kafka: KafkaSettings) -> None:
    await asyncio.gather(*(ensure_topics(kafka) for _ in range(5)))
    other = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=9, retention_ms=1_000)
    assert len((await ensure_topics(other))[SAMPLES_TOPIC]) == kafka.partitions
    assert (await configured(kafka, "retention.ms"))[SAMPLES_TOPIC] == str(kafka.retention_ms)


async def test_a_writer_of_a_new_log_may_write_to_every_partition_at_once(kafka: KafkaSettings) -> None:
    """Kafka names the leaders of new partitions before these take anything."""
    writer = LogWriter(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=32))
    await writer.start()
    assert set(await asyncio.gather(*(writer.append(partition, b"x") for partition in range(32)))) == {0}
    await writer.stop()


async def test_more_replicas_than_brokers_is_told_and_not_waited_for_forever(kafka: KafkaSettings) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, replication=3, request_timeout_ms=500)
    with pytest.raises(LogError, match="replication"):
        await ensure_topics(settings)


async def test_asking_makes_no_topic_though_kafka_would(kafka: KafkaSettings, reader: LogReader) -> None:
    assert await reader.partitions() == 0
    assert await read_lineage(kafka) is None
    reader.assign({0: 0})
    with pytest.raises(TopicMissing):
        await reader.poll(200)
    assert await reader.partitions() == 0


async def test_of_two_that_name_the_log_the_first_wins(kafka: KafkaSettings) -> None:
    names = await asyncio.gather(*(ensure_lineage(kafka) for _ in range(4)))
    assert len(set(names)) == 1
    assert await read_lineage(kafka) == names[0] == await ensure_lineage(kafka)


async def test_a_log_whose_topics_were_deleted_gets_another_name(kafka: KafkaSettings, kafka_server: Kafka) -> None:
    watch = LineageWatch(kafka)
    before = await ensure_lineage(kafka)
    assert await watch.current() == before
    await empty(kafka_server)
    assert await watch.current() is None
    after = await ensure_lineage(kafka)
    assert after != before
    assert await watch.current() == after
    await watch.stop()


async def test_what_is_acknowledged_is_read_at_its_offset_and_in_its_order(writer: LogWriter, reader: LogReader) -> None:
    appended = [(i % 4, b"%d" % i) for i in range(400)]
    offsets = await asyncio.gather(*(writer.append(*one) for one in appended))
    reader.assign(dict.fromkeys(range(4), 0))
    records = await read(reader, 400)
    for partition in range(4):
        told = [(offset, value) for offset, (where, value) in zip(offsets, appended, strict=True) if where == partition]
        assert [(record.offset, record.value) for record in records if record.partition == partition] == told
        assert reader.highwater(partition) == 100


async def test_reading_may_begin_in_the_middle_of_a_batch(writer: LogWriter, reader: LogReader) -> None:
    await asyncio.gather(*(writer.append(0, b"%d" % i) for i in range(50)))
    reader.assign({0: 37})
    assert [(record.offset, record.value) for record in await read(reader, 13)] == [(i, b"%d" % i) for i in range(37, 50)]


async def test_an_idle_reader_hears_of_a_record_at_once(kafka: KafkaSettings, writer: LogWriter) -> None:
    """Kafka answers a waiting fetch when something comes, however long the fetch would have waited."""
    patient = KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers, fetch_wait_ms=4_000 * int(PATIENCE_S), request_timeout_ms=600_000
    )
    reader = LogReader(patient)
    reader.assign(dict.fromkeys(range(4), 0))
    assert await reader.poll(50) == []
    await writer.append(2, b"x")
    assert [record.value for record in await read(reader, 1)] == [b"x"]
    await reader.stop()


async def test_offsets_are_found_by_time(writer: LogWriter, reader: LogReader) -> None:
    times = []
    for i in range(5):
        times.append(int(time.time() * 1000))
        assert await writer.append(1, b"%d" % i) == i
        await asyncio.sleep(0.002)
    reader.assign({1: 0})
    written = [record.timestamp for record in await read(reader, 5)]
    assert all(before <= at for before, at in zip(times, written, strict=True))
    for i, at in enumerate(written):
        assert await reader.offsets_at(at, [1]) == {1: i}
        assert await reader.offsets_at(at + 1, [1]) == {1: i + 1}
    assert await reader.offsets_at(0, range(4)) == {0: 0, 1: 0, 2: 0, 3: 0}
    assert await reader.offsets_at(written[-1] + 60_000, range(4)) == {0: 0, 1: 5, 2: 0, 3: 0}


async def test_what_retention_took_is_gone_and_reading_goes_on_from_the_start(
    kafka: KafkaSettings, writer: LogWriter, reader: LogReader
) -> None:
    await asyncio.gather(*(writer.append(partition, b"%d" % i) for i in range(20) for partition in (0, 1)))
    await forget(kafka, 0, 12)
    reader.assign({0: 3, 1: 0})
    with pytest.raises(OffsetGone) as gone:
        await read(reader, 100)
    assert (gone.value.partition, gone.value.offset) == (0, 3)
    starts = await reader.start_offsets([0, 1])
    assert starts == {0: 12, 1: 0}
    assert await reader.offsets_at(0, [0]) == {0: 12}
    reader.assign(starts)
    records = await read(reader, 28)
    assert [record.offset for record in records if record.partition == 0] == list(range(12, 20))
    assert [record.offset for record in records if record.partition == 1] == list(range(20))


async def test_an_offset_beyond_the_end_is_gone(writer: LogWriter, reader: LogReader) -> None:
    await writer.append(1, b"x")
    reader.assign({1: 99})
    with pytest.raises(OffsetGone) as gone:
        await read(reader, 1)
    assert (gone.value.partition, gone.value.offset) == (1, 99)


async def test_a_reader_goes_on_after_a_broker_that_was_killed_came_back_with_its_data(
    kafka_server: Kafka, kafka: KafkaSettings, writer: LogWriter, reader: LogReader
) -> None:
    lineage = writer.lineage
    reader.assign(dict.fromkeys(range(4), 0))
    early = await asyncio.gather(*(writer.append(i % 4, b"early %d" % i) for i in range(200)))
    records = await read(reader, 100)
    unsure = [(i % 4, b"unsure %d" % i) for i in range(200)]
    answers = [writer.append(*one) for one in unsure[:100]]
    await answers[0]
    answers += [writer.append(*one) for one in unsure[100:]]
    await asyncio.sleep(0.001)  # so that they are under way
    kafka_server.kill()
    taken = await asyncio.gather(*answers, return_exceptions=True)
    kafka_server.launch()
    again = await begun(kafka)
    assert again.lineage == lineage
    # As an ingestor does: what was not acknowledged is given again, in order.
    repeated = [one for one, answer in zip(unsure, taken, strict=True) if isinstance(answer, LogError)]
    await asyncio.gather(*(again.append(*one) for one in [*repeated, *((i, b"late") for i in range(4))]))
    while sum(record.value == b"late" for record in records) < 4:
        records += await read(reader, 1)
    await again.stop()
    for partition in range(4):
        mine = [record for record in records if record.partition == partition]
        assert [record.offset for record in mine] == list(range(len(mine))), "each offset once and in order"
        once = list(dict.fromkeys(record.value for record in mine))
        expected = [b"%s %d" % (what, i) for what in (b"early", b"unsure") for i in range(partition, 200, 4)]
        assert once == [*expected, b"late"]
    assert sorted(early) == sorted(list(range(50)) * 4)
