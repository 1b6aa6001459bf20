"""Aggregators that come and go under load: every cell stays right, and what a viewer has assembled is what lies in the history."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka.protocol.admin import CreatePartitionsRequest
from redis.asyncio import Redis

from services.aggregator.service import Aggregator
from services.aggregator.settings import AggregatorSettings
from services.contract.names import SAMPLES_TOPIC
from services.runtime.service import StartupError
from services.transport.history import read_view
from services.transport.log_wire import Wire
from services.transport.settings import KafkaSettings, RedisSettings
from tests.fleet import Fleet
from tests.kafka.server import Kafka, empty
from tests.pipeline.gateway_world import Screen, serving, viewing
from tests.pipeline.test_aggregator import EVERYTHING, points
from tests.pipeline.world import Log, Point, aggregating, register, settled, until, writing
from tests.servers import Valkey, running


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running(Valkey()) as server:
        yield server


@pytest.fixture
def fleet(valkey: Valkey, kafka: KafkaSettings) -> Iterator[Fleet]:
    environ = {
        "REDIS_URL": valkey.url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TIDEBOARD_KAFKA_FETCH_WAIT_MS": "50",
    }
    with Fleet(**environ) as started:
        yield started


@contextlib.asynccontextmanager
async def loaded(log: Log) -> AsyncIterator[None]:
    """Points come all the time."""

    async def write() -> None:
        chance = random.Random(1)
        while True:
            await log.write(points(chance, 10), twice=chance.random() < 0.1)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(write())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def folding(fleet: Fleet, names: str, partitions: int = 4) -> None:
    """Wait until these aggregators fold all partitions between them, each its own."""

    def shared() -> str:
        shares = {name: set(fleet.status(name)["partitions"]) for name in names}
        once = sum(map(len, shares.values())) == partitions
        return "" if once and len(set.union(*shares.values())) == partitions else f"they fold {shares}"

    await until(lambda: shared(), 30)


async def test_aggregators_come_and_go_under_load_and_every_cell_stays_right(
    fleet: Fleet, kafka: KafkaSettings, redis: Redis, valkey: Valkey
) -> None:
    wanted = await register(redis, EVERYTHING)
    async with writing(kafka) as log, serving(valkey.url) as gateway, viewing(gateway.port, EVERYTHING.name) as screen:
        await asyncio.to_thread(fleet.start, "a", "aggregator")
        hearing = asyncio.create_task(hear(screen))
        async with loaded(log):
            await asyncio.to_thread(fleet.start, "b", "aggregator")
            await asyncio.to_thread(fleet.start, "c", "aggregator")
            await folding(fleet, "abc")
            await asyncio.to_thread(fleet.kill, "a")
            await folding(fleet, "bc")
            assert await asyncio.to_thread(fleet.stop, "c") == 0
            await folding(fleet, "b")
        assert await settled(redis, log, wanted, 30) > 200
        for view in wanted:
            held = await read_view(redis, view)
            assert held is not None
            table = {start: {group: value for group, _, value in rows.tolist()} for start, rows in held.rows.items()}
            await until(lambda table=table, view=view: _difference(table, screen.table(view)))  # type: ignore[misc]
        hearing.cancel()
        await asyncio.wait([hearing])


async def test_partitions_that_are_added_while_everything_runs_are_written_folded_and_seen(
    kafka_server: Kafka, valkey: Valkey, redis: Redis
) -> None:
    """Not counters: between its last sample in one partition and its first in another, nobody knows what one grew by."""
    await empty(kafka_server)
    kafka = KafkaSettings(bootstrap_servers=kafka_server.bootstrap, partitions=2)
    feed_settings = RedisSettings(url=valkey.url)
    chance = random.Random(3)
    wanted = await register(redis, EVERYTHING)
    async with writing(kafka) as log, aggregating(kafka, feed_settings, "a") as a, aggregating(kafka, feed_settings, "b") as b:
        await log.write(uncounted(chance))
        await settled(redis, log, wanted)
        before = a.status()["lineage"]
        await grow(kafka, 5)
        await until(lambda: "" if log.writer.fault else "the writer does not notice")
        async with writing(kafka) as again:
            assert again.writer.partitions == 5
            again.instance = 8
            again.written = log.written
            for _ in range(3):
                await again.write(uncounted(chance))
            await settled(redis, again, wanted)
            await until(lambda: "" if {*folded(a), *folded(b)} == set("01234") else f"they fold {folded(a)} and {folded(b)}")
            assert a.status()["lineage"] == before
            kafka_server.restart(keep=True)
            async with aggregating(kafka, feed_settings, "c"), writing(kafka) as third:
                third.instance, third.written = 9, again.written
                await third.write(uncounted(chance))
                await settled(redis, third, wanted, 30)


async def test_a_log_that_keeps_less_than_dashboards_need_is_refused_at_the_start(
    kafka_server: Kafka, valkey: Valkey, redis: Redis
) -> None:
    await empty(kafka_server)
    kafka = KafkaSettings(bootstrap_servers=kafka_server.bootstrap, retention_ms=600_000)
    await register(redis, EVERYTHING)
    async with writing(kafka):
        refused = Aggregator(AggregatorSettings(instance="a"), kafka, RedisSettings(url=valkey.url))
        with pytest.raises(StartupError, match=r"keeps records for 10 min \(retention.ms=600000\)"):
            await asyncio.wait_for(refused.run(), 30)
        await refused.stop()


def uncounted(chance: random.Random) -> list[Point]:
    return [point for point in points(chance, 40) if point[4] != "counter"]


def folded(aggregator: Aggregator) -> set[str]:
    return set(aggregator.status()["partitions"])  # type: ignore[call-overload,no-any-return]


async def grow(kafka: KafkaSettings, partitions: int) -> None:
    """Give the samples topic more partitions, as an operator of Kafka does."""
    wire = Wire(kafka)
    await wire.open()
    request = CreatePartitionsRequest([(SAMPLES_TOPIC, (partitions, None))], 5_000, False)
    answer = await wire.ask(wire.any_node(), request)
    assert [error for _, error, _ in answer.topic_errors] == [0], answer
    await wire.close()


async def hear(screen: Screen) -> None:
    while True:
        await screen.hear()


def _difference(held: dict[int, dict[int, float]], seen: dict[int, dict[int, float | None]]) -> str:
    missing = {
        (start, group): value
        for start, row in held.items()
        for group, value in row.items()
        if value == value and seen.get(start, {}).get(group) != value
    }
    return f"a viewer does not see {list(missing.items())[:3]}" if missing else ""
