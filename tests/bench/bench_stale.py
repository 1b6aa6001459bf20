"""How soon a viewer is told that a part of the pipeline is away, and that it is back."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import websockets

from services.contract.live import SUBPROTOCOL
from services.local.embedded import free_port
from services.transport.feed import connect
from services.transport.log_wire import LogError
from services.transport.registry import write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.bench.report import Table
from tests.fleet import Fleet
from tests.kafka.server import Kafka
from tests.pipeline.world import Point, entry, writing
from tests.servers import Server, Valkey, running

DASHBOARD = entry(
    "bench",
    [{"id": "mark", "type": "timeseries", "query": {"metric": "bench.mark", "by": [], "fn": "last", "every": "1s"}}],
    "1m",
)
TIMES = 4
AWAY_S = 4.0
PATIENCE_S = 60.0


def measure() -> Table:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Valkey("--appendonly", "no")) as valkey,
        running(Kafka(Path(folder))) as kafka,
    ):
        environ = {"REDIS_URL": valkey.url, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap}
        with Fleet(**environ) as fleet:
            return asyncio.run(_measure(fleet, valkey, kafka))


class Viewer:
    """said: (when, parts that are away) of every status."""

    def __init__(self) -> None:
        self.said: list[tuple[float, list[str]]] = []
        self.changed = asyncio.Event()

    async def watch(self, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/api/v1/live"
        async with websockets.connect(url, subprotocols=[cast("Any", SUBPROTOCOL)], max_size=None) as socket:
            await socket.send(json.dumps({"type": "subscribe", "dashboard": "bench", "hz": 10}))
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "status":
                    self.said.append((time.monotonic(), [part["part"] for part in frame["parts"]]))
                    self.changed.set()

    async def until(self, since: float, holds: Callable[[list[str]], bool]) -> float:
        """Seconds until a status says so."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for at, parts in self.said:
                    if at >= since and holds(parts):
                        return at - since
                self.changed.clear()
                await self.changed.wait()


async def _measure(fleet: Fleet, valkey: Valkey, kafka: Kafka) -> Table:
    redis = connect(RedisSettings(url=valkey.url))
    await write_entry(redis, DASHBOARD)
    await redis.aclose()
    port, viewer, rows = free_port(), Viewer(), []
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, request_timeout_ms=3_000)
    tasks = [asyncio.create_task(_write(settings))]
    await asyncio.to_thread(fleet.start, "gateway", "gateway", {"TIDEBOARD_GATEWAY_PORT": str(port)})
    await asyncio.to_thread(fleet.start, "a", "aggregator")
    tasks.append(asyncio.create_task(viewer.watch(port)))
    await asyncio.sleep(5)
    cases: list[tuple[str, str, Callable[[], None], Callable[[], None]]] = [
        (
            "aggregator, stopped by SIGSTOP",
            "aggregator",
            lambda: fleet.send("a", signal.SIGSTOP),
            lambda: fleet.send("a", signal.SIGCONT),
        ),
        ("aggregator, killed", "aggregator", lambda: fleet.kill("a"), lambda: fleet.launch("a", "aggregator")),
        ("Valkey, stopped by SIGSTOP", "feed", _frozen(valkey, signal.SIGSTOP), _frozen(valkey, signal.SIGCONT)),
        ("Kafka, stopped by SIGSTOP", "log", _frozen(kafka, signal.SIGSTOP), _frozen(kafka, signal.SIGCONT)),
    ]
    for name, part, break_, mend in cases:
        told, back = [], []
        for _ in range(TIMES):
            begun = time.monotonic()
            break_()
            told.append(await viewer.until(begun, lambda parts, part=part: part in parts))  # type: ignore[misc]
            await asyncio.sleep(AWAY_S)
            mended = time.monotonic()
            mend()
            back.append(await viewer.until(mended, lambda parts, part=part: part not in parts))  # type: ignore[misc]
            await asyncio.sleep(3)
        rows.append([name, part, *(f"{value:.2f} s" for value in (min(told), max(told), min(back), max(back)))])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    text = f"One viewer, Apache Kafka, Valkey, one aggregator; {TIMES} times each, {AWAY_S:.0f} s away. Told: until the viewer has the status that names the part. Goal: 2 s."
    return Table(
        "How soon viewers hear that something is away",
        text,
        ["what", "part", "told, least", "told, most", "back, least", "back, most"],
        rows,
    )


def _frozen(server: Server, number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(server.pid, number)


async def _write(kafka: KafkaSettings) -> None:
    """A mark ten times a second, by another writer when the log was away."""
    number, instance = 0.0, 1
    while True:
        instance += 1
        with contextlib.suppress(LogError):
            async with writing(kafka) as log:
                log.instance = instance
                while True:
                    number += 1
                    point: Point = ("bench.mark", {}, int(time.time() * 1000), number, "gauge")
                    await log.write([point])
                    log.written.clear()
                    await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
