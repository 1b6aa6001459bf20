"""The aggregator on real servers: every cell is what a batch job over the log computes, whatever happens in between."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from services.aggregator.folding import Folding
from services.aggregator.landmark import is_log_of
from services.aggregator.service import Aggregator
from services.contract.names import SAMPLES_TOPIC
from services.transport import partials, registry
from services.transport.history import read_view
from services.transport.log import LogError, LogReader
from services.transport.settings import KafkaSettings, RedisSettings
from tests.kafka.server import Kafka, empty
from tests.pipeline.world import (
    PATIENCE_S,
    Log,
    Point,
    aggregating,
    beaten,
    entry,
    name_log,
    register,
    settled,
    until,
    writing,
)
from tests.servers import Broker, Valkey, running

ALL_FUNCTIONS = [
    "avg", "sum", "min", "max", "count", "last", "first", "delta", "stddev", "distinct", "p50", "p95", "p99", "p99.9",
]  # fmt: skip
EVERYTHING = entry(
    "everything",
    [
        {"id": "all", "type": "timeseries", "query": {"metric": "load", "by": ["host"], "fn": ALL_FUNCTIONS, "every": "1s"}},
        {
            "id": "each",
            "type": "stat",
            "query": {"metric": "load", "fn": ["avg", "max", "count"], "each": "last", "every": "2s"},
        },
        {
            "id": "each_first",
            "type": "stat",
            "query": {"metric": "load", "by": ["host"], "fn": ["sum", "stddev"], "each": "first"},
        },
        {
            "id": "cores",
            "type": "table",
            "query": {"metric": "load", "by": ["host"], "of": "core", "fn": ["distinct", "topk(2)"]},
        },
        {"id": "top", "type": "bar", "query": {"metric": "added", "of": "host", "fn": "topk(2)", "every": "2s"}},
        {
            "id": "sliding",
            "type": "timeseries",
            "query": {
                "metric": "load",
                "by": ["host"],
                "fn": ["avg", "delta", "stddev", "p90", "distinct"],
                "every": "500ms",
                "over": "3s",
            },
        },
        {"id": "sliding_rate", "type": "stat", "query": {"metric": "bytes", "fn": "rate", "every": "500ms", "over": "2s"}},
        {
            "id": "not",
            "type": "stat",
            "query": {
                "metric": "load",
                "where": {"host": "!~ h[01]", "core": {"!=": ["0", "1"]}},
                "by": ["host", "core"],
                "fn": "count",
            },
        },
        {"id": "rates", "type": "timeseries", "query": {"metric": "bytes", "by": ["host"], "fn": ["rate", "increase"]}},
        {"id": "adds", "type": "stat", "query": {"metric": "added", "fn": ["sum", "rate"], "every": "500ms"}},
        {
            "id": "ratio",
            "type": "timeseries",
            "queries": [
                {"id": "bad", "metric": "bytes", "where": {"code": "=~ 5.."}, "by": ["host"], "fn": "increase"},
                {"id": "all", "metric": "bytes", "by": ["host"], "fn": "increase"},
            ],
            "expr": "bad / all * 100",
        },
        {
            "id": "where",
            "type": "bar",
            "query": {"metric": "load", "where": {"host": ["h0", "h2"]}, "by": ["host"], "fn": "avg"},
        },
    ],
)


Servers = tuple[Valkey, Broker | Kafka]


@pytest.fixture(params=["tansu", "kafka"])
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Servers]:
    """An empty feed and an empty log, on either kind of broker."""
    with running(Valkey()) as valkey:
        if request.param == "kafka":
            shared: Kafka = request.getfixturevalue("kafka_server")
            await empty(shared)
            yield valkey, shared
        else:
            with running(Broker()) as broker:
                yield valkey, broker


@pytest.fixture
def valkey(servers: Servers) -> Valkey:
    return servers[0]


@pytest.fixture
def kafka(servers: Servers) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=servers[1].bootstrap)
    return settings if isinstance(servers[1], Kafka) else replace(settings, fetch_wait_ms=50)


def points(chance: random.Random, n: int, before_ms: int = 4_000) -> list[Point]:
    """Points of the last seconds, out of order, of every kind."""
    now = int(time.time() * 1000)
    found: list[Point] = []
    for _ in range(n):
        at, host = now - chance.randrange(before_ms), f"h{chance.randrange(3)}"
        found += [
            ("load", {"host": host, "core": str(chance.randrange(4))}, at, chance.uniform(-5, 5), "gauge"),
            ("bytes", {"host": host, "code": chance.choice(["200", "503"])}, at, chance.randrange(10_000), "counter"),
            ("added", {"host": host}, at, chance.randrange(5), "delta"),
            ("nobody.asks", {}, at, 1.0, "gauge"),
        ]
    return found


async def test_every_cell_of_every_function_is_what_a_batch_job_computes(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(1)
    async with aggregating(kafka, settings):
        for _ in range(20):
            await log.write(points(chance, 20), twice=chance.random() < 0.2)
        assert await settled(redis, log, wanted) > 200


async def test_an_aggregator_goes_on_where_another_stopped(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(2)
    for instance in ("a", "b", "b"):
        async with aggregating(kafka, settings, instance):
            await log.write(points(chance, 50))
            await settled(redis, log, wanted)
            await log.write(points(chance, 50))
    async with aggregating(kafka, settings):
        await settled(redis, log, wanted)


async def test_a_record_without_a_value_at_the_end_of_a_partition_is_passed_over(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    """By who folds it live, by a new dashboard that is folded from the past, and by who takes the partition over."""
    early = await register(redis, entry("early", [{"id": "a", "type": "stat", "query": {"metric": "load", "fn": "avg"}}]))
    chance = random.Random(7)

    def behind(aggregator: Aggregator) -> str:
        status = aggregator.status()
        partitions = status["partitions"]
        assert isinstance(partitions, dict)
        done = [item for item in partitions.values() if item["offset"] == item["end"] and not item["catching_up"]]
        return "" if len(done) == log.writer.partitions and status["lag"] == 0 else f"it stands at {status}"

    async with aggregating(kafka, settings) as aggregator:
        await log.write(points(chance, 50))
        await write_nothing(kafka, log.writer.partitions)
        await until(lambda: behind(aggregator))
        wanted = early | await register(redis, EVERYTHING)
        await settled(redis, log, wanted)
        await until(lambda: behind(aggregator))
    async with aggregating(kafka, settings, "b") as aggregator:
        await until(lambda: behind(aggregator))
        await log.write(points(chance, 50))
        await settled(redis, log, wanted)


async def test_a_log_is_known_again_whose_last_folded_record_is_gone(kafka: KafkaSettings, log: Log) -> None:
    """As after a compaction: nothing with a value is left there, or behind it."""
    await write_nothing(kafka, 1)
    questions = LogReader(kafka)
    try:
        assert await is_log_of(kafka, questions, 0, (0, 1))
        assert not await is_log_of(kafka, questions, 0, (1, 1))
    finally:
        await questions.stop()


async def write_nothing(kafka: KafkaSettings, partitions: int) -> None:
    """A record without a value at the end of each partition."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await producer.start()
    try:
        for partition in range(partitions):
            await producer.send_and_wait(SAMPLES_TOPIC, None, key=b"gone", partition=partition)
    finally:
        await producer.stop()


