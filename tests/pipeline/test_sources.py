"""Sources on real brokers: others write their topics, bridges crash and share, and every sample is on the dashboard once."""

import asyncio
import collections
import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from redis.asyncio import Redis

from services.contract.batch import Batch, encode
from services.contract.names import DEAD_LETTER_TOPIC, SAMPLES_TOPIC
from services.contract.registry import VERSION, Entry
from services.contract.series import Kind, series_key
from services.ingestor.sources.placing import SETTLE_S
from services.local.embedded import free_port
from services.transport.history import read_view
from services.transport.log import LogReader
from services.transport.registry import SOURCE_SHELF, delete_entry, write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.fleet import Fleet
from tests.kafka.server import Kafka, empty
from tests.pipeline.world import aggregating, entry, feed, register
from tests.servers import Broker, Valkey, running

TOPIC = "shop.orders"
OTHER = "shop.others"
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
            await empty(shared, TOPIC, OTHER, *(f"jobs.{name}" for name in ("mapped", "json", "ndjson", "tideboard")))
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

    def order_to(self, name: str, order: str) -> None:
        """hold or resume, as whoever replaces the broker says."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.fleet.admin(name)}/{order}", method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200

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


def all_read(source: Any) -> bool:
    return bool(source["partitions"]) and all(it["lag"] == 0 for it in source["partitions"].values())


async def cells(redis: Redis, view: str) -> Cells:
    held = await read_view(redis, view)
    found: Cells = {}
    for bucket, rows in held.rows.items() if held else ():
        for group, _, value in rows.tolist():
            if held and value == value:
                found[held.groups[group]["host"], bucket] = value
    return found


async def produce(world: World, values: Sequence[tuple[int, bytes | None]], topic: str = TOPIC, **options: Any) -> None:
    """Records into partitions, as any application would."""
    producer = AIOKafkaProducer(bootstrap_servers=world.kafka.bootstrap_servers, acks="all", linger_ms=2, **options)
    await producer.start()
    try:
        for future in [await producer.send(topic, value, b"key", partition) for partition, value in values]:
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


async def test_two_ingestors_share_the_partitions_and_one_takes_over_what_the_other_leaves(world: World) -> None:
    chance = random.Random(2)
    await world.make(partitions=6)
    await world.register(keyAffinity=True)
    world.ingestors("a", "b")

    def shared(status: Any) -> bool:
        return len(status["members"]) == 2 and 0 < len(status["sources"]["orders"]["partitions"]) < 6

    for name in ("a", "b"):
        await world.until(name, shared, "the partitions are not shared")
    for _ in range(5):
        await produce(world, [(chance.randrange(6), world.order(chance)) for _ in range(400)])
    await asyncio.to_thread(world.fleet.kill, "a")
    await produce(world, [(chance.randrange(6), world.order(chance)) for _ in range(400)])
    await world.until("b", lambda status: len(status["sources"]["orders"]["partitions"]) == 6, "it does not take over")
    world.ingestors("a")
    await produce(world, [(chance.randrange(6), world.order(chance)) for _ in range(400)])
    await world.until("a", shared, "it gets nothing back")
    assert await asyncio.to_thread(world.fleet.stop, "b") == 0
    await world.until("a", lambda status: len(status["sources"]["orders"]["partitions"]) == 6, "it does not take over")
    await produce(world, [(chance.randrange(6), world.order(chance)) for _ in range(400)])
    assert await world.settled()


async def test_poison_goes_to_the_dead_letters_with_bytes_position_and_reason_and_the_rest_counts(world: World) -> None:
    chance = random.Random(3)
    await world.make()
    await world.register()
    world.fleet.launch("a", "ingestor", {"TIDEBOARD_INGESTOR_PORT": "0", "TIDEBOARD_INGESTOR_DEAD_LETTERS": "3"})
    bad = json.dumps({"count": "many", "host": "h0", "at": int(time.time() * 1000)}).encode()
    poison = [b"hello", b"\xff\xfe", b"", b'{"count": 1', b"x" * 20]
    values = [(0, world.order(chance)), *((0, value) for value in poison), (0, None), (0, bad), (0, world.order(chance))]
    await produce(world, [*values, *((1, world.order(chance)) for _ in range(20))])
    found = await letters(world, 3)
    assert [value for value, _ in found] == poison[:3]
    assert [(it["topic"], it["partition"], it["offset"], it["source"]) for _, it in found] == [
        (TOPIC, "0", str(offset), "orders") for offset in (1, 2, 3)
    ]
    assert all(it["reason"].startswith("JSON is malformed") for _, it in found)
    await world.settled()
    status = await world.until("a", lambda status: all_read(status["sources"]["orders"]), "it lags behind")
    told = status["sources"]["orders"]
    assert (told["records"], told["samples"], told["poison"]["count"]) == (28, 22, 5)
    assert told["dead_letters"] == {"written": 3, "withheld": 2}
    assert told["rejected"]["value"]["count"] == 1
    assert "value at $.count is the string 'many'" in told["rejected"]["value"]["last"]
    assert {p: it["offset"] for p, it in told["partitions"].items()} == {"0": 9, "1": 20, "2": 0}


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_are_read_whatever_compression_their_producer_uses(world: World, codec: str) -> None:
    chance = random.Random(4)
    await world.make()
    await world.register()
    world.ingestors("a")
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(200)], compression_type=codec)
    assert await world.settled()


@pytest.mark.parametrize("servers", ["kafka"], indirect=True)
async def test_what_a_transaction_aborts_does_not_count(world: World) -> None:
    chance = random.Random(5)
    await world.make()
    await world.register()
    world.ingestors("a")
    producer = AIOKafkaProducer(bootstrap_servers=world.kafka.bootstrap_servers, transactional_id="shop")
    await producer.start()
    for turn in range(6):
        await producer.begin_transaction()
        for _ in range(20):
            partition = chance.randrange(3)
            value = world.order(chance) if turn % 2 else b'{"count": 1000, "host": "never"}'
            await producer.send_and_wait(TOPIC, value, partition=partition)
        await (producer.commit_transaction() if turn % 2 else producer.abort_transaction())
    await producer.stop()
    await world.settled()
    await world.until("a", lambda status: all_read(status["sources"]["orders"]), "it lags behind")


async def test_a_topic_that_is_made_later_is_read_from_its_start_and_one_that_is_there_from_where_the_document_says(
    world: World,
) -> None:
    chance = random.Random(6)
    await world.register(**{"from": "latest"})
    world.ingestors("a")
    await world.until("a", lambda status: "there is no topic" in status["sources"]["orders"]["state"], "it does not say so")
    await world.make()
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(50)])
    await world.settled()
    await world.register(name="late", **{"from": "latest"})
    status = await world.until("a", lambda status: all_read(status["sources"]["late"]), "it does not begin at the end")
    assert status["sources"]["late"]["records"] == 0


async def test_a_topic_that_is_made_again_is_another_one_and_is_read_from_its_start(world: World) -> None:
    chance = random.Random(7)
    await world.make()
    await world.register()
    world.ingestors("a")
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(300)])
    await world.settled()
    await drop(world, TOPIC)
    await world.make()
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(60)])
    await world.settled()


async def drop(world: World, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        async with asyncio.timeout(PATIENCE_S):
            while topic in await admin.list_topics():  # noqa: ASYNC110, the broker hears of it from the controller
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def test_reading_goes_on_while_redis_is_away_and_http_does_not_notice(world: World) -> None:
    chance = random.Random(8)
    await world.make()
    await world.register()
    world.ingestors("a")
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(50)])
    await world.settled()
    world.valkey.kill()
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(50)])
    status = await world.until(
        "a", lambda status: status["feed"] != "ok" and status["sources"]["orders"]["samples"] == 100, "it stops reading"
    )
    assert status["sources"]["orders"]["fault"] == ""
    assert world.fleet.ready("a")
    world.valkey.start()
    await world.register()
    await register(world.redis, BOARD)
    await world.until("a", lambda status: status["feed"] == "ok", "it does not find Redis again")
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(50)])
    await world.settled()


@pytest.mark.parametrize("servers", ["kafka"], indirect=True)
async def test_a_broker_that_is_killed_and_keeps_its_data_costs_nothing(
    world: World, servers: tuple[Valkey, Broker | Kafka]
) -> None:
    chance = random.Random(9)
    await world.make()
    await world.register()
    world.ingestors("a", "b")
    broker = servers[1]
    assert isinstance(broker, Kafka)
    for _ in range(2):
        await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(2_000)])
        broker.restart(keep=True)  # not in a thread: the broker would end with it
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(200)])
    assert await world.settled()


async def test_while_the_ingestor_is_held_nothing_is_read_and_then_everything(world: World) -> None:
    chance = random.Random(10)
    await world.make()
    await world.register()
    world.ingestors("a")
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(50)])
    await world.settled()
    await asyncio.to_thread(world.order_to, "a", "hold")
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(200)])
    status = await world.until("a", lambda status: status["sources"]["orders"]["state"] == "held", "it is not held")
    assert status["sources"]["orders"]["samples"] == 50
    await asyncio.to_thread(world.order_to, "a", "resume")
    await world.settled()


async def test_a_changed_document_is_in_force_at_once_and_goes_on_where_the_one_before_was(world: World) -> None:
    chance = random.Random(11)
    await world.make()
    await world.register(sample=ORDERS | {"metric": "others"})
    world.ingestors("a")
    await produce(world, [(chance.randrange(3), b'{"count": 1, "host": "h0"}') for _ in range(50)])
    await world.until("a", lambda status: status["sources"]["orders"]["samples"] == 50, "it reads nothing")
    await world.register()
    await world.until(
        "a",
        lambda status: status["sources"]["orders"]["partitions"] and not status["sources"]["orders"]["samples"],
        "it is not in force",
    )
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(50)])
    await world.settled()
    await world.register(format="avro")
    status = await world.until("a", lambda status: "orders" in status["broken"], "it is not told that it is broken")
    assert status["sources"] == {}


async def grow(world: World, partitions: int) -> None:
    """More partitions for our own topic, as with Kafka's own tools."""
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_partitions({SAMPLES_TOPIC: NewPartitions(partitions)})
    finally:
        await admin.close()


