"""Coarser resolutions on real servers: every cell of every level is what a batch job over the log computes."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.contract.levels import kept
from services.contract.names import view_key
from services.contract.registry import Entry
from services.contract.views import View
from services.transport import registry
from services.transport.history import PARTS, read_hot, read_range
from services.transport.settings import KafkaSettings, RedisSettings
from tests.pipeline.test_aggregator import EVERYTHING
from tests.pipeline.world import Log, Point, aggregating, entry, feed, settled, writing
from tests.servers import Broker, Valkey, running

LEVELS = [{"every": "2s", "for": "20m"}, {"every": "10s", "for": "1h"}, {"every": "1m", "for": "2h"}]


def with_levels(item: Entry) -> Entry:
    document = dict(item.document or {})
    return Entry(
        item.version, item.name, "levels", document | {"spec": {**document["spec"], "resolutions": LEVELS}}, item.source
    )


def views(item: Entry) -> dict[str, View]:
    dashboard = item.dashboard()
    assert dashboard is not None
    return {view.id: view for view in kept(dashboard)}


DASHBOARD = with_levels(EVERYTHING)
WANTED = views(DASHBOARD)


@pytest.fixture
async def servers() -> AsyncIterator[tuple[Valkey, Broker]]:
    with running(Valkey()) as valkey, running(Broker()) as broker:
        yield valkey, broker


@pytest.fixture
def valkey(servers: tuple[Valkey, Broker]) -> Valkey:
    return servers[0]


@pytest.fixture
def kafka(servers: tuple[Valkey, Broker]) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=servers[1].bootstrap, partitions=2, fetch_wait_ms=50)


@pytest.fixture
async def redis(settings: RedisSettings) -> AsyncIterator[Redis]:
    async with feed(settings) as connected:
        # The aggregator shares this event loop, and computes for seconds here and there on a machine that is busy with other tests.
        connected.connection_pool.connection_kwargs["socket_timeout"] = 30.0
        yield connected


async def write_past(log: Log, chance: random.Random, seconds: int, step: int = 1) -> None:
    """Records of the last seconds, each as if it had been written at its time; samples out of order."""
    now = int(time.time() * 1000)
    for second in range(seconds, 0, -step):
        # Often enough that no counter rests for longer than its own buckets are kept: what it grew by would come too late for them.
        await log.write(_points(chance, now - second * 1_000, 3 if step == 1 else 20), ingest_ms=now - second * 1_000)


def _points(chance: random.Random, now: int, n: int) -> list[Point]:
    found: list[Point] = []
    for _ in range(n):
        at, host = now - chance.randrange(8_000), f"h{chance.randrange(3)}"
        found += [
            ("load", {"host": host, "core": str(chance.randrange(4))}, at, chance.uniform(-5, 5), "gauge"),
            ("bytes", {"host": host, "code": chance.choice(["200", "503"])}, at, chance.randrange(10_000), "counter"),
            ("added", {"host": host}, at, chance.randrange(5), "delta"),
        ]
    return found


async def test_every_cell_of_every_level_is_what_a_batch_job_computes(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    await registry.write_entry(redis, DASHBOARD)
    chance = random.Random(1)
    await write_past(log, chance, 100)
    async with aggregating(kafka, settings):
        for _ in range(10):
            await log.write(_points(chance, int(time.time() * 1000), 10), twice=chance.random() < 0.2)
            await asyncio.sleep(0.05)
        assert await settled(redis, log, WANTED, 90) > 1_000


async def test_every_level_is_filled_again_from_the_log_when_the_feed_has_lost_everything(
    servers: tuple[Valkey, Broker], kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    await registry.write_entry(redis, DASHBOARD)
    chance = random.Random(2)
    await write_past(log, chance, 100)
    async with aggregating(kafka, settings):
        await settled(redis, log, WANTED, 90)
        servers[0].restart()
        await log.write(_points(chance, int(time.time() * 1000), 10))
        await registry.write_entry(redis, DASHBOARD)
        await settled(redis, log, WANTED, 90)


async def test_coarse_cells_go_on_over_a_log_that_began_anew(
    servers: tuple[Valkey, Broker], kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    """Buckets that lie in both logs have what both say."""
    await registry.write_entry(redis, DASHBOARD)
    chance = random.Random(5)
    now = int(time.time() * 1000)
    async with aggregating(kafka, settings):
        await log.write([point for point in _points(chance, now, 40) if point[4] != "counter"])
        await settled(redis, log, {name: item for name, item in WANTED.items() if not item.coarse})
        servers[1].restart()
        async with writing(kafka) as again:
            again.instance = 8
            await again.write([point for point in _points(chance, int(time.time() * 1000), 40) if point[4] != "counter"])
            log.written |= {partition + 2: records for partition, records in again.written.items()}
            await settled(redis, log, WANTED, 90)


SHORT = with_levels(
    entry(
        "short",
        [{"id": "all", "type": "stat", "query": {"metric": "load", "by": ["host"], "fn": ["avg", "p99"], "every": "50ms"}},
         {"id": "rate", "type": "stat", "query": {"metric": "bytes", "by": ["host"], "fn": "rate", "every": "50ms"}}],
        "20s",
    )
)  # fmt: skip


async def test_what_will_not_change_any_more_is_neither_held_nor_computed_again_and_comes_back_when_it_is_lost(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    """Ten minutes of log, of which the last three may still change."""
    coarse = {name: item for name, item in views(SHORT).items() if item.every_ms > 50}
    await registry.write_entry(redis, SHORT)
    chance = random.Random(4)
    await write_past(log, chance, 600, 10)
    async with aggregating(kafka, settings):
        await settled(redis, log, coarse, 90)
    versions = {name: await _versions(redis, name) for name in coarse}
    assert all(held.hot > 0 for held in [await read_hot(redis, name) for name in coarse] if held)
    async with aggregating(kafka, settings, "b"):
        await log.write(_points(chance, int(time.time() * 1000), 10))
        await settled(redis, log, coarse, 90)
    for name in coarse:
        held = await read_hot(redis, name)
        assert held is not None
        later = await _versions(redis, name)
        assert [later[bucket] for bucket in versions[name] if bucket < held.hot] == [
            version for bucket, version in versions[name].items() if bucket < held.hot
        ], "no row of what is cold was written again"
    await redis.delete(*(view_key(name, part) for name in coarse for part in PARTS))
    async with aggregating(kafka, settings, "c"):
        await settled(redis, log, coarse, 90)


async def _versions(redis: Redis, view: str) -> dict[int, list[int]]:
    """By bucket the versions that its rows were written with."""
    held = await read_range(redis, view, 0)
    assert held is not None
    return {bucket: rows["version"].tolist() for bucket, rows in held.rows.items()}


async def test_levels_of_a_dashboard_that_had_none_are_filled_from_the_past(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    await registry.write_entry(redis, EVERYTHING)
    chance = random.Random(3)
    await write_past(log, chance, 60)
    async with aggregating(kafka, settings):
        await settled(redis, log, views(EVERYTHING))
        await registry.write_entry(redis, DASHBOARD)
        await settled(redis, log, WANTED, 90)
    async with aggregating(kafka, settings, "b"):
        await log.write(_points(chance, int(time.time() * 1000), 10))
        await settled(redis, log, WANTED, 90)
