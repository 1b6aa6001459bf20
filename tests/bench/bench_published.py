"""From a sample to the published cell at 50,000 samples a second, beside the floor: the same log and feed with nothing between them."""

import asyncio
import contextlib
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from redis.asyncio import Redis

from services.contract.batch import Batch, encode
from services.contract.history import decode_change
from services.contract.names import WATCHED, WATCHED_CHANNEL, view_channel
from services.contract.series import Kind, series_key
from services.transport.feed import connect
from services.transport.history import read_view
from services.transport.log import LogReader
from services.transport.log_writer import LogWriter
from services.transport.registry import write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.bench import workload
from tests.bench.report import Table, ms, quantile
from tests.bench.workload import CLIENT_HOSTS, METRICS, READING
from tests.fleet import Fleet
from tests.kafka.server import Kafka, prepare
from tests.pipeline.world import entry, views
from tests.servers import Valkey, running

PARTITIONS: Final = 4
EVERY_S: Final = 0.01  # a record of READING samples, to one partition after the other
WARM_S: Final = 8.0
WINDOW_S: Final = 20.0
FLOORS: Final = 300
MARK: Final = entry(
    "mark",
    [{"id": "mark", "type": "stat", "query": {"metric": "bench.mark", "by": ["partition"], "fn": "last", "every": "1s"}}],
    levels=True,
)


@dataclass
class Marks:
    """When each record was given to the writer, acknowledged and published, by partition and number; seconds of time.time()."""

    written: dict[tuple[int, int], float] = field(default_factory=dict)
    accepted: dict[tuple[int, int], float] = field(default_factory=dict)
    published: dict[tuple[int, int], float] = field(default_factory=dict)

    def seen(self, partition: int, number: int, at: float) -> None:
        """The newest mark is there: so is every one before it."""
        while (partition, number) in self.written and (partition, number) not in self.published:
            self.published[partition, number] = at
            number -= 1

    def since(self, begin: dict[tuple[int, int], float], after: float) -> list[float]:
        return [self.published[mark] - at for mark, at in begin.items() if at >= after and mark in self.published]


def measure() -> Table:
    prepare()
    with tempfile.TemporaryDirectory() as folder, running(Valkey()) as valkey, running(Kafka(Path(folder))) as kafka:
        environ = {"REDIS_URL": valkey.url, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap}
        with Fleet(**environ) as fleet:
            settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, partitions=PARTITIONS, fetch_wait_ms=50)
            return asyncio.run(_measure(fleet, settings, connect(RedisSettings(url=valkey.url))))


async def _measure(fleet: Fleet, kafka: KafkaSettings, redis: Redis) -> Table:
    await write_entry(redis, MARK, workload.entry())
    view = next(iter(views(MARK)))
    writer = LogWriter(kafka)
    await writer.start()
    await asyncio.to_thread(fleet.start, "a", "aggregator")
    marks = Marks()
    tasks = [asyncio.create_task(_watch(redis, view)), asyncio.create_task(_listen(redis, view, marks))]
    began = time.time()
    await _write(writer, marks, WARM_S + WINDOW_S)
    await asyncio.sleep(1)
    floor = await _floor(writer, kafka, redis)
    for task in tasks:
        task.cancel()
    await writer.stop()
    await redis.aclose()
    after = began + WARM_S
    stages = {
        "written → published": marks.since(marks.written, after), "accepted → published": marks.since(marks.accepted, after),
        "floor: written → fetched → PUBLISH → received": floor,
    }  # fmt: skip
    rows = [[name, f"{len(found):,}", ms(quantile(found, 0.5)), ms(quantile(found, 0.99))] for name, found in stages.items()]
    lost = len([mark for mark, at in marks.written.items() if at >= after and mark not in marks.published])
    text = (
        f"Apache Kafka with {PARTITIONS} partitions, one aggregator with ticks of 50 ms, Valkey, and a writer of {READING / EVERY_S:,.0f} samples a second in columnar"
        f" records of {READING}, {WINDOW_S:.0f} s; {2 * METRICS} views (mean and 99th percentile by host) with {PARTITIONS * CLIENT_HOSTS} groups each, and levels."
        f" One sample of each record is numbered; {lost} were never published. The floor is measured right after it on the same servers. Goal: p99 of 120 ms."
    )
    return Table("Sample to published cell", text, ["stage", "records", "p50", "p99"], rows)