async def ends(world: World, partitions: Sequence[int]) -> dict[int, int]:
    reader = LogReader(world.kafka)
    try:
        return await reader.end_offsets(partitions)
    finally:
        await reader.stop()


@pytest.mark.parametrize("servers", ["kafka"], indirect=True)
async def test_partitions_that_are_added_while_bridges_are_killed_and_sleep_make_nothing_count_twice(world: World) -> None:
    chance = random.Random(12)
    await world.make()
    await world.register()
    world.ingestors("a", "b")
    await world.until("a", lambda status: len(status["members"]) == 2, "they do not know of each other")

    async def stream(times: int, count: int = 300) -> None:
        for _ in range(times):
            await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(count)])
            await asyncio.sleep(chance.random() * 0.2)

    for partitions in (7, 11):
        await stream(5)
        await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(3_000)])
        await asyncio.sleep(chance.random() * 0.2)
        world.fleet.send("b", signal.SIGSTOP)
        await asyncio.to_thread(world.fleet.kill, "a")
        await grow(world, partitions)
        world.ingestors("a")
        await stream(10)
        await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(3_000)])
        await asyncio.to_thread(world.fleet.kill, "a")
        world.ingestors("a")
        world.fleet.send("b", signal.SIGCONT)
        await stream(10)
        deadline = time.monotonic() + PATIENCE_S
        while not any((await ends(world, range(partitions - 3, partitions))).values()):
            assert time.monotonic() < deadline, f"the new partitions are not used: {world.statuses()}"
            await stream(1, 20)
        await asyncio.to_thread(world.fleet.kill, "a")
        world.ingestors("a")
        await stream(3)
    assert await world.settled() > 2 * HOSTS