async def test_two_aggregators_share_the_partitions_and_the_views(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(3)
    async with aggregating(kafka, settings, "a") as first:
        await log.write(points(chance, 50))
        async with aggregating(kafka, settings, "b") as second:
            for _ in range(10):
                await log.write(points(chance, 20))

            def shared() -> str:
                shares = [set(service.status()["partitions"]) for service in (first, second)]  # type: ignore[call-overload]
                fair = shares[0].isdisjoint(shares[1]) and len(shares[0] | shares[1]) == 4
                return "" if fair else f"they fold {shares}"

            await until(shared)
            await settled(redis, log, wanted)
            await log.write(points(chance, 50))
            await settled(redis, log, wanted)
        await log.write(points(chance, 50))
        await settled(redis, log, wanted)


async def test_a_feed_that_lost_everything_is_filled_again_from_the_log(
    servers: Servers, kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    await register(redis, EVERYTHING)
    chance = random.Random(4)
    async with aggregating(kafka, settings):
        await log.write(points(chance, 100))
        servers[0].restart()
        await log.write(points(chance, 100))
        wanted = await register(redis, EVERYTHING)
        await settled(redis, log, wanted)


async def test_a_new_dashboard_is_filled_from_the_past_of_the_log(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    early = await register(redis, entry("early", [{"id": "a", "type": "stat", "query": {"metric": "load", "fn": "avg"}}]))
    chance = random.Random(5)
    async with aggregating(kafka, settings):
        await log.write(points(chance, 100, 30_000))
        await settled(redis, log, early)
        wanted = await register(redis, EVERYTHING)
        await log.write(points(chance, 100))
        await settled(redis, log, early | wanted)
        longer = await register(
            redis, entry("longer", [{"id": "a", "type": "stat", "query": {"metric": "load", "fn": "avg"}}], "10m")
        )
        await log.write(points(chance, 10))
        await settled(redis, log, early | wanted | longer)


async def test_a_log_that_began_anew_is_a_new_lineage_and_old_cells_stay(
    servers: Servers, kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(6)
    async with aggregating(kafka, settings):
        await log.write([point for point in points(chance, 100, 60_000) if point[4] != "counter"])
        await settled(redis, log, wanted)
        servers[1].restart()
        async with writing(kafka) as again:
            again.instance = 8
            # Sums over both logs are compared as one log whose later half came in a fifth to eighth partition.
            await again.write([point for point in points(chance, 100) if point[4] != "counter"])
            log.written |= {partition + 4: records for partition, records in again.written.items()}
            await settled(redis, log, wanted)


async def test_a_dashboard_that_is_found_after_the_log_began_anew_knows_how_its_counters_ended(
    servers: Servers, kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    """What a counter grew by between its last sample of the one log and its first of the next belongs to the next, however late it is asked for."""
    counted = entry(
        "counted", [{"id": "grown", "type": "stat", "query": {"metric": "bytes", "by": ["host"], "fn": "increase"}}]
    )
    (view,) = await register(redis, counted)
    now = int(time.time() * 1000)
    async with aggregating(kafka, settings) as aggregator:
        await log.write([("bytes", {"host": host}, now - 9_000, 100.0, "counter") for host in "abcdef"])
        await until(lambda: "" if aggregator.status()["lag"] == 0 else "not all is folded")
        await beaten(redis, "a")
    await registry.delete_entry(redis, "counted")
    servers[1].restart()
    async with writing(kafka) as again, aggregating(kafka, settings):
        again.instance = 8
        await again.write([("bytes", {"host": host}, now - 4_000, 150.0, "counter") for host in "abcdef"])
        await beaten(redis, "a")
        await register(redis, counted)
        deadline = time.monotonic() + PATIENCE_S
        while (found := await sums(redis, view)) != {host: pytest.approx(50.0) for host in "abcdef"}:
            assert time.monotonic() < deadline, f"grown by {found}"
            await asyncio.sleep(0.05)


async def sums(redis: Redis, view: str) -> dict[str, float]:
    """Of all cells of a view, by host."""
    found: dict[str, float] = {}
    held = await read_view(redis, view)
    for rows in held.rows.values() if held else ():
        for group, _, value in rows.tolist():
            host = held.groups[group]["host"] if held else ""
            found[host] = found.get(host, 0.0) + value
    return found


async def test_old_cells_stay_when_a_log_begins_anew_after_the_feed_lost_everything(
    servers: Servers, kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    """A bucket that both logs have samples of shows whether the first one's still count."""
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(16)
    half = [point for point in points(chance, 100, 60_000) if point[4] != "counter"]
    async with aggregating(kafka, settings, "a"):
        await log.write(half)
        await settled(redis, log, wanted)
        await redis.flushall()
        await register(redis, EVERYTHING)
        await settled(redis, log, wanted)
        await beaten(redis, "a")
        servers[1].restart()
        async with writing(kafka) as again:
            again.instance = 8
            await again.write(half)
            log.written |= {partition + 4: records for partition, records in again.written.items()}
            await settled(redis, log, wanted)


@pytest.mark.parametrize("servers", ["kafka"], indirect=True)
async def test_a_broker_that_was_killed_and_kept_its_data_costs_nothing(
    servers: Servers, kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    broker = servers[1]
    assert isinstance(broker, Kafka)
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(7)
    async with aggregating(kafka, settings) as aggregator:
        await log.write(points(chance, 100))
        await settled(redis, log, wanted)
        await log.write(points(chance, 100))
        broker.kill()
        await until(lambda: "" if aggregator.readiness().startswith("log: ") else "it does not say that the log is away")
        broker.restart(keep=True)
        async with writing(kafka) as again:
            again.instance = 8
            again.written = log.written
            await again.write(points(chance, 100))
            await settled(redis, again, wanted)
        assert aggregator.status()["lineage"] == log.writer.lineage


@pytest.mark.parametrize("servers", ["tansu"], indirect=True)
async def test_what_an_ingestor_writes_again_to_the_next_log_counts_once(
    servers: Servers, kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(8)
    async with aggregating(kafka, settings):
        await log.write([point for point in points(chance, 50) if point[4] != "counter"])
        await settled(redis, log, wanted)
        servers[1].restart()
        async with writing(kafka) as again:
            for partition, records in log.written.items():
                await again.writer.append(partition, records[-1])
            # A record that is new: when its cells are there, those before it in its partition have been read.
            again.instance, again.written = 8, {}
            await again.write([point for point in points(chance, 50) if point[4] != "counter"])
            log.written |= {partition + 4: new for partition, new in again.written.items()}
            await settled(redis, log, wanted)


@pytest.mark.parametrize("servers", ["tansu"], indirect=True)
async def test_a_log_that_was_made_again_under_its_old_name_is_found_out_and_folded_anew(
    servers: Servers, kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    chance = random.Random(9)
    async with aggregating(kafka, settings):
        await log.write(points(chance, 50))
        await settled(redis, log, wanted)
    servers[1].restart()
    await name_log(kafka, log.writer.lineage)
    async with writing(kafka) as again:
        assert again.writer.lineage == log.writer.lineage
        await again.write(points(chance, 50))
        async with aggregating(kafka, settings):
            # What only the log before had stays in the history until it is out of the window.
            await settled(redis, again, wanted, others=True)


@pytest.mark.parametrize("servers", ["tansu"], indirect=True)
async def test_partials_of_a_log_that_is_over_are_not_folded_anew_from_the_next_one(
    servers: Servers, kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, EVERYTHING)
    async with aggregating(kafka, settings):
        await log.write(points(random.Random(10), 50))
        await settled(redis, log, wanted)
    servers[1].restart()
    async with writing(kafka) as again:
        assert again.writer.lineage != log.writer.lineage
        left = await partials.load(redis, log.writer.lineage, 0)
        assert left is not None
        folding = Folding(redis, kafka, log.writer.lineage, log.writer.partitions, ())
        with pytest.raises(LogError, match=again.writer.lineage):
            await folding.want(range(log.writer.partitions), left.config)
        await folding.stop()
