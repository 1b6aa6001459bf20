"""Aggregator, Kafka and Valkey die and come back while somebody watches, all of them processes of their own.

The gateway stays ready throughout, every viewer is told which part is away and since when, sees how old its panels are and keeps
their last values; and all goes on by itself. How soon they are told is shown by tests/unit/gateway/test_soon.py, and measured by `make bench ARGS=stale`.
"""

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.gateway.outside import PARTS
from services.local.embedded import free_port
from services.transport.feed import connect
from services.transport.log_wire import LogError
from services.transport.registry import write_entry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.fleet import Fleet
from tests.kafka.server import Kafka, empty
from tests.pipeline.gateway_world import Message, metrics_at, now_ms, request, viewing
from tests.pipeline.test_gateway_events import listening
from tests.pipeline.world import Point, entry, writing
from tests.servers import Valkey, running

BUCKET_MS = 1_000
DASHBOARD = entry(
    "host",
    [
        {"id": name, "type": "timeseries", "query": {"metric": f"test.{name}", "by": [], "fn": "last", "every": "1s"}}
        for name in ("mark", "once", "never")
    ],
    "15m",
)
"""mark: written all the time; once: at the beginning; never: what its name says."""
PATIENCE_S = 90.0
STEP_S = 0.05


class Ear:
    """A viewer, whatever its door. status: the last one that it was told. newest: start of the newest bucket that it was sent a value of."""

    def __init__(self, name: str, hear: Callable[[], Awaitable[Message | None]]) -> None:
        self.name = name
        self.status: Message | None = None
        self.newest = 0
        self._hear = hear

    async def listen(self) -> None:
        """Until cancelled."""
        while message := await self._hear():
            if message["type"] == "status":
                self.status = message
            elif message["type"] in ("snapshot", "delta"):
                self.newest = max([self.newest, *(cells[0] for cells in _columns(message))])

    @property
    def parts(self) -> list[str]:
        """What it has been told to be away."""
        return [part["part"] for part in self.status["parts"]] if self.status else []


def _columns(message: Message) -> list[Any]:
    if message["type"] == "snapshot":
        return [cells for view in message["views"] for cells in view["cells"]]
    return [cells for view in message.get("views", ()) for cells in view[5]]