@pytest.mark.parametrize("servers", ["kafka"], indirect=True)
async def test_partitions_that_are_added_while_redis_hangs_and_kafka_is_killed_make_nothing_count_twice(
    world: World, servers: tuple[Valkey, Broker | Kafka]
) -> None:
    chance, broker = random.Random(14), servers[1]
    assert isinstance(broker, Kafka)
    await world.make()
    await world.register()
    world.ingestors("a", "b")
    await world.until("a", lambda status: len(status["members"]) == 2, "they do not know of each other")

    async def stream(times: int) -> None:
        for _ in range(times):
            await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(300)])
            await asyncio.sleep(chance.random() * 0.2)

    await stream(5)
    os.kill(world.valkey.pid, signal.SIGSTOP)
    try:
        await stream(5)
        await grow(world, 7)
        await stream(5)
        await asyncio.sleep(8)
        broker.restart(keep=True)  # not in a thread: the broker would end with it
        await stream(5)
        await asyncio.sleep(SETTLE_S - 8)
    finally:
        os.kill(world.valkey.pid, signal.SIGCONT)
    await stream(5)
    await asyncio.to_thread(world.fleet.kill, "a")
    await stream(5)
    world.ingestors("a")
    await asyncio.to_thread(world.fleet.kill, "b")
    deadline = time.monotonic() + PATIENCE_S
    while not any((await ends(world, range(4, 7))).values()):
        assert time.monotonic() < deadline, f"the new partitions are not used: {world.statuses()}"
        await stream(1)
    assert await world.settled() > 2 * HOSTS


def counted(host: str, at: int) -> list[dict[str, Any]]:
    """A counter as any producer tells of it: its first sample has a start, then it grows, and then it began anew, higher than before."""
    told = [(0, 40, -4_000), (2_000, 50, -4_000), (4_000, 70, 3_000)]
    base = {"metric": "jobs", "kind": "counter", "labels": {"host": host}}
    return [base | {"value": value, "time": at + after, "start": at + since} for after, value, since in told]


