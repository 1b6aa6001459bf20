"""A log written by hand and an aggregator over real servers: what the pipeline tests of the aggregator share."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from redis.asyncio import Redis

from services.aggregator.service import Aggregator
from services.aggregator.settings import AggregatorSettings
from services.contract.batch import Batch, encode
from services.contract.names import AGGREGATOR_BEATS
from services.contract.registry import VERSION, Entry
from services.contract.series import partition_of, series_key
from services.contract.views import View, retentions
from services.transport import registry
from services.transport.feed import connect
from services.transport.history import read_view
from services.transport.lineage import _write as write_lineage
from services.transport.log_topics import ensure_topics_on
from services.transport.log_wire import Wire
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings, RedisSettings
from tests import batch_job

KINDS = {"gauge": 0, "counter": 1, "delta": 2, "distribution": 3}
PATIENCE_S = 60.0
UNEXPECTED = "should not be there"

Point = tuple[str, Mapping[str, str], int, float, str]  # metric, labels, time, value, kind


@dataclass
class Log:
    """Writes points to the log as an ingestor would, and remembers what it wrote."""

    writer: LogWriter
    instance: int = 7
    written: dict[int, list[bytes]] = field(default_factory=dict)
    _sequences: dict[int, int] = field(default_factory=dict)

    async def write(self, points: Sequence[Point], ingest_ms: int | None = None, twice: bool = False) -> None:
        """One record per partition. twice: as a producer that tried again."""
        by_partition: dict[int, list[Point]] = {}
        for point in points:
            by_partition.setdefault(partition_of(series_key(point[0], point[1]), self.writer.partitions), []).append(point)
        for partition, mine in by_partition.items():
            record = self._record(partition, mine, ingest_ms or int(time.time() * 1000))
            for _ in range(1 + twice):
                self.written.setdefault(partition, []).append(record)
                await self.writer.append(partition, record)

    def _record(self, partition: int, points: Sequence[Point], ingest_ms: int) -> bytes:
        keys: dict[tuple[bytes, int], int] = {}
        series = [keys.setdefault((series_key(m, labels), KINDS[kind]), len(keys)) for m, labels, _, _, kind in points]
        sequence = self._sequences[partition] = self._sequences.get(partition, -1) + 1
        return encode(
            Batch(
                self.instance, sequence, ingest_ms, [key for key, _ in keys], np.array([k for _, k in keys], np.uint8),
                np.array(series, np.uint32), np.array([p[2] for p in points]), np.array([p[3] for p in points], np.float64),
            )
        )  # fmt: skip


@contextlib.asynccontextmanager
async def writing(kafka: KafkaSettings) -> AsyncIterator[Log]:
    writer = LogWriter(kafka)
    await writer.start()
    try:
        yield Log(writer)
    finally:
        await writer.stop()


@contextlib.asynccontextmanager
async def aggregating(kafka: KafkaSettings, redis: RedisSettings, instance: str = "a") -> AsyncIterator[Aggregator]:
    """An aggregator in this process; ended as by SIGTERM."""
    service = Aggregator(AggregatorSettings(instance=instance, idle_tick_ms=50), kafka, redis)
    await service.start()
    running = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await service.stop()


@contextlib.asynccontextmanager
async def feed(settings: RedisSettings) -> AsyncIterator[Redis]:
    redis = connect(settings)
    try:
        yield redis
    finally:
        await redis.aclose()


def entry(name: str, panels: Sequence[Mapping[str, object]], window: str = "5m", levels: bool = False) -> Entry:
    """A dashboard as the registry holds it. levels: with the coarser resolutions that a dashboard has where it says nothing of them."""
    spec = {"window": window, "panels": [dict(panel) for panel in panels]} | ({} if levels else {"resolutions": []})
    document = {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip
    return Entry(VERSION, name, str(hash(str(document))), document, "test")


def views(item: Entry) -> dict[str, View]:
    """The views of a dashboard by panel and function: 'cpu', or 'cpu.p50' where a panel has several."""
    dashboard = item.dashboard()
    assert dashboard is not None, f"{item.name} is not a dashboard"
    return {view.id: view for view in retentions(dashboard)}


async def until(check: Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Wait until a check finds nothing wrong."""
    deadline = time.monotonic() + patience_s
    while reason := check():
        assert time.monotonic() < deadline, reason
        await asyncio.sleep(0.02)


async def settled(
    redis: Redis, log: Log, wanted: Mapping[str, View], patience_s: float = PATIENCE_S, others: bool = False
) -> int:
    """Wait until every cell of every view is what the batch job says; how many cells that are. others: there may be more in the history."""
    taken = batch_job.samples(log.written)
    expected = {name: batch_job.cells(view, taken) for name, view in wanted.items()}
    deadline = time.monotonic() + patience_s
    doubted = list(wanted)
    while True:
        wrong = {name: await faults(redis, name, expected[name]) for name in doubted}
        if others:
            wrong = {name: [fault for fault in found if UNEXPECTED not in fault] for name, found in wrong.items()}
        told = [fault for found in wrong.values() for fault in found]
        if not told and len(doubted) == len(wanted):
            break
        if told:  # reading everything again and again takes the time that the aggregator in this process needs
            assert time.monotonic() < deadline, f"{len(told)} cells are wrong, such as {told[:3]}"
            await asyncio.sleep(0.05)
        doubted = [name for name, found in wrong.items() if found] or list(wanted)
    return sum(len(item) for item in expected.values())


async def faults(
    redis: Redis, view: str, expected: Mapping[tuple[batch_job.Group, int], float | batch_job.Allowed]
) -> list[str]:
    """How the history of a view differs from what it must be, bit for bit but for quantiles."""
    held = await read_view(redis, view)
    found: dict[tuple[batch_job.Group, int], float] = {}
    for bucket, rows in held.rows.items() if held else ():
        for group, _, value in rows.tolist():
            if value == value:
                labels = held.groups[group] if held else {}
                found[tuple(sorted(labels.items())), bucket] = value
    wrong = [f"{view} {at}: {found[at]} {UNEXPECTED}" for at in found.keys() - expected.keys()]
    for at, value in expected.items():
        got = found.get(at)
        right = got is not None and (value.allows(got) if isinstance(value, batch_job.Allowed) else got == value)
        if not right:
            wrong.append(f"{view} {at}: {got} instead of {value}")
    return wrong


async def register(redis: Redis, *entries: Entry) -> dict[str, View]:
    """Write dashboards to the registry; all their views by id."""
    await registry.write_entry(redis, *entries)
    return {name: view for item in entries for name, view in views(item).items()}


async def beaten(redis: Redis, instance: str) -> None:
    """Wait until an aggregator has given two more signs of life."""
    for _ in range(2):
        before = await redis.hget(AGGREGATOR_BEATS, instance)
        deadline = time.monotonic() + PATIENCE_S
        while await redis.hget(AGGREGATOR_BEATS, instance) == before:
            assert time.monotonic() < deadline, f"{instance} gives no sign of life"
            await asyncio.sleep(0.05)


async def name_log(kafka: KafkaSettings, lineage: str) -> None:
    """Make the topics of an empty broker and give the log this name, as a restored lineage topic would."""
    wire = Wire(kafka)
    try:
        await wire.open()
        await ensure_topics_on(wire, kafka)
        await write_lineage(wire, lineage, kafka)
    finally:
        await wire.close()
