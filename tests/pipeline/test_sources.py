"""Sources on real brokers: others write their topics, bridges crash and share, and every sample is on the dashboard once."""

import asyncio
import collections
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from services.contract.names import DEAD_LETTER_TOPIC
from services.contract.registry import VERSION, Entry
from services.transport.history import read_view
from services.transport.registry import SOURCE_SHELF, write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.fleet import Fleet
from tests.kafka.server import Kafka, empty
from tests.pipeline.world import aggregating, entry, feed, register
from tests.servers import Broker, Valkey, running

TOPIC = "shop.orders"
PATIENCE_S = 60.0
HOSTS = 5
ORDERS = {"metric": "orders", "kind": "delta", "value": "$.count", "time": "$.at", "labels": {"host": "$.host"}}
BOARD = entry(
    "orders", [{"id": "sum", "type": "timeseries", "query": {"metric": "orders", "by": ["host"], "fn": ["sum", "count"]}}]
)

Cells = dict[tuple[str, int], float]


@pytest.fixture(params=["tansu", "kafka"])
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Valkey, Broker | Kafka]]:
    """An empty feed and an empty log, on either kind of broker."""
    with running(Valkey()) as valkey:
        if request.param == "kafka":
            shared: Kafka = request.getfixturevalue("kafka_server")
            await empty(shared, TOPIC)
            yield valkey, shared
        else:
            with running(Broker()) as broker:
                yield valkey, broker


@dataclass
class World:
    """A topic of others, ingestors as processes, an aggregator, and what there should be."""

    valkey: Valkey
    kafka: KafkaSettings
    redis: Redis
    fleet: Fleet
    count: dict[tuple[str, int], list[float]] = field(default_factory=lambda: collections.defaultdict(list))

    async def make(self, partitions: int = 3, topic: str = TOPIC) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap_servers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, partitions, 1)])
        finally:
            await admin.close()

    async def register(self, name: str = "orders", **spec: Any) -> None:
        document = {
            "apiVersion": "tideboard.dev/v1alpha1", "kind": "Source", "metadata": {"name": name},
            "spec": {"topic": TOPIC, "format": "json", "from": "earliest", "sample": ORDERS} | spec,
        }  # fmt: skip
        await write_entry(self.redis, Entry(VERSION, name, str(hash(str(document))), document, "test"), shelf=SOURCE_SHELF)

    def order(self, chance: random.Random, at: int | None = None) -> bytes:
        """An order, counted."""
        at = at or int(time.time() * 1000) - chance.randrange(3_000)
        host, number = f"h{chance.randrange(HOSTS)}", chance.randrange(1, 9)
        self.count[host, at // 1000 * 1000].append(number)
        return json.dumps({"count": number, "at": at, "host": host}).encode()

    def expected(self) -> tuple[Cells, Cells]:
        """Sums and counts."""
        return {at: sum(held) for at, held in self.count.items()}, {at: float(len(held)) for at, held in self.count.items()}

    async def settled(self) -> int:
        """Wait until the dashboard shows what was produced, no more and no less; how many cells that are."""
        views = await register(self.redis, BOARD)
        by_fn = {view.inputs[0].fn: name for name, view in views.items()}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            wanted = dict(zip(("sum", "count"), self.expected(), strict=True))
            found = {fn: await cells(self.redis, name) for fn, name in by_fn.items()}
            if found == wanted:
                return sum(map(len, wanted.values()))
            counts = {fn: (sum(held.values()), sum(wanted[fn].values())) for fn, held in found.items()}
            assert time.monotonic() < deadline, (
                f"the cells are not what was produced (found, wanted): {counts}; {self.statuses()}"
            )
            await asyncio.sleep(0.2)

    def ingestors(self, *names: str) -> None:
        for name in names:
            self.fleet.launch(name, "ingestor", {"TIDEBOARD_INGESTOR_PORT": "0"})

    def status(self, name: str) -> Any:
        return self.fleet.status(name)["sources"]

    def statuses(self) -> dict[str, Any]:
        found = {}
        for name in ("a", "b"):
            try:
                found[name] = self.status(name)
            except Exception as error:
                found[name] = repr(error)
        return found

    async def until(self, name: str, holds: Any, why: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                status = await asyncio.to_thread(self.status, name)
                if holds(status):
                    return status
            except (OSError, KeyError):
                status = None
            assert time.monotonic() < deadline, f"{why}: {status}"
            await asyncio.sleep(0.1)


@pytest.fixture
async def world(servers: tuple[Valkey, Broker | Kafka]) -> AsyncIterator[World]:
    valkey, broker = servers
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
    kafka = kafka if isinstance(broker, Kafka) else replace(kafka, fetch_wait_ms=50)
    fleet = Fleet(
        KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap, REDIS_URL=valkey.url, TIDEBOARD_KAFKA_FETCH_WAIT_MS=str(kafka.fetch_wait_ms)
    )
    async with feed(RedisSettings(url=valkey.url)) as redis:
        with fleet:
            found = World(valkey, kafka, redis, fleet)
            await register(redis, BOARD)
            async with aggregating(kafka, RedisSettings(url=valkey.url)):
                yield found


async def cells(redis: Redis, view: str) -> Cells:
    held = await read_view(redis, view)
    found: Cells = {}
    for bucket, rows in held.rows.items() if held else ():
        for group, _, value in rows.tolist():
            if held and value == value:
                found[held.groups[group]["host"], bucket] = value
    return found


async def produce(world: World, values: Sequence[tuple[int, bytes | None]], **options: Any) -> None:
    """Records into partitions, as any application would."""
    producer = AIOKafkaProducer(bootstrap_servers=world.kafka.bootstrap_servers, acks="all", linger_ms=2, **options)
    await producer.start()
    try:
        for future in [await producer.send(TOPIC, value, partition=partition) for partition, value in values]:
            await future
    finally:
        await producer.stop()


async def letters(world: World, count: int) -> list[tuple[bytes | None, dict[str, str]]]:
    """The dead letters, as soon as there are so many."""
    consumer = AIOKafkaConsumer(
        DEAD_LETTER_TOPIC, bootstrap_servers=world.kafka.bootstrap_servers, auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:
        found: list[tuple[bytes | None, dict[str, str]]] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [(it.value, {name: value.decode() for name, value in it.headers}) for it in records]
        return found
    finally:
        await consumer.stop()


async def test_every_record_counts_once_though_bridges_are_killed_in_the_middle_again_and_again(world: World) -> None:
    chance = random.Random(1)
    await world.make()
    await world.register()
    world.ingestors("a")
    for _ in range(4):
        for _ in range(6):
            await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(300)])
            await asyncio.sleep(chance.random() * 0.3)
        await world.until("a", lambda status: status["sources"]["orders"]["samples"] > 0, "it reads nothing")
        await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(1_500)])
        await asyncio.sleep(chance.random() * 0.2)
        await asyncio.to_thread(world.fleet.kill, "a")
        world.ingestors("a")
    assert await world.settled() > 2 * HOSTS
