"""The watchdog and the group's offsets on a real log: a reader that gets no answers is replaced, and who watches lag sees where folds stand."""

import asyncio
import random
import time
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from services.aggregator import folding
from services.aggregator.service import Aggregator
from services.aggregator.watchdog import Watchdog
from services.contract.names import AGGREGATOR_GROUP, SAMPLES_TOPIC
from services.transport.settings import KafkaSettings, RedisSettings
from tests.kafka.server import Kafka, empty
from tests.pipeline.test_aggregator import EVERYTHING, points
from tests.pipeline.world import Log, aggregating, register, settled

PATIENCE_S = 30.0


@pytest.fixture
async def kafka(kafka_server: Kafka) -> KafkaSettings:
    await empty(kafka_server)
    return KafkaSettings(bootstrap_servers=kafka_server.bootstrap)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "ENDS_EVERY_S", 0.1)


def replaced() -> float:
    return REGISTRY.get_sample_value("tideboard_aggregator_readers_replaced_total") or 0.0


def deafen(aggregator: Aggregator) -> None:
    """No fetch of the reader is answered any more; the connection stays."""
    assert aggregator._folding is not None
    aggregator._folding._watchdog = Watchdog(0.5)
    wire = aggregator._folding._reader._fetches
    assert wire is not None

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    wire.ask = never  # type: ignore[method-assign, assignment]


async def test_a_reader_that_gets_no_answers_is_replaced_while_there_is_more_to_read(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    chance, before = random.Random(1), replaced()
    async with aggregating(kafka, settings) as aggregator:
        await log.write(points(chance, 20))
        await settled(redis, log, wanted)
        assert replaced() == before
        deafen(aggregator)
        for _ in range(3):  # the fetch that is under way is still answered
            await log.write(points(chance, 20))
            await asyncio.sleep(0)
        await settled(redis, log, wanted, PATIENCE_S)
        assert replaced() > before
        await log.write(points(chance, 20))
        await settled(redis, log, wanted)


async def published(kafka: KafkaSettings) -> dict[int, int]:
    """What a client of Kafka reads of the group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(AGGREGATOR_GROUP)
        return {at.partition: said.offset for at, said in found.items() if at.topic == SAMPLES_TOPIC}
    finally:
        await admin.close()


async def test_the_offsets_of_the_group_say_what_is_committed(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(2)
    async with aggregating(kafka, settings):
        for _ in range(3):
            await log.write(points(chance, 50))
        await settled(redis, log, wanted)
        ends = {partition: len(records) for partition, records in log.written.items()}
        deadline = time.monotonic() + PATIENCE_S
        while (found := await published(kafka)) != ends:
            assert time.monotonic() < deadline, f"{found} instead of {ends}"
            await asyncio.sleep(0.2)
