"""Others who write to the same Kafka: orders to a topic of their own, which a Source reads, and to our topic records that have no value.

They use another client than the product, and know nothing of batches.
"""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError

from services.contract.names import SAMPLES_TOPIC
from services.contract.registry import VERSION, Entry
from tests.batch_job import Sample
from tests.chaos.producers import Pause, Said

TOPIC: Final = "outside"
PARTITIONS: Final = 2
ORDER: Final = "order"
"""The gauge whose values are serial numbers of orders."""
PATIENCE_S: Final = 15.0
SEND_S: Final = 4.0
PER_SECOND: Final = 12.0

SOURCE: Final = Entry(
    VERSION, "orders", "r-orders",
    {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Source", "metadata": {"name": "orders"},
        "spec": {
            "topic": TOPIC, "format": "json", "from": "earliest",
            "samples": [
                {"metric": ORDER, "value": "$.orders[*].id", "time": "$.at", "labels": {"shop": "$.shop"}},
                {"metric": "items", "kind": "delta", "value": "$.orders[*].items", "time": "$.at", "labels": {"shop": "$.shop"}},
            ],
        },
    },
    "chaos",
)  # fmt: skip
"""With `from: earliest` a feed that lost how far it was read does no harm."""


class Outsider:
    """Writes until the run ends. What is not acknowledged in time may be there or not."""

    def __init__(self, bootstrap: str, chance: random.Random, pause: Pause, said: Said) -> None:
        self._bootstrap = bootstrap
        self._chance = chance
        self._pause = pause
        self._said = said
        self._serial = 0

    async def run(self) -> None:
        await make_topic(self._bootstrap)
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", request_timeout_ms=3_000)
        await producer.start()
        try:
            while not self._pause.ended:
                async with self._pause.turn():
                    with contextlib.suppress(KafkaError, TimeoutError):
                        async with asyncio.timeout(SEND_S):
                            await self._say(producer)
                await asyncio.sleep(self._chance.expovariate(PER_SECOND))
        finally:
            await producer.stop()

    async def _say(self, producer: AIOKafkaProducer) -> None:
        chance = self._chance
        if chance.random() < 0.1:
            partitions = sorted(await producer.partitions_for(SAMPLES_TOPIC))
            await producer.send_and_wait(SAMPLES_TOPIC, None, b"gone", chance.choice(partitions))
            self._said.tombstones += 1
            return
        value = chance.choice((None, b"no order", b"{")) if chance.random() < 0.03 else self._orders()
        await producer.send_and_wait(TOPIC, value, partition=chance.randrange(PARTITIONS))

    def _orders(self) -> bytes:
        orders = [{"id": self._serial + i, "items": self._chance.randrange(1, 9)} for i in range(self._chance.randrange(1, 5))]
        self._serial += len(orders)
        at = int(time.time() * 1000) - self._chance.randrange(5_000)
        return json.dumps({"shop": f"s{self._chance.randrange(5)}", "at": at, "orders": orders}).encode()


def told(records: Iterable[bytes]) -> Counter[int]:
    """The serial numbers of the orders in records of the topic."""
    found: Counter[int] = Counter()
    for record in records:
        with contextlib.suppress(ValueError):
            found.update(order["id"] for order in json.loads(record)["orders"])
    return found


def brought(samples: Iterable[Sample]) -> Counter[int]:
    """The serial numbers of the orders that are among our samples."""
    return Counter(int(sample.value) for sample in samples if sample.metric == ORDER)


def difference(outside: Mapping[int, Iterable[bytes]], samples: Iterable[Sample], grown: bool) -> list[str]:
    """Orders that were not brought here once each. grown: partitions were added meanwhile, when some may be counted once more."""
    said, there = told(record for records in outside.values() for record in records), brought(samples)
    found = []
    if missing := sorted((said - there).elements()):
        found.append(f"{len(missing)} samples of the source are not in the log, such as {missing[:5]}")
    if (twice := sorted((there - said).elements())) and not grown:
        found.append(f"{len(twice)} samples of the source are in the log more than once, such as {twice[:5]}")
    return found


async def make_topic(bootstrap: str) -> None:
    async with _admin(bootstrap) as admin:
        await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])


async def add_partitions(bootstrap: str, more: int) -> tuple[int, int]:
    """Give our topic so many more; how many it had, and has."""
    async with _admin(bootstrap) as admin:
        before = await _partitions(admin)
        await admin.create_partitions({SAMPLES_TOPIC: NewPartitions(before + more)})
        async with asyncio.timeout(PATIENCE_S):
            while (now := await _partitions(admin)) != before + more:  # noqa: ASYNC110, the broker hears of it from the controller
                await asyncio.sleep(0.1)
        return before, now


async def _partitions(admin: Any) -> int:
    return len((await admin.describe_topics([SAMPLES_TOPIC]))[0]["partitions"])


@contextlib.asynccontextmanager
async def _admin(bootstrap: str) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
