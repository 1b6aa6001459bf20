"""A new dashboard filled from the log's past, and what live views notice of it."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from redis.asyncio import Redis

from services.contract.batch import Batch, encode
from services.contract.history import decode_change
from services.contract.names import WATCHED, view_channel
from services.contract.series import series_key
from services.contract.views import View
from services.transport.feed import connect
from services.transport.history import read_view
from services.transport.log_writer import LogWriter
from services.transport.registry import write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.bench.report import Table, ms, quantile
from tests.fleet import Fleet
from tests.kafka.server import Kafka
from tests.pipeline.world import entry, views
from tests.servers import Valkey, running

SAMPLES = 1_000_000
PER_RECORD = 500
PAST_MS = 600_000
SERIES = 64
MARKS_PER_S = 50
BEFORE_S = 8.0
PATIENCE_S = 60.0
LIVE = entry(
    "live", [{"id": "mark", "type": "stat", "query": {"metric": "bench.mark", "fn": "max", "every": "1s"}}], levels=True
)
NEW = entry(
    "new",
    [
        {"id": "count", "type": "timeseries", "query": {"metric": "bench.past", "fn": "count", "every": "1s"}},
        {
            "id": "avg",
            "type": "timeseries",
            "query": {"metric": "bench.past", "by": ["host"], "fn": ["avg", "p99"], "every": "1s"},
        },
    ],
    "15m",
    levels=True,
)


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
    await asyncio.sleep(3 + BEFORE_S)
    begun = time.time()
    await write_entry(redis, NEW)
    (count,) = [view for view in views(NEW).values() if view.every_ms == 1_000 and view.inputs[0].fn == "count"]
    await _filled(redis, count)
    filled = time.time()
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await writer.stop()
    await redis.aclose()
    rows = [["time until it is filled", f"{filled - begun:.1f} s", ""]]
    spans = {"live, before": (begun - BEFORE_S, begun), "live, while it is filled": (begun, filled + 0.5)}
    found = {name: [seen[n] - at for n, at in written.items() if n in seen and a <= at < b] for name, (a, b) in spans.items()}
    rows += [[name, ms(quantile(times, 0.5)), ms(quantile(times, 0.99))] for name, times in found.items()]
    before, during = found.values()
    rows.append(["**while / before**", *(f"{quantile(during, q) / quantile(before, q):.2f}" for q in (0.5, 0.99))])
    text = (
        f"{SAMPLES:,} samples of {SERIES} series in records of {PER_RECORD}, over {PAST_MS // 60_000} min of the past, lie in Apache Kafka in 4 partitions. One aggregator folds a live "
        f"view ({MARKS_PER_S} marks a second, from written to published); then a dashboard with three views of the past is added. Filled: every sample is counted in its history."
    )
    return Table("A new dashboard is filled from the log", text, ["", "p50", "p99"], rows)


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


async def _filled(redis: Redis, view: View) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        held = await read_view(redis, view.id)
        rows = held.rows.values() if held else ()
        if sum(float(value) for row in rows for _, _, value in row.tolist() if value == value) >= SAMPLES:
            return
        assert time.monotonic() < until, "the new dashboard is not filled"
        await asyncio.sleep(0.1)
