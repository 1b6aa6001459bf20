"""Dead letters, and who writes them beside sources: the fold. On both brokers."""

import asyncio
import random

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord

from services.contract.names import DEAD_LETTER_TOPIC, SAMPLES_TOPIC
from services.transport.letters import MAX_VALUE_BYTES, Letter, LetterBox, LetterWriter
from services.transport.log import LogReader
from services.transport.log_topics import ensure_topics
from services.transport.log_wire import TopicMissing
from services.transport.settings import KafkaSettings, RedisSettings
from tests.pipeline.test_aggregator import EVERYTHING, points
from tests.pipeline.world import aggregating, feed, register, settled, writing
from tests.servers import Valkey, running

PATIENCE_S = 30.0


@pytest.fixture
def kafka(either_kafka: KafkaSettings) -> KafkaSettings:
    return either_kafka


async def letters(kafka: KafkaSettings, count: int) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        DEAD_LETTER_TOPIC, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                found += [it for records in (await consumer.getmany(timeout_ms=100)).values() for it in records]
        return found
    finally:
        await consumer.stop()


async def test_a_letter_has_the_bytes_and_says_where_they_come_from_and_why_they_are_there(kafka: KafkaSettings) -> None:
    await ensure_topics(kafka)
    writer = LetterWriter(kafka)
    await writer.write([])
    long = bytes(range(256)) * 4_000
    await writer.write(
        [Letter("t", 3, 17, "is no träger", "orders", b"\xff\x00", b"k"), Letter("t", 3, 18, "r", "orders", long)]
    )
    await writer.stop()
    first, second = await letters(kafka, 2)
    assert (first.key, first.value) == (b"k", b"\xff\x00")
    assert dict(first.headers) == {
        "topic": b"t", "partition": b"3", "offset": b"17", "reason": "is no träger".encode(), "source": b"orders",
    }  # fmt: skip
    assert second.value == long[:MAX_VALUE_BYTES]
    assert dict(second.headers)["bytes"] == b"1024000"


async def test_a_box_of_letters_that_is_stopped_writes_what_waits_and_tells_what_it_could_not(kafka: KafkaSettings) -> None:
    await ensure_topics(kafka)
    box, away = LetterBox(kafka), LetterBox(kafka, "nowhere")
    for offset in range(20):
        box.post(Letter("t", 0, offset, "r", "s", b"x"))
        away.post(Letter("t", 0, offset, "r", "s", b"x"))
    await asyncio.gather(box.stop(), away.stop())
    assert (box.written, box.lost, away.written, away.lost) == (20, 0, 0, 20)
    assert len(await letters(kafka, 20)) == 20


async def test_who_writes_letters_makes_no_topics(kafka: KafkaSettings) -> None:
    writer, reader = LetterWriter(kafka), LogReader(kafka, DEAD_LETTER_TOPIC)
    with pytest.raises(TopicMissing):
        await writer.write([Letter("t", 0, 0, "r", "s", b"x")])
    assert await reader.partitions() == 0
    await writer.stop()
    await reader.stop()


async def test_a_record_of_our_log_that_the_fold_cannot_read_goes_to_the_dead_letters_and_the_others_count(
    kafka: KafkaSettings,
) -> None:
    chance = random.Random(1)
    with running(Valkey()) as valkey:
        settings = RedisSettings(url=valkey.url)
        async with feed(settings) as redis, writing(kafka) as log, aggregating(kafka, settings):
            wanted = await register(redis, EVERYTHING)
            await log.write(points(chance, 20))
            offset = await log.writer.append(2, b"TB what is this")
            await log.write(points(chance, 20))
            await settled(redis, log, wanted)
            (letter,) = await letters(kafka, 1)
    headers = {name: value.decode() for name, value in letter.headers}
    assert letter.value == b"TB what is this"
    assert (headers["topic"], headers["partition"], headers["offset"], headers["source"]) == (
        SAMPLES_TOPIC,
        "2",
        str(offset),
        "aggregator",
    )
    assert "too few for the header" in headers["reason"]


async def test_the_identity_of_a_topic_is_told_and_is_another_one_when_it_is_made_again(kafka: KafkaSettings) -> None:
    reader = LogReader(kafka)
    with pytest.raises(TopicMissing):
        await reader.topic_id()
    await ensure_topics(kafka)
    mine = await reader.topic_id()
    assert mine is not None
    assert len(mine) == 32
    other = LogReader(kafka, DEAD_LETTER_TOPIC)
    assert await other.topic_id() not in (None, mine)
    await reader.stop()
    await other.stop()
