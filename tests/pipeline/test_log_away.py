"""Apache Kafka goes away while somebody watches: viewers are told with its age, and when it is back all goes on by itself and every cell is right."""

import asyncio
import os
import random
import signal

import pytest
from redis.asyncio import Redis

from services.transport.settings import KafkaSettings, RedisSettings
from tests.kafka.server import Kafka, empty
from tests.pipeline.gateway_world import Message, Screen, now_ms, serving, viewing
from tests.pipeline.test_aggregator import EVERYTHING, points
from tests.pipeline.world import PATIENCE_S, aggregating, register, settled, until, writing


@pytest.fixture
async def kafka(kafka_server: Kafka) -> KafkaSettings:
    """A log that nobody has begun."""
    await empty(kafka_server)
    return KafkaSettings(bootstrap_servers=kafka_server.bootstrap)


async def heard_of_the_log(screen: Screen) -> Message:
    """The status that says that the log is away; before that no samples may have come for a while."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            said = await screen.hear_a("status")
            if [part["part"] for part in said["parts"]] == ["log"]:
                return said


async def test_while_kafka_is_away_viewers_see_the_age_and_then_all_goes_on(
    kafka_server: Kafka, kafka: KafkaSettings, settings: RedisSettings, redis: Redis
) -> None:
    async with aggregating(kafka, settings) as aggregator, serving(settings.url) as gateway:
        wanted = await register(redis, EVERYTHING)
        async with writing(kafka) as log:
            await log.write(points(random.Random(1), 20))
            await settled(redis, log, wanted)
        async with viewing(gateway.port, EVERYTHING.name) as screen:
            await screen.hear_a("snapshot")
            before = now_ms()
            kafka_server.kill()
            try:
                said = await heard_of_the_log(screen)
                assert said["stale"] is True
                assert said["parts"][0]["reason"]
                assert said["parts"][0]["since"] >= before - 1_000
                assert said["age_ms"] >= 0
                assert aggregator.readiness().startswith("log: ")
            finally:
                kafka_server.launch()  # not in a thread: the broker would end with it
                await asyncio.to_thread(kafka_server.wait, 60.0)
            await until(aggregator.readiness)
            async with writing(kafka) as again:
                again.instance, again.written = 8, log.written
                await again.write(points(random.Random(2), 20))
                await settled(redis, again, wanted, 30)
                await screen.hear_a("status", stale=False)


async def test_a_broker_that_stands_still_is_away_before_any_request_has_failed(
    kafka_server: Kafka, kafka: KafkaSettings, settings: RedisSettings, redis: Redis
) -> None:
    async with aggregating(kafka, settings), serving(settings.url) as gateway:
        wanted = await register(redis, EVERYTHING)
        async with writing(kafka) as log:
            await log.write(points(random.Random(1), 20))
            await settled(redis, log, wanted)
            async with viewing(gateway.port, EVERYTHING.name) as screen:
                await screen.hear_a("snapshot")
                os.kill(kafka_server.pid, signal.SIGSTOP)
                try:
                    said = await heard_of_the_log(screen)
                finally:
                    os.kill(kafka_server.pid, signal.SIGCONT)
                assert "Kafka has not answered for" in said["parts"][0]["reason"]
                assert said["panels"], "how old the newest value of each panel is"
                await log.write(points(random.Random(2), 20))
                await settled(redis, log, wanted, 30)
                await screen.hear_a("status", stale=False)
