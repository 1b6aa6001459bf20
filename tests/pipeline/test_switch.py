"""A dashboard's query is changed while somebody watches: log, aggregator and gateway as they are, and a past that takes a while to fold."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.aggregator import catchup
from services.contract.names import view_key
from services.transport.registry import write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests import batch_job
from tests.pipeline.gateway_world import Screen, serving, viewing
from tests.pipeline.world import PATIENCE_S, Log, Point, aggregating, entry, views

PAST_MS = 240_000
RECORDS = 120
PER_RECORD = 500
BEFORE = entry("host", [{"id": "load", "type": "timeseries", "query": {"metric": "load", "fn": "max", "every": "1s"}}])
AFTER = entry(
    "host", [{"id": "load", "type": "timeseries", "query": {"metric": "load", "by": ["host"], "fn": "p90", "every": "1s"}}]
)
(OLD,), (NEW,) = views(BEFORE), views(AFTER).items()


async def write_past(log: Log) -> None:
    now = int(time.time() * 1000)
    for number in range(RECORDS):
        begin = now - PAST_MS + number * PAST_MS // RECORDS
        points: list[Point] = [
            ("load", {"host": f"h{i % 4}"}, begin + i * PAST_MS // RECORDS // PER_RECORD, i / PER_RECORD, "gauge")
            for i in range(PER_RECORD)
        ]
        await log.write(points, ingest_ms=begin)


@contextlib.asynccontextmanager
async def writing_on(log: Log) -> AsyncIterator[None]:
    """A value that grows, again and again."""

    async def write() -> None:
        for number in range(2, 1_000_000):
            await log.write([("load", {"host": "h0"}, int(time.time() * 1000), float(number), "gauge")])
            await asyncio.sleep(0.05)

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def newest(screen: Screen, view: str) -> float:
    return max((value for row in screen.table(view).values() for value in row.values() if value is not None), default=0.0)


def lacking(screen: Screen, log: Log) -> list[tuple[batch_job.Group, int]]:
    """Cells of the new view, closed by now, that are not what a batch job says."""
    view, now = NEW[1], int(time.time() * 1000)
    found = {
        (tuple(sorted(screen.groups[view.id][group].items())), start): value
        for start, row in screen.table(view.id).items()
        for group, value in row.items()
    }
    expected = batch_job.cells(view, batch_job.samples(log.written))
    return [
        at
        for at, value in expected.items()
        if at[1] < now - 5_000
        and not (isinstance(value, batch_job.Quantile) and (got := found.get(at)) is not None and value.allows(got))
    ]


async def test_a_changed_query_shows_the_old_panel_live_until_the_new_one_is_complete(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "MOST_BYTES", catchup.LEAST_BYTES)  # a record at a time, as of a past that is much larger
    await write_past(log)
    await write_entry(redis, BEFORE)
    async with aggregating(kafka, settings), serving(settings.url) as gateway, viewing(gateway.port, "host") as screen:
        await screen.until(lambda: len(screen.table(OLD)) >= PAST_MS // 1_000)
        async with writing_on(log):
            await screen.until(lambda: newest(screen, OLD) > 1.0)
            await write_entry(redis, AFTER)
            live = set()
            while (message := await screen.hear())["type"] != "snapshot":
                live.add(newest(screen, OLD))
            assert len(live) >= 3, "the old panel stays live"  # one value where it does not
            assert [view["id"] for view in message["views"]] == [NEW[0]]
            assert lacking(screen, log) == []
            shown, heard = newest(screen, NEW[0]), len(screen.messages)
            await screen.until(lambda: newest(screen, NEW[0]) > shown + 3)
            assert "snapshot" not in {item["type"] for item in screen.messages[heard:]}, "in one switch"
        deadline = time.monotonic() + PATIENCE_S
        while await redis.pttl(view_key(OLD, "meta")) == -1:
            assert time.monotonic() < deadline, "the old view is not let go"
            await asyncio.sleep(0.1)
