"""One bridge in this process, between real servers: what it does when something of its own goes wrong, and that it leaves nothing half done."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast
from uuid import uuid4

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError
from redis.asyncio import Redis

from services.contract.batch import decode
from services.contract.names import DEAD_LETTER_TOPIC
from services.contract.sources import parse
from services.ingestor.columns import TimeLimits
from services.ingestor.sources.bridge import Bridge, Share
from services.ingestor.sources.outlet import Outlet
from services.transport.letters import Letter
from services.transport.log import LogError, LogReader, Record
from services.transport.positions import Positions
from services.transport.settings import KafkaSettings
from tests.pipeline.world import until

Values = Sequence[bytes | None]


class World:
    """A topic of others with one partition, a bridge that reads it, and what is in our log."""

    def __init__(self, kafka: KafkaSettings, redis: Redis, topic: str) -> None:
        self.kafka, self.redis, self.topic = kafka, redis, topic
        self.outlet = Outlet(kafka)
        document = {
            "apiVersion": "tideboard.dev/v1alpha1", "kind": "Source", "metadata": {"name": "orders"},
            "spec": {"topic": topic, "format": "json", "from": "earliest", "sample": {"metric": "m", "value": "$.v"}},
        }  # fmt: skip
        share = Share("me", lambda: frozenset({"me"}))
        self.bridge = Bridge(parse(document), share, redis, kafka, self.outlet, TimeLimits(), 600)
        self._running: asyncio.Task[None] | None = None

    async def write(self, values: Values, keys: Values | None = None) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka.bootstrap_servers, acks="all", linger_ms=2, max_request_size=4_000_000
        )
        await producer.start()
        try:
            pairs = zip(values, keys or [b"key"] * len(values), strict=True)
            for sent in [await producer.send(self.topic, value, key, 0) for value, key in pairs]:
                await sent
        finally:
            await producer.stop()

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """As `Bridges` keeps it running."""
        while True:
            with contextlib.suppress(RuntimeError, KeyError):
                await self.bridge.run()
                return
            await asyncio.sleep(0.05)

    async def finish(self) -> None:
        """As `Bridges` ends it."""
        self.bridge.finish()
        assert self._running
        await asyncio.wait_for(self._running, 10)
        await self.bridge.stop()

    async def read(self, offset: int, values: Sequence[float]) -> None:
        """Wait until all up to this offset is read, and our log has these samples, once each."""

        def lacks() -> str:
            told: Any = self.bridge.status()["partitions"]
            return "" if told.get("0") == {"offset": offset, "end": offset, "lag": 0} else f"it is at {self.bridge.status()}"

        await until(lacks)
        assert await self.samples() == list(values)

    async def samples(self) -> list[float]:
        """As folds see them: what a partition has already is passed over."""
        reader, found = LogReader(self.kafka), []
        marks: dict[tuple[int, int], int] = {}
        try:
            ends = await reader.end_offsets(range(self.kafka.partitions))
            reader.assign(dict.fromkeys(ends, 0))
            deadline = time.monotonic() + 10
            while any(reader.position(p) != reader.highwater(p) for p in ends):
                assert time.monotonic() < deadline
                for record in await reader.poll(100):
                    batch = decode(record.value)
                    known = marks.get((record.partition, batch.instance), -1)
                    assert batch.sequences is not None
                    found += batch.values[batch.sequences.astype(np.int64) > known].tolist()
                    marks[record.partition, batch.instance] = max(known, batch.sequence)
        finally:
            await reader.stop()
        return sorted(found)

    async def letters(self) -> list[Any]:
        consumer = AIOKafkaConsumer(
            DEAD_LETTER_TOPIC, bootstrap_servers=self.kafka.bootstrap_servers, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        try:
            return [await asyncio.wait_for(consumer.getone(), 10) for _ in range(1)] + [
                it for some in (await consumer.getmany(timeout_ms=500)).values() for it in some
            ]
        finally:
            await consumer.stop()

    async def close(self) -> None:
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self.bridge.stop()
        await self.outlet.stop()


@pytest.fixture
async def world(either_kafka: KafkaSettings, redis: Redis) -> AsyncIterator[World]:
    topic = f"orders.{uuid4().hex[:8]}"
    async with administering(either_kafka) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    found = World(either_kafka, redis, topic)
    yield found
    await found.close()


@contextlib.asynccontextmanager
async def administering(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def numbers(*values: float) -> list[bytes]:
    return [json.dumps({"v": value}).encode() for value in values]


async def test_records_without_a_value_move_positions_on_also_where_they_are_the_last_and_keys_may_be_missing(
    world: World,
) -> None:
    await world.write([*numbers(1, 2), b"poison", *numbers(3), None, None], [None, b"", None, b"key", b"key", b""])
    world.start()
    await world.read(6, [1, 2, 3])
    await world.write([None], [b"key"])
    await world.read(7, [1, 2, 3])
    await world.finish()
    positions = await Positions(world.redis, "orders", world.topic).load(world.bridge.identity)
    assert positions.offsets == {0: 7}


async def test_a_partition_that_holds_nothing_but_records_without_a_value_is_read_to_its_end(world: World) -> None:
    await world.write([None] * 5)
    world.start()
    await world.read(5, [])


@pytest.mark.parametrize("error", [RuntimeError("ours"), LogError("theirs"), OSError("of Redis")])
async def test_what_was_read_when_something_went_wrong_is_read_again(
    world: World, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier, left = world.bridge._carrier, [error] * 3
    carry = carrier.carry

    async def carries(*arguments: Any) -> None:
        if left:
            raise left.pop()
        await carry(*arguments)

    monkeypatch.setattr(carrier, "carry", carries)
    await world.write(numbers(1, 2, 3))
    world.start()
    await world.read(3, [1, 2, 3])
    assert not left


async def test_dead_letters_that_could_not_be_written_are_written_later_and_none_is_withheld_for_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = world.outlet.write_letters, ["away"] * 4

    async def writes(letters: Sequence[Letter]) -> None:
        if left:
            raise LogError(left.pop())
        await write(letters)

    monkeypatch.setattr(world.outlet, "write_letters", writes)
    await world.write([b"poison"] * 400)
    world.start()
    await world.read(400, [])
    assert not left
    assert world.bridge.tally.status()["dead_letters"] == {"written": 400, "withheld": 0}


async def test_a_bridge_that_is_told_to_finish_leaves_nothing_under_way_that_would_be_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier, begun = world.bridge._carrier, asyncio.Event()
    carry = carrier.carry

    async def carries(*arguments: Any) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        await carry(*arguments)

    monkeypatch.setattr(carrier, "carry", carries)
    await world.write(numbers(1, 2, 3))
    world.start()
    await asyncio.wait_for(begun.wait(), 10)
    await world.finish()
    assert await world.samples() == [1, 2, 3]
    assert (await Positions(world.redis, "orders", world.topic).load(world.bridge.identity)).offsets == {0: 3}


async def test_while_no_broker_says_which_topic_it_is_nothing_is_read_as_of_another_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.write(numbers(1, 2))
    world.start()
    await world.read(2, [1, 2])

    async def says_nothing() -> None:
        return None

    with monkeypatch.context() as patched:
        patched.setattr(world.bridge._reader, "topic_id", says_nothing)
        patched.setattr(world.bridge, "_looked_at", float("-inf"))
        await until(lambda: "" if "which topic" in world.bridge.fault else "it does not mind")
    await world.write(numbers(3))
    await world.read(3, [1, 2, 3])


async def test_what_was_read_before_a_long_sleep_is_read_again_since_the_topic_may_be_another_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = world.bridge._reader
    slept: list[float] = []
    poll = reader.poll

    async def polls(timeout_ms: int) -> list[Record]:
        records = await poll(timeout_ms)
        if records and not slept:
            slept.append(world.bridge._looked_at)
            monkeypatch.setattr(world.bridge, "_looked_at", world.bridge._looked_at - 60)
        return records

    carrier, carried = world.bridge._carrier, []
    carry = carrier.carry

    async def carries(*arguments: Any) -> None:
        carried.append(world.bridge._looked_at)
        await carry(*arguments)

    monkeypatch.setattr(reader, "poll", polls)
    monkeypatch.setattr(carrier, "carry", carries)
    await world.write(numbers(1, 2))
    world.start()
    await world.read(2, [1, 2])
    assert slept
    assert min(carried) >= slept[0], "what is written was read after a look which topic it is"


only_kafka = pytest.mark.parametrize("either_kafka", ["kafka"], indirect=True)


@only_kafka
async def test_a_dead_letter_topic_that_somebody_deleted_is_made_again_and_has_the_letter(world: World) -> None:
    await world.write([b"first"])
    world.start()
    await world.read(1, [])
    async with administering(world.kafka) as admin:
        await admin.delete_topics([DEAD_LETTER_TOPIC])
    await world.write([b"second", *numbers(1)])
    await world.read(3, [1])
    assert (await world.letters())[-1].value == b"second"


@only_kafka
async def test_a_record_that_is_longer_than_a_letter_may_be_stops_nobody(world: World) -> None:
    async with administering(world.kafka) as admin:
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, world.topic, configs={"max.message.bytes": "4000000"})]
        )
    async with asyncio.timeout(20):
        while True:
            try:
                await world.write([b"x" * 900_000], [b"k" * 900_000])
                break
            except MessageSizeTooLargeError:  # the broker has not heard of it yet
                await asyncio.sleep(0.1)
    await world.write(numbers(1), [None])
    world.start()
    await world.read(2, [1])
    (letter,) = await world.letters()
    assert (letter.value, letter.key) == (b"x" * 800_000, b"k" * 64_000)
    assert {("bytes", b"900000"), ("key_bytes", b"900000")} <= set(letter.headers)


@only_kafka
async def test_reading_goes_on_while_redis_is_away_though_the_topic_gets_more_partitions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.write(numbers(1))
    world.start()
    await world.read(1, [1])

    async def is_away(*_: Any) -> None:
        raise OSError("Redis is away")

    with monkeypatch.context() as patched:
        for owner, name in ((Positions, "save"), (Positions, "load"), (Positions, "begin")):
            patched.setattr(owner, name, is_away)
        async with administering(world.kafka) as admin:
            await admin.create_partitions({world.topic: NewPartitions(2)})
        patched.setattr(world.bridge, "_looked_at", float("-inf"))
        await world.write(numbers(2))
        await world.read(2, [1, 2])
        assert world.bridge.fault == ""
        assert "1" not in cast("Any", world.bridge.status()["partitions"])
    patched.setattr(world.bridge, "_looked_at", float("-inf"))
    await until(lambda: "" if "1" in cast("Any", world.bridge.status()["partitions"]) else "the new partition is not read")
