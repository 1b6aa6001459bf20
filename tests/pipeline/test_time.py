"""Time on real servers: samples that come late correct what was closed, and those that come too late are told of."""

import time
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from services.aggregator.service import Aggregator
from services.contract.batch import decode
from services.contract.history import ViewHistory
from services.contract.names import LATE_TOPIC
from services.transport.history import read_view
from services.transport.log_wire import Wire
from services.transport.settings import KafkaSettings, RedisSettings
from tests.pipeline.world import Log, Point, aggregating, entry, register, settled, until

LOAD = entry(
    "load", [{"id": "load", "type": "timeseries", "query": {"metric": "load", "fn": "count", "every": "1s"}}], window="30s"
)
PATIENCE_S = 15.0


@pytest.fixture
def kafka(either_kafka: KafkaSettings) -> KafkaSettings:
    return either_kafka


async def letters(kafka: KafkaSettings) -> list[tuple[dict[str, str], bytes]]:
    """Headers and value of every record of the late topic."""
    wire = Wire(kafka)
    await wire.open()
    try:
        node = (await wire.leaders([LATE_TOPIC]))[LATE_TOPIC][0]
        answer = await wire.ask(node, FetchRequest(100, 1, 1 << 20, 0, [(LATE_TOPIC, [(0, 0, 1 << 20)])]))
    finally:
        await wire.close()
    found, batches = [], MemoryRecords(answer.topics[0][1][0][-1] or b"")
    while (batch := batches.next_batch()) is not None:
        found += [({name: value.decode() for name, value in record.headers}, record.value) for record in batch]
    return found


async def view_when(redis: Redis, view: str, wanted: str, enough: int = 1) -> ViewHistory:
    """The view's history once it notes so many of something."""
    deadline = time.monotonic() + PATIENCE_S
    while (held := await read_view(redis, view)) is None or getattr(held.notes, wanted) < enough:
        assert time.monotonic() < deadline, f"the view notes {held and held.notes}"
    return held


def noted(service: Aggregator) -> list[tuple[str, str, int]]:
    """View, metric and late samples of all that the status notes."""
    status: Any = service.status()
    return [(item["view"], item["metric"], item["late"]) for item in status["notes"]]


def counted(service: Aggregator) -> list[dict[str, dict[str, int]]]:
    status: Any = service.status()
    return [item["late_samples"] for item in status["partitions"].values()]


def late_metric(reason: str) -> float:
    labels = {"source": "samples", "reason": reason}
    return REGISTRY.get_sample_value("tideboard_aggregator_late_samples_total", labels) or 0.0


async def test_a_sample_that_comes_late_corrects_a_bucket_that_was_closed(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, LOAD)
    (view,) = [item for item in wanted.values() if item.every_ms == 1_000]
    async with aggregating(kafka, settings):
        now = int(time.time() * 1000)
        early: Point = ("load", {}, now - 20_000, 1.0, "gauge")
        await log.write([early, ("load", {}, now, 1.0, "gauge")])
        await settled(redis, log, wanted)
        deadline = time.monotonic() + PATIENCE_S
        while (before := await read_view(redis, view.id)) is None or before.closed < now - 15_000:
            assert time.monotonic() < deadline, "the bucket is not closed"
        await log.write([early])
        await settled(redis, log, wanted)
        after = await read_view(redis, view.id)
    bucket = (now - 20_000) // 1_000 * 1_000
    assert after is not None
    assert [row[2] for row in before.rows[bucket].tolist()] == [1.0]
    assert [row[2] for row in after.rows[bucket].tolist()] == [2.0]
    assert after.rows[bucket]["version"][0] > before.version
    assert after.closed >= before.closed
    assert after.notes.late == 0