class Probe:
    """What /readyz has answered, again and again."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/readyz"
        self.asked = 0
        self.refusals: list[str] = []

    async def ask(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.to_thread(self._ask)
            await asyncio.sleep(STEP_S)

    def _ask(self) -> None:
        self.asked += 1
        try:
            with urllib.request.urlopen(self._url, timeout=30) as answer:
                assert answer.status == 200
        except urllib.error.HTTPError as error:
            self.refusals.append(error.read().decode())


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey that keeps what it holds when it is killed."""
    with running(Valkey("--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path))) as server:
        yield server


async def write(kafka: KafkaSettings, once_at: int) -> None:
    """A mark ten times a second, by another writer when the log was away; and one of `once`."""
    async with writing(kafka) as log:
        await log.write([("test.once", {}, once_at, 1.0, "gauge")])
    instance = 1
    while True:
        instance += 1
        with contextlib.suppress(LogError):
            async with writing(kafka) as log:
                log.instance = instance
                while True:
                    point: Point = ("test.mark", {}, now_ms(), float(instance), "gauge")
                    await log.write([point])
                    log.written.clear()
                    await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def watching(port: int) -> AsyncIterator[list[Ear]]:
    """A viewer with ten frames a second, one that is paused, and one of the event stream."""
    async with viewing(port, "host") as screen, viewing(port) as paused, listening(port) as listener:
        await paused.say({"type": "subscribe", "dashboard": "host", "hz": 0})
        ears = [
            Ear("screen", screen.hear),
            Ear("paused", paused.hear),
            Ear("events", listener.hear),
        ]
        tasks = [asyncio.create_task(ear.listen()) for ear in ears]
        try:
            yield ears
            assert not any(task.done() for task in tasks), "nobody was cut off"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        await asyncio.sleep(STEP_S)


async def told_of(part: str, since: int, ears: list[Ear], once_at: int) -> None:
    """Everybody is told that this part is away, and nothing else, and how old each panel is that has values."""
    await until(f"all are told of {part}: {[ear.status for ear in ears]}", lambda: all(ear.parts == [part] for ear in ears))
    for ear in ears:
        status = ear.status
        assert status and status["stale"] is True and status["age_ms"] >= 0, ear.name
        (told,) = status["parts"]
        assert told["reason"] and since - 5_000 <= told["since"] <= now_ms(), (ear.name, told)
        ages = status["panels"]
        assert ages.keys() == {"mark", "once"}
        assert status["now"] - ages["once"] == once_at // BUCKET_MS * BUCKET_MS + BUCKET_MS, "the end of its only bucket"
        assert 0 <= ages["mark"] < ages["once"] - BUCKET_MS


async def last_values_stay(port: int) -> None:
    """Who comes now sees them, too."""
    status, _, body = await request(port, "/api/v1/dashboards/host/snapshot")
    assert status == 200 and _columns(json.loads(body))
    async with viewing(port, "host") as late:
        snapshot = await late.hear_a("snapshot")
        assert _columns(snapshot) and (await late.hear_a("status"))["stale"] is True


async def goes_on(ears: list[Ear]) -> None:
    """Nothing is away any more, and there are values of now."""
    back = now_ms()
    await until(
        f"all goes on: {[(ear.name, ear.parts, ear.newest - back) for ear in ears]}",
        lambda: all(ear.parts == [] and (ear.newest > back or ear.name == "paused") for ear in ears),
    )
    assert not any(ear.status and ear.status["stale"] for ear in ears)


async def counted(admin: int, *parts: str) -> None:
    """The metrics name these parts as away from the dashboard, and no others."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await asyncio.to_thread(metrics_at, admin)
            away = {labels[0]: value for (name, labels), value in found.items() if name == "parts_away"}
            if away == {part: float(part in parts) for part in PARTS}:
                return
            await asyncio.sleep(STEP_S)


async def test_each_part_dies_and_comes_back_and_the_gateway_says_so_and_stays_ready(feed: Valkey, kafka_server: Kafka) -> None:
    await empty(kafka_server)
    kafka = KafkaSettings(bootstrap_servers=kafka_server.bootstrap, request_timeout_ms=3_000)
    redis = connect(RedisSettings(feed.url))
    await write_entry(redis, DASHBOARD)
    await redis.aclose()
    port = free_port()
    with Fleet(REDIS_URL=feed.url, KAFKA_BOOTSTRAP_SERVERS=kafka_server.bootstrap) as fleet:
        await asyncio.to_thread(fleet.start, "gateway", "gateway", {"TIDEBOARD_GATEWAY_PORT": str(port)})
        fleet.launch("a", "aggregator")
        parts: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
            ("aggregator", lambda: fleet.kill("a"), lambda: fleet.launch("a", "aggregator")),
            ("log", kafka_server.kill, kafka_server.launch),
            ("feed", feed.kill, feed.launch),
        ]
        probe = Probe(fleet.admin("gateway"))
        once_at = now_ms()
        tasks = [asyncio.create_task(write(kafka, once_at)), asyncio.create_task(probe.ask())]
        async with watching(port) as ears:
            await goes_on(ears)
            await asyncio.sleep(2 * BUCKET_MS / 1_000)  # until it is older than what goes on
            for part, kill, launch in parts:
                begun = now_ms()
                kill()
                try:
                    await told_of(part, begun, ears, once_at)
                    await counted(fleet.admin("gateway"), part)
                    await last_values_stay(port)
                finally:
                    launch()
                await goes_on(ears)
                await counted(fleet.admin("gateway"))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert probe.asked > 20 and probe.refusals == []
