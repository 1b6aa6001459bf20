"""The longest hole that a viewer sees while aggregators come, stop and are killed under load."""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import websockets

from services.contract.live import SUBPROTOCOL
from services.local.embedded import free_port
from services.transport.feed import connect
from services.transport.registry import write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.bench.report import Table, ms, quantile
from tests.fleet import Fleet
from tests.kafka.server import Kafka
from tests.pipeline.world import Log, Point, entry, writing
from tests.servers import Valkey, running

SERIES = 16
EVERY_S = 0.1
LOAD = 2_000  # samples beside the marks, each time
PHASE_S = 8.0
DASHBOARD = entry(
    "bench",
    [
        {"id": "mark", "type": "timeseries", "query": {"metric": "bench.mark", "by": ["series"], "fn": "last", "every": "1s"}},
        {"id": "load", "type": "timeseries", "query": {"metric": "bench.load", "by": ["series"], "fn": ["avg", "p99"]}},
    ],
    "1m",
    levels=True,
)


@dataclass
class Seen:
    """When the viewer saw each series change; seconds of time.monotonic()."""

    at: dict[int, list[float]] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def hole(self, begin: float, end: float) -> float:
        """The longest time without a change of some series that reaches into this time."""
        longest = 0.0
        for times in self.at.values():
            edges = [*(at for at in times if at < end), end]
            longest = max([longest, *(b - a for a, b in pairwise(edges) if b > begin)])
        return longest

    def gaps(self, begin: float, end: float) -> list[float]:
        return [b - a for times in self.at.values() for a, b in pairwise(times) if begin <= a and b <= end]


def measure() -> Table:
    with tempfile.TemporaryDirectory() as folder, running(Valkey()) as valkey, running(Kafka(Path(folder))) as kafka:
        environ = {"REDIS_URL": valkey.url, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap}
        with Fleet(**environ) as fleet:
            return asyncio.run(_measure(fleet, KafkaSettings(bootstrap_servers=kafka.bootstrap), RedisSettings(url=valkey.url)))


async def _measure(fleet: Fleet, kafka: KafkaSettings, feed: RedisSettings) -> Table:
    redis = connect(feed)
    await write_entry(redis, DASHBOARD)
    port = free_port()
    rows = []
    async with writing(kafka) as log:
        await asyncio.to_thread(fleet.start, "gateway", "gateway", {"TIDEBOARD_GATEWAY_PORT": str(port)})
        await asyncio.to_thread(fleet.start, "a", "aggregator")
        seen = Seen()
        tasks = [asyncio.create_task(_write(log)), asyncio.create_task(_view(port, seen))]
        await seen.ready.wait()
        await asyncio.sleep(2)
        phases: list[tuple[str, Callable[..., object] | None, str]] = [
            ("nothing happens", None, ""),
            ("a second aggregator starts", fleet.launch, "b"),
            ("a third aggregator starts", fleet.launch, "c"),
            ("one of three is stopped (SIGTERM)", fleet.stop, "a"),
            ("one of two is killed (SIGKILL)", fleet.kill, "b"),
            ("another starts", fleet.launch, "d"),
            ("one of two is stopped (SIGTERM)", fleet.stop, "c"),
        ]
        for name, act, who in phases:
            begin = time.monotonic()
            if act == fleet.launch:
                await asyncio.to_thread(fleet.launch, who, "aggregator")
            elif act is not None:
                await asyncio.to_thread(act, who)
            await asyncio.sleep(PHASE_S)
            end = time.monotonic()
            gaps = seen.gaps(begin, end)
            rows.append([name, ms(seen.hole(begin, end)), ms(quantile(gaps, 0.5)), ms(quantile(gaps, 0.99))])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await redis.aclose()
    text = (
        f"Apache Kafka with 4 partitions, {SERIES} series over all of them change every {EVERY_S * 1000:.0f} ms beside {LOAD / EVERY_S:,.0f} samples a second; "
        f"one viewer at 10 Hz; {PHASE_S:.0f} s each. A hole is the time between two changes of one series on the viewer's socket; the longest of all series. "
        "Allowed: 2 s on a planned stop, 9 s after SIGKILL."
    )
    return Table("Aggregators that come and go", text, ["what happens", "longest hole", "p50", "p99"], rows)


async def _write(log: Log) -> None:
    number = 0
    due = time.monotonic()
    while True:
        now, number = int(time.time() * 1000), number + 1
        marks: list[Point] = [("bench.mark", {"series": str(i)}, now, float(number), "gauge") for i in range(SERIES)]
        load: list[Point] = [("bench.load", {"series": str(i % 100)}, now, float(i), "gauge") for i in range(LOAD)]
        await log.write(marks + load)
        log.written.clear()
        due += EVERY_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _view(port: int, seen: Seen) -> None:
    url = f"ws://127.0.0.1:{port}/api/v1/live"
    async with websockets.connect(url, subprotocols=[cast("Any", SUBPROTOCOL)], compression=None, max_size=None) as socket:
        await socket.send(json.dumps({"type": "subscribe", "dashboard": "bench", "hz": 10}))
        newest: dict[int, float] = {}
        view = -1
        async for text in socket:
            at, frame = time.monotonic(), json.loads(text)
            if frame["type"] == "snapshot":
                view = frame["panels"][0]["lines"][0]["view"]
            elif frame["type"] == "delta":
                for changed in frame["views"]:
                    for _, groups, values in changed[5] if changed[0] == view else ():
                        for group, value in zip(groups, values, strict=True):
                            if value is not None and value > newest.get(group, -1.0):
                                newest[group] = value
                                seen.at.setdefault(group, []).append(at)
            if len(seen.at) == SERIES:
                seen.ready.set()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        print(measure().markdown())