async def _write(writer: LogWriter, marks: Marks, seconds: float) -> None:
    """Each record when it is due, without waiting for the one before."""
    dictionaries = [
        [*workload.keys(partition), series_key("bench.mark", {"partition": str(partition)})] for partition in range(PARTITIONS)
    ]
    kinds = np.array([Kind.distribution] * READING + [Kind.gauge], np.uint8)
    series = np.arange(READING + 1, dtype=np.uint32)
    chance = np.random.default_rng(1)
    began = time.monotonic()
    for i in range(int(seconds / EVERY_S)):
        await asyncio.sleep(max(0.0, began + i * EVERY_S - time.monotonic()))
        number, partition = divmod(i, PARTITIONS)
        now = time.time()
        times = np.full(READING + 1, int(now * 1000), np.int64)
        values = np.append(chance.lognormal(-3, 1, READING), number)
        batch = Batch(1, number, int(now * 1000), dictionaries[partition], kinds, series, times, values)
        mark = partition, number
        marks.written[mark] = now
        writer.append(partition, encode(batch)).add_done_callback(
            lambda _, mark=mark: marks.accepted.__setitem__(mark, time.time())  # type: ignore[misc]
        )


async def _watch(redis: Redis, view: str) -> None:
    """Be somebody who watches, so that the aggregator ticks fast."""
    while True:
        await redis.zadd(WATCHED, {view: int(time.time() * 1000) + 5_000})
        await redis.publish(WATCHED_CHANNEL, view)
        await asyncio.sleep(1)


async def _listen(redis: Redis, view: str, marks: Marks) -> None:
    subscription = redis.pubsub()
    await subscription.subscribe(view_channel(view))
    partitions: dict[int, int] = {}  # by group
    async for message in subscription.listen():
        if message["type"] != "message":
            continue
        at = time.time()
        change = decode_change(message["data"])
        if any(group not in partitions for cells in change.cells for group in cells.groups):
            held = await read_view(redis, view)
            partitions = {group: int(labels["partition"]) for group, labels in held.groups.items()} if held else {}
        for cells in change.cells:
            for group, value in zip(cells.groups, cells.values, strict=True):
                if group in partitions and value is not None:
                    marks.seen(partitions[group], int(value), at)


async def _floor(writer: LogWriter, kafka: KafkaSettings, redis: Redis) -> list[float]:
    """One record at a time through the same broker and the same Valkey."""
    nothing = np.zeros(0)
    empty = encode(Batch(9, 1, 0, [], nothing.astype(np.uint8), nothing.astype(np.uint32), nothing.astype(np.int64), nothing))
    start = await writer.append(0, empty)
    reader = LogReader(kafka)
    reader.assign({0: start + 1})
    received: asyncio.Queue[float] = asyncio.Queue()

    async def forward() -> None:
        while True:
            for _ in await reader.poll(1_000):
                await redis.publish("bench", b"bench")

    async def receive() -> None:
        subscription = redis.pubsub()
        await subscription.subscribe("bench")
        async for message in subscription.listen():
            if message["type"] == "message":
                received.put_nowait(time.time())

    tasks = [asyncio.create_task(forward()), asyncio.create_task(receive())]
    await asyncio.sleep(0.5)
    found = []
    for _ in range(FLOORS):
        began = time.time()
        writer.append(0, empty)
        found.append(await received.get() - began)
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks)
    await reader.stop()
    return found
