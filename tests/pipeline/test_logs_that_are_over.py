"""A log that is over: nothing is added to it once the next one goes on from it, whoever still believes in it."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.aggregator.folding import Folding
from services.aggregator.wanted import wanted
from services.transport import partials, registry
from services.transport.history import read_view
from services.transport.log import LogError
from services.transport.settings import KafkaSettings, RedisSettings
from tests.pipeline.world import PATIENCE_S, Log, aggregating, entry, feed, register, writing
from tests.servers import Broker, Valkey, running

COUNTED = entry("counted", [{"id": "grown", "type": "stat", "query": {"metric": "bytes", "by": ["host"], "fn": "increase"}}])
HOSTS = "abcdef"


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with feed(RedisSettings(url=valkey.url)) as connected:
        await connected.flushall()
        yield connected


async def count(log: Log, at: int, value: float) -> None:
    await log.write([("bytes", {"host": host}, at, value, "counter") for host in HOSTS])


async def folded(redis: Redis, log: Log) -> None:
    """Wait until all that was written is folded and stored."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        there = await partials.positions(redis, log.writer.lineage, range(log.writer.partitions))
        if all(item and item[0] == len(log.written.get(partition, ())) for partition, item in enumerate(there)):
            return
        assert time.monotonic() < deadline, f"folded up to {there}"
        await asyncio.sleep(0.02)


async def grown(redis: Redis, view: str) -> dict[str, float]:
    """What each host's counter grew by, in all buckets."""
    found: dict[str, float] = {}
    held = await read_view(redis, view)
    for rows in held.rows.values() if held else ():
        for group, _, value in rows.tolist():
            host = held.groups[group]["host"] if held else ""
            found[host] = found.get(host, 0.0) + value
    return {host: round(value, 6) for host, value in found.items()}


async def test_an_owner_that_slept_while_the_log_began_anew_adds_nothing_to_the_one_before(
    valkey: Valkey, redis: Redis
) -> None:
    """It has folded more of it than it has stored; the next log's first samples already hold what counters grew by meanwhile."""
    (view,) = await register(redis, COUNTED)
    now = int(time.time() * 1000)
    with running(Broker()) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, fetch_wait_ms=50)
        settings = RedisSettings(url=valkey.url)
        async with writing(kafka) as log:
            async with aggregating(kafka, settings):
                await count(log, now - 9_000, 100.0)
                await folded(redis, log)
            sleeper = Folding(redis, kafka, log.writer.lineage, log.writer.partitions, ())
            await sleeper.want(range(log.writer.partitions), wanted(await registry.read_all(redis)).config)
            await count(log, now - 8_000, 120.0)
            while sum(slot.fold.offset for slot in sleeper.slots.values()) < sum(map(len, log.written.values())):
                await sleeper.poll(100)
        broker.restart()
        async with writing(kafka) as again, aggregating(kafka, settings):
            again.instance = 8
            await count(again, now - 4_000, 150.0)
            await folded(redis, again)
            with pytest.raises(LogError):
                await sleeper.commit()
            assert {answer for _, answer in await sleeper.commit(last=True)} == {None}
            await sleeper.stop()
            deadline = time.monotonic() + PATIENCE_S
            while (found := await grown(redis, view)) != dict.fromkeys(HOSTS, 50.0):
                assert time.monotonic() < deadline, f"grown by {found}"
                await asyncio.sleep(0.05)


async def test_a_log_that_ended_before_anything_was_in_it_is_not_taken_for_the_next_one(valkey: Valkey, redis: Redis) -> None:
    """No record tells them apart, only their names."""
    await register(redis, COUNTED)
    with running(Broker()) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, fetch_wait_ms=50)
        async with writing(kafka) as log, aggregating(kafka, RedisSettings(url=valkey.url)):
            await folded(redis, log)
        broker.restart()
        async with writing(kafka) as again:
            late = Folding(redis, kafka, log.writer.lineage, log.writer.partitions, ())
            with pytest.raises(LogError, match=again.writer.lineage):
                await late.want(range(log.writer.partitions), wanted(await registry.read_all(redis)).config)
            await late.stop()
