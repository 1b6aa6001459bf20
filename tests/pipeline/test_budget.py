"""A feed that runs short of memory: an aggregator drops the oldest coarse data, and what is left is what a batch job over the log computes."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

import pytest
from redis.asyncio import Redis

from services.aggregator import service as service_module
from services.aggregator.metrics import COARSE_CAP_SECONDS
from services.aggregator.service import Aggregator
from services.contract.views import View
from services.transport import registry
from services.transport.history import read_view
from services.transport.settings import KafkaSettings, RedisSettings
from tests import batch_job
from tests.pipeline.test_levels import views, with_levels
from tests.pipeline.world import PATIENCE_S, Log, Point, aggregating, entry, faults, feed, until
from tests.servers import Valkey, running

HOSTS = 8
HOURS_MS = 7_200_000
"""What the longest resolution of `with_levels` is kept for."""
STEP_MS = 60_000
PAUSE_MS = 90_000
"""Between the history and what comes later: folds drop what is old where the clock of the log enters another minute."""


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running(Valkey("--maxmemory", "512mb", "--maxmemory-policy", "noeviction")) as server:
        yield server


@pytest.fixture
async def redis(settings: RedisSettings) -> AsyncIterator[Redis]:
    async with feed(settings) as connected:
        # The aggregator shares this event loop with a batch job that computes for a second here and there.
        connected.connection_pool.connection_kwargs["socket_timeout"] = 30.0
        yield connected


@pytest.fixture(autouse=True)
def weighed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "WEIGH_S", 0.1)


DASHBOARD = with_levels(
    entry(
        "long",
        [{"id": "load", "type": "stat", "query": {"metric": "load", "by": ["host"], "fn": ["avg", "p99"], "every": "1s"}},
         {"id": "added", "type": "stat", "query": {"metric": "added", "by": ["host"], "fn": "sum", "every": "1s"}}],
        "5m",
    )
)  # fmt: skip


def points(chance: random.Random, at: int, hosts: range) -> list[Point]:
    found: list[Point] = []
    for host in hosts:
        labels = {"host": f"h{host}"}
        found.append(("load", labels, at - chance.randrange(2_000), chance.uniform(-5, 5), "gauge"))
        found.append(("added", labels, at - chance.randrange(2_000), chance.uniform(0, 5), "delta"))
    return found


async def write_past(log: Log, chance: random.Random) -> int:
    """From which time on; the samples of every minute."""
    now = int(time.time() * 1000)
    start = now - HOURS_MS + 5 * STEP_MS
    for at in range(start, now - PAUSE_MS, STEP_MS):
        await log.write(points(chance, at, range(HOSTS)), ingest_ms=at)
    return start


async def used(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


def memory(service: Aggregator) -> Mapping[str, object]:
    said = service.status()["memory"]
    assert isinstance(said, dict)
    return said


async def held(redis: Redis, wanted: Iterable[str]) -> dict[str, int]:
    """By view the oldest bucket of its history."""
    found = {name: await read_view(redis, name) for name in wanted}
    return {name: min(item.rows) for name, item in found.items() if item and item.rows}


async def left(redis: Redis, log: Log, wanted: Mapping[str, View]) -> list[str]:
    """What is wrong with the cells from the oldest that is held on: there must be all of them, as the batch job has them."""
    taken, since = batch_job.samples(log.written), await held(redis, wanted)
    wrong = []
    for name, view in wanted.items():
        cells = {at: value for at, value in batch_job.cells(view, taken).items() if at[1] >= since[name]}
        wrong += await faults(redis, name, cells)
    return wrong


async def until_right(redis: Redis, log: Log, wanted: Mapping[str, View], reaches: Callable[[Mapping[str, int]], bool]) -> None:
    """Wait until what is held reaches as far back as it should, and is right."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        since = await held(redis, wanted)
        wrong = [f"held from {since} on"]
        if since.keys() == wanted.keys() and reaches(since) and not (wrong := await left(redis, log, wanted)):
            return
        assert time.monotonic() < deadline, f"{len(wrong)} faults, such as {wrong[:3]}"
        await asyncio.sleep(0.1)


async def test_a_history_that_outgrows_the_memory_loses_its_oldest_coarse_cells_and_the_rest_stays_right(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log
) -> None:
    await registry.write_entry(redis, DASHBOARD)
    wanted, chance = views(DASHBOARD), random.Random(1)
    start = await write_past(log, chance)
    async with aggregating(kafka, settings) as service:
        await until_right(redis, log, wanted, lambda since: min(since.values()) < start + 2 * STEP_MS)
        assert memory(service)["warning"] is None
        await redis.config_set("maxmemory", int(await used(redis) / 0.86))
        await until(lambda: "" if "at 90%" in str(memory(service)["warning"]) else f"no early warning: {memory(service)}")
        assert memory(service)["coarse_kept_ms"] is None

        hosts = 2 * HOSTS
        while not memory(service)["coarse_kept_ms"]:
            await log.write(points(chance, int(time.time() * 1000), range(hosts)))
            hosts += HOSTS
            assert hosts < 2_000, f"it never gets full: {memory(service)}"
            await asyncio.sleep(0.1)
        assert "Redis uses" in str(memory(service)["warning"])
        assert memory(service)["coarse_kept_ms"] == HOURS_MS // 2
        assert COARSE_CAP_SECONDS._value.get() == HOURS_MS / 2_000
        kept_from = int(time.time() * 1000) - HOURS_MS // 2
        await until_right(redis, log, wanted, lambda since: min(since.values()) > kept_from - 3 * STEP_MS)
        after = await held(redis, wanted)
        assert min(after.values()) < kept_from + 2 * STEP_MS, "no more than that was dropped"
