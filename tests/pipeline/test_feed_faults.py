"""A feed that is slow, that hangs, or that was changed while nobody looked: the aggregator bears it, and says so."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from services.aggregator.folding import MAX_DIRTY_PAGES
from services.aggregator.service import Aggregator
from services.contract.names import AGGREGATORS
from services.transport import registry
from services.transport.settings import KafkaSettings, RedisSettings
from tests.chaos.proxy import Proxy
from tests.pipeline.gateway_world import serving, viewing
from tests.pipeline.test_aggregator import EVERYTHING, points
from tests.pipeline.world import aggregating, entry, register, settled, until, writing
from tests.servers import Valkey, running

KEPT = entry("kept", [{"id": "a", "type": "stat", "query": {"metric": "load", "fn": "avg"}}])


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running(Valkey()) as server:
        yield server


async def lasting(redis: Redis, pattern: str) -> set[bytes]:
    """The keys that nobody has let go."""
    return {key async for key in redis.scan_iter(match=pattern, count=1_000) if await redis.pttl(key) < 0}


async def test_a_dashboard_that_went_while_nobody_looked_leaves_no_keys(
    valkey: Valkey, kafka: KafkaSettings, redis: Redis
) -> None:
    settings = RedisSettings(url=valkey.url)
    async with writing(kafka) as log:
        removed = await register(redis, EVERYTHING)
        kept = await register(redis, KEPT)
        async with aggregating(kafka, settings):
            await log.write(points(random.Random(1), 20))
            await settled(redis, log, removed | kept)
        alone = {view: item for view, item in kept.items() if view not in removed}
        assert len(await lasting(redis, "{tb:view:*")) > len(removed)
        await registry.delete_entry(redis, EVERYTHING.name)
        async with aggregating(kafka, settings), asyncio.timeout(60):
            asked = {selection.selection.id for view in kept.values() for selection in view.inputs}
            while True:
                views = {key.decode()[len("{tb:view:") :].partition("}")[0] for key in await lasting(redis, "{tb:view:*")}
                cells = {key.decode().rpartition(":")[2] for key in await lasting(redis, "{tb:*cells:*")} - {"counters"}
                if not (
                    views & removed.keys() - kept.keys()
                    or cells & {i.selection.id for v in removed.values() for i in v.inputs} - asked
                ):
                    break
                await asyncio.sleep(0.2)
            await log.write(points(random.Random(2), 20))
            await settled(redis, log, alone or kept)


async def test_a_slow_feed_costs_time_and_no_cell(valkey: Valkey, kafka: KafkaSettings, redis: Redis) -> None:
    proxy = Proxy(valkey.port)
    await proxy.start()
    async with writing(kafka) as log:
        wanted = await register(redis, EVERYTHING)
        async with aggregating(kafka, RedisSettings(url=f"redis://127.0.0.1:{proxy.port}/0")) as aggregator:
            await log.write(points(random.Random(1), 20))
            await settled(redis, log, wanted)
            proxy.delay_s = 0.15
            for seed in range(5):
                await log.write(points(random.Random(seed), 20))
            await settled(redis, log, wanted, 30)
            # So slow that nothing is answered in time: what was asked for may have happened.
            proxy.delay_s = 3.0
            await log.write(points(random.Random(9), 20))
            await until(lambda: "" if aggregator.readiness().startswith("feed: ") else "it does not say that the feed is away")
            proxy.delay_s = 0.0
            await log.write(points(random.Random(10), 20))
            await settled(redis, log, wanted, 30)
    await proxy.stop()


async def test_while_the_feed_hangs_partitions_pause_and_viewers_see_the_age_and_then_all_goes_on(
    valkey: Valkey, kafka: KafkaSettings, redis: Redis
) -> None:
    async with (
        writing(kafka) as log,
        aggregating(kafka, RedisSettings(url=valkey.url)) as aggregator,
        serving(valkey.url) as gateway,
    ):
        wanted = await register(redis, EVERYTHING)
        await log.write(points(random.Random(1), 20))
        await settled(redis, log, wanted)
        async with viewing(gateway.port, EVERYTHING.name) as screen:
            await screen.hear_a("snapshot")
            os.kill(valkey.pid, signal.SIGSTOP)
            try:
                said = await screen.hear_a("status", stale=True)
                assert [part["part"] for part in said["parts"]] == ["feed"] and said["age_ms"] >= 0
                for seed in range(200):
                    if paused(aggregator.status()):
                        break
                    await log.write(points(random.Random(seed), 20, 90_000))
                    await asyncio.sleep(0.05)
                await until(lambda: "" if paused(aggregator.status()) else "nothing has paused")
                before, held = where(aggregator.status()), dirty(aggregator)
                assert max(held.values()) > MAX_DIRTY_PAGES
                for seed in range(200, 205):
                    await log.write(points(random.Random(seed), 20, 90_000))
                await asyncio.sleep(1.0)
                assert (where(aggregator.status()), dirty(aggregator)) == (before, held), (
                    "nothing more is read, and no more is held"
                )
            finally:
                os.kill(valkey.pid, signal.SIGCONT)
            await settled(redis, log, wanted, 30)
            await screen.hear_a("status", stale=False)


async def test_what_was_taken_up_in_part_is_given_up_again_when_the_others_come_back(
    valkey: Valkey, kafka: KafkaSettings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed loses the other's lease and fails before everything is taken up; then the other is there again, and all facts are what they were."""
    far = time.time() * 1000 + 3_600_000
    await redis.zadd(AGGREGATORS, {"other": far})
    async with writing(kafka), aggregating(kafka, RedisSettings(url=valkey.url)) as aggregator:
        await register(redis, EVERYTHING)
        await until(lambda: "" if aggregator.readiness() == "" else aggregator.readiness())
        mine = set(aggregator.status()["partitions"])  # type: ignore[call-overload]
        assert len(mine) == 2
        want, alone = aggregator._merging.want, asyncio.Event()

        async def fail(*args: Any) -> None:
            monkeypatch.setattr(aggregator._merging, "want", want)
            await redis.zadd(AGGREGATORS, {"other": far})
            while len(aggregator._membership.members) < 2:  # noqa: ASYNC110, it renews its lease once a second
                await asyncio.sleep(0.01)
            alone.set()
            raise ConnectionError("closed by server")

        monkeypatch.setattr(aggregator._merging, "want", fail)
        await redis.zrem(AGGREGATORS, "other")
        async with asyncio.timeout(30):
            await alone.wait()
        await until(lambda: "" if set(aggregator.status()["partitions"]) == mine else "it folds what is another's")  # type: ignore[call-overload]


def where(status: dict[str, object]) -> dict[str, int]:
    """The offset that each partition's fold has reached, stored or not."""
    return {name: item["folded"] for name, item in status["partitions"].items()}  # type: ignore[attr-defined]


def paused(status: dict[str, object]) -> bool:
    return any(item["paused"] for item in status["partitions"].values())  # type: ignore[attr-defined]


def dirty(aggregator: Aggregator) -> dict[int, int]:
    """By partition the pages that wait for the feed."""
    held = aggregator._folding
    assert held is not None
    return {p: sum(len(cells.cells.dirty) for cells in slot.fold.cells.values()) for p, slot in held.slots.items()}