def as_batch(samples: Sequence[dict[str, Any]]) -> bytes:
    """One record as another Tideboard writes it."""
    number = len(samples)
    return encode(
        Batch(
            instance=9, sequence=1, ingest_ms=samples[-1]["time"], keys=[series_key("jobs", samples[0]["labels"])],
            kinds=np.array([Kind.counter], np.uint8), series=np.zeros(number, np.uint32), times=np.array([it["time"] for it in samples]),
            values=np.array([it["value"] for it in samples], np.float64), starts=np.array([it["start"] for it in samples]),
        )
    )  # fmt: skip


async def test_counters_with_a_start_count_from_there_whatever_format_they_come_in_as_over_http(world: World) -> None:
    at = int(time.time() * 1000) // 1000 * 1000 - 20_000
    board = entry(
        "jobs",
        [{"id": "grown", "type": "timeseries", "query": {"metric": "jobs", "by": ["host"], "fn": "increase", "every": "1s"}}],
    )
    (view,) = await register(world.redis, board)
    mapping = {
        "metric": "jobs", "kind": "counter", "value": "$.n", "time": "$.t", "start": "$.began", "timeUnit": "s", "labels": {"host": "$.h"},
    }  # fmt: skip
    mapped = [{"n": it["value"], "t": it["time"] / 1000, "began": it["start"] / 1000, "h": "mapped"} for it in counted("", at)]
    topics = {
        "mapped": [json.dumps(it).encode() for it in mapped],
        "json": [json.dumps(counted("json", at)).encode()],
        "ndjson": [b"\n".join(json.dumps(it).encode() for it in counted("ndjson", at))],
        "tideboard": [as_batch(counted("tideboard", at))],
    }
    own: dict[str, dict[str, Any]] = {"mapped": {"format": "json", "sample": mapping}}
    for name, values in topics.items():
        await world.make(1, f"jobs.{name}")
        await world.register(name, **{"topic": f"jobs.{name}", "format": name, "sample": None} | own.get(name, {}))
        await produce(world, [(0, value) for value in values], topic=f"jobs.{name}")
    port = free_port()
    await asyncio.to_thread(world.fleet.start, "a", "ingestor", {"TIDEBOARD_INGESTOR_PORT": str(port)})
    await asyncio.to_thread(post, port, counted("http", at))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found: dict[str, dict[int, float]] = {}
        for (host, bucket), value in (await cells(world.redis, view)).items():
            found.setdefault(host, {})[bucket - at] = value
        if found.keys() == {"http", *topics} and all(cells == found["http"] for cells in found.values()):
            break
        assert time.monotonic() < deadline, f"{found}; {world.statuses()}"
        await asyncio.sleep(0.1)
    assert sum(found["http"].values()) == pytest.approx(40 + 10 + 70)
    assert found["http"][-4_000] == pytest.approx(10), "the first sample says nothing of what was before it"


def post(port: int, samples: Sequence[dict[str, Any]]) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/samples", json.dumps(samples).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert json.load(answer)["rejected"] == 0


async def test_a_source_that_is_removed_and_comes_back_goes_on_where_it_was_also_after_it_read_another_topic(
    world: World,
) -> None:
    chance = random.Random(13)
    await world.make()
    await world.make(2, OTHER)
    await world.register()
    world.ingestors("a", "b")
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(500)])
    await world.settled()
    await delete_entry(world.redis, "orders", SOURCE_SHELF)
    for name in ("a", "b"):
        await world.until(name, lambda status: status["sources"] == {}, "it is still read")
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(100)])
    await produce(world, [(chance.randrange(2), world.order(chance)) for _ in range(100)], topic=OTHER)
    await world.register(topic=OTHER)
    await world.until("a", lambda status: status["sources"]["orders"]["topic"] == OTHER, "it is not read")
    await produce(world, [(chance.randrange(2), world.order(chance)) for _ in range(100)], topic=OTHER)
    await world.until("b", lambda status: status["sources"]["orders"]["topic"] == OTHER, "it is not read")
    await asyncio.sleep(1)
    await asyncio.to_thread(world.fleet.kill, "a")
    await world.register()
    await produce(world, [(chance.randrange(3), world.order(chance)) for _ in range(100)])

    def taken_over(status: Any) -> bool:
        source = status["sources"]["orders"]
        return len(source["partitions"]) == 3 and all_read(source)

    await world.until("b", taken_over, "it does not take over and go on")
    await world.register(topic=OTHER)
    await world.settled()
