"""A new dashboard filled from the log's past, and what live views notice of it."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from redis.asyncio import Redis

from services.contract.batch import Batch, encode
from services.contract.history import decode_change
from services.contract.levels import kept
from services.contract.names import WATCHED, view_channel, view_key
from services.contract.registry import Entry
from services.contract.series import series_key
from services.contract.views import View
from services.transport.feed import connect
from services.transport.history import read_view
from services.transport.log_writer import LogWriter
from services.transport.registry import delete_entry, write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.bench.report import Table, quantile
from tests.fleet import Fleet
from tests.kafka.server import Kafka
from tests.pipeline.world import entry, views
from tests.servers import Valkey, running

SAMPLES = 1_000_000
PER_RECORD = 500
PAST_MS = 600_000
SERIES = 64
MARKS_PER_S = 50
ROUNDS = 5
WARM_S = 3.0
BEFORE_S = 6.0
AFTER_S = 1.0
PATIENCE_S = 60.0
LIVE = entry(
    "live", [{"id": "mark", "type": "stat", "query": {"metric": "bench.mark", "fn": "max", "every": "1s"}}], levels=True
)


@dataclass(frozen=True)
class Round:
    """When a dashboard was added, when its own buckets held everything, and when its coarser ones did; seconds of time.time()."""

    begun: float
    filled: float
    complete: float


def new(number: int) -> Entry:
    """A dashboard that shares no selection with those of other rounds."""
    where = {"host": f"=~h[0-9]+|round{number}"}
    query = {"metric": "bench.past", "where": where, "every": "1s"}
    panels = [
        {"id": "count", "type": "timeseries", "query": {**query, "fn": "count"}},
        {"id": "avg", "type": "timeseries", "query": {**query, "by": ["host"], "fn": ["avg", "p99"]}},
    ]
    return entry(f"new{number}", panels, "15m", levels=True)


def measure() -> Table:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Valkey()) as valkey,
        running(Kafka(Path(folder))) as kafka,
        Fleet(REDIS_URL=valkey.url, KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap) as fleet,
    ):
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap)
        return asyncio.run(_measure(fleet, settings, connect(RedisSettings(url=valkey.url))))


async def _measure(fleet: Fleet, kafka: KafkaSettings, redis: Redis) -> Table:
    writer = LogWriter(kafka)
    await writer.start()
    await asyncio.gather(*(writer.append(number % 4, record) for number, record in enumerate(_past())))
    await write_entry(redis, LIVE)
    await redis.zadd(WATCHED, {"bench": int(time.time() * 1000) + 600_000})
    await asyncio.to_thread(fleet.start, "a", "aggregator")
    written: dict[int, float] = {}
    seen: dict[int, float] = {}
    (live,) = [view for view in views(LIVE).values() if view.every_ms == 1_000]
    tasks = [asyncio.create_task(_mark(writer, written)), asyncio.create_task(_listen(redis, live, seen))]
    await asyncio.sleep(WARM_S)
    rounds = [await _round(redis, number) for number in range(ROUNDS)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await writer.stop()
    await redis.aclose()
    return _table(rounds, {written[number]: at - written[number] for number, at in seen.items()})


async def _round(redis: Redis, number: int) -> Round:
    await asyncio.sleep(BEFORE_S)
    begun, dashboard = time.time(), new(number)
    await write_entry(redis, dashboard)
    read = dashboard.dashboard()
    assert read is not None
    counts = [view for view in kept(read) if view.inputs[0].fn == "count"]
    await _filled(redis, [view for view in counts if view.every_ms == 1_000])
    filled = time.time()
    await _filled(redis, counts)
    complete = time.time()
    await asyncio.sleep(AFTER_S)
    await delete_entry(redis, dashboard.name)
    return Round(begun, filled, complete)


def _table(rounds: Sequence[Round], delays: Mapping[float, float]) -> Table:
    """delays: of marks, seconds by when they were written."""

    def quantiles(begin: float, end: float) -> tuple[float, float]:
        found = [delay for at, delay in delays.items() if begin <= at < end]
        return quantile(found, 0.5), quantile(found, 0.99)

    before = [quantiles(item.begun - BEFORE_S, item.begun) for item in rounds]
    while_ = [quantiles(item.begun, item.complete) for item in rounds]
    ratios = [[during / quiet for during, quiet in zip(*pair, strict=True)] for pair in zip(while_, before, strict=True)]
    head = ["", *(f"round {number}" for number in range(1, len(rounds) + 1)), "median"]
    rows = [
        _row("time until it is filled", [item.filled - item.begun for item in rounds], "{:.1f} s"),
        _row("time until its coarser resolutions are, too", [item.complete - item.begun for item in rounds], "{:.1f} s"),
    ]
    for place, name in enumerate(("p50", "p99")):
        rows += [
            _row(f"live {name}, before", [found[place] * 1000 for found in before], "{:.1f} ms"),
            _row(f"live {name}, while it is filled", [found[place] * 1000 for found in while_], "{:.1f} ms"),
            _row(f"**live {name}, while / before**", [found[place] for found in ratios], "{:.2f}"),
        ]
    text = (
        f"{SAMPLES:,} samples of {SERIES} series in records of {PER_RECORD}, over {PAST_MS // 60_000} min of the past, lie in Apache Kafka in 4 partitions. One aggregator folds a live "
        f"view ({MARKS_PER_S} marks a second, from written to published); then a dashboard with three views of the past is added, and taken away again before the next round. "
        "Filled: every sample is counted in its history. While it is filled: until it is, in its coarser resolutions, too. Goals: 5 s, and 1.2 times what live views take before."
    )
    return Table("A new dashboard is filled from the log", text, head, rows)


def _row(name: str, values: Sequence[float], form: str) -> list[str]:
    return [name, *map(form.format, values), form.format(statistics.median(values))]


def _past() -> Sequence[bytes]:
    """The records, oldest first; each series in the partition of its record's number."""
    now = int(time.time() * 1000)
    keys = [series_key("bench.past", {"host": f"h{number:02}"}) for number in range(SERIES)]
    count = SAMPLES // PER_RECORD
    found = []
    for number in range(count):
        begin = now - PAST_MS + number * PAST_MS // count
        times = begin + np.arange(PER_RECORD, dtype=np.int64) * (PAST_MS // count) // PER_RECORD
        series = (np.arange(PER_RECORD) % SERIES).astype(np.uint32)
        kinds = np.zeros(SERIES, np.uint8)
        found.append(encode(Batch(1, number // 4, begin, keys, kinds, series, times, np.arange(PER_RECORD, dtype=np.float64))))
    return found


async def _mark(writer: LogWriter, written: dict[int, float]) -> None:
    """A numbered sample, again and again."""
    key, number, due = [series_key("bench.mark", {})], 0, time.monotonic()
    while True:
        number += 1
        now = int(time.time() * 1000)
        one = np.array([now]), np.array([float(number)])
        record = encode(Batch(2, number, now, key, np.zeros(1, np.uint8), np.zeros(1, np.uint32), *one))
        await writer.append(0, record)
        written[number] = time.time()
        due += 1 / MARKS_PER_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _listen(redis: Redis, view: View, seen: dict[int, float]) -> None:
    subscription = redis.pubsub()
    await subscription.subscribe(view_channel(view.id))
    newest = 0
    async for message in subscription.listen():
        if message["type"] == "message":
            at = time.time()
            values = [value for cells in decode_change(message["data"]).cells for value in cells.values if value]
            for number in range(newest + 1, int(max(values, default=0)) + 1):
                seen[number] = at
            newest = max([newest, *map(int, values)])


async def _filled(redis: Redis, views: Sequence[View]) -> None:
    """Wait until each of these views counts every sample. Asked is what costs next to nothing, as long as that says no."""
    until = time.monotonic() + PATIENCE_S
    left = list(views)
    while left:
        assert time.monotonic() < until, "the new dashboard is not filled"
        if await redis.hexists(view_key(left[0].id, "meta"), "filled") and await _samples(redis, left[0]) >= SAMPLES:
            left.pop(0)
        else:
            await asyncio.sleep(0.05)


async def _samples(redis: Redis, view: View) -> float:
    held = await read_view(redis, view.id)
    rows = held.rows.values() if held else ()
    return sum(float(value) for row in rows for _, _, value in row.tolist() if value == value)