async def test_samples_beyond_the_horizon_are_counted_noted_and_written_to_the_late_topic(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, LOAD)
    (view,) = [item for item in wanted.values() if item.every_ms == 1_000]
    before = late_metric("expired")
    now = int(time.time() * 1000)
    old = now - 3_600_000
    async with aggregating(kafka, settings, "first") as service:
        await log.write([("load", {"host": "a"}, now, 1.0, "gauge")])
        await log.write([("load", {"host": "a"}, at, 1.0, "gauge") for at in (old, now, old + 1)])
        held = await view_when(redis, view.id, "late", 2)
        await until(lambda: "" if (view.id, "load", 2) in noted(service) else f"the status notes {noted(service)}")
        assert {"samples": {"expired": 2}} in counted(service)
        assert abs(held.notes.late_at - now) < 60_000
    assert late_metric("expired") - before == 2
    ((headers, value),) = await letters(kafka)
    assert {name: headers[name] for name in ("topic", "reason", "source")} == {
        "topic": "tideboard.samples", "reason": "expired", "source": "samples",
    }  # fmt: skip
    assert int(headers["offset"]) == 1
    assert (decode(value).times.tolist(), decode(value).keys) == ([old, old + 1], [b"load\xffhost\xfea\xff"])
    async with aggregating(kafka, settings, "second") as service:  # the counts outlive the process
        await log.write([("load", {"host": "a"}, old, 1.0, "gauge")])
        await view_when(redis, view.id, "late", 3)
        assert {"samples": {"expired": 3}} in counted(service)
    assert late_metric("expired") - before == 3
    assert len(await letters(kafka)) == 2


CROWD = entry(
    "crowd",
    [
        {"id": "apart", "type": "timeseries", "maxGroups": 5, "query": {"metric": "load", "by": ["host"], "fn": ["count", "sum"], "every": "1s"}},
        {"id": "total", "type": "stat", "query": {"metric": "load", "fn": ["count", "sum"], "every": "1s"}},
    ],
)  # fmt: skip
Table = dict[int, dict[str, float]]  # bucket -> host -> value


async def shown(redis: Redis, view: str) -> Table:
    held = await read_view(redis, view)
    found: Table = {}
    for bucket, rows in held.rows.items() if held else ():
        for group, _, value in rows.tolist():
            if value == value and held:
                found.setdefault(bucket, {})[held.groups[group].get("host", "others")] = value
    return found


async def test_groups_past_the_limit_are_the_same_ones_after_a_restart_and_from_the_log_alone(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    wanted = await register(redis, CROWD)
    views = {(item.inputs[0].fn, bool(item.by)): view for view, item in wanted.items() if item.every_ms == 1_000}
    now = int(time.time() * 1000) - 10_000

    def points(first: int, hosts: range) -> list[Point]:
        return [
            ("load", {"host": f"h{host}"}, now + 10 * at, float(host + at), "gauge")
            for at in range(first, first + 9)
            for host in hosts
        ]

    async def complete() -> dict[str, Table]:
        """What is apart, once it adds up to what is written in every bucket."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            tables = {fn: await shown(redis, views[fn, True]) for fn in ("count", "sum")}
            totals = {fn: await shown(redis, views[fn, False]) for fn in ("count", "sum")}
            sums = {fn: {bucket: sum(row.values()) for bucket, row in table.items()} for fn, table in tables.items()}
            there = sum(sum(row.values()) for row in totals["count"].values())
            if there == written and sums == {
                fn: {b: row[""] if "" in row else sum(row.values()) for b, row in t.items()} for fn, t in totals.items()
            }:
                return tables
            assert time.monotonic() < deadline, f"{there} of {written} samples; {sums} instead of {totals}"

    written = 0
    async with aggregating(kafka, settings, "first"):
        for hosts in (range(8), range(4, 20)):
            await log.write(points(0, hosts))
            written += 9 * len(hosts)
        await complete()
    async with aggregating(kafka, settings, "second"):
        await log.write(points(200, range(30)))
        written += 9 * 30
        before = await complete()
        held = await view_when(redis, views["count", True], "pooled", 20)
        assert (held.notes.limit, abs(held.notes.pooled - 25) <= 3) == (5, True)
    assert all(len(row) <= 6 and "others" in row for row in before["count"].values())
    await redis.flushall()
    await register(redis, CROWD)
    async with aggregating(kafka, settings, "third"):
        assert await complete() == before
