"""Viewers when Sentinels promote a replica that was behind: what it has not got, nobody keeps, wherever they come back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.transport.feed import FeedErrors
from services.transport.registry import write_entry
from tests.pipeline.gateway_world import Message, Pen, desk, document, entry, now_ms, panel, serving, view_ids, viewing
from tests.sentinels import Watched, ask, watched

HOST = document("host", panel("cpu", "cpu_busy"), panel("rx", "rx_bytes", query={"fn": "rate"}))
CPU, _ = view_ids(HOST)
NOWHERE = "127.0.0.1 1"
RETRY_S = 0.1
PATIENCE_S = 40.0


async def fail_over(servers: Watched) -> None:
    """The primary dies, and the Sentinels promote the replica as it is."""
    servers.primary.kill()
    await asyncio.to_thread(servers.wait_for_primary, servers.replica.port)


async def again_and_again(action: Callable[[], Awaitable[object]]) -> None:
    """Until the feed takes it."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            await action()
            return
        except FeedErrors:
            assert time.monotonic() < end, "the feed does not come back"
            await asyncio.sleep(RETRY_S)


async def come_back(port: int, since: Message, there: Pen) -> None:
    """With what was lost: the answer is everything, perhaps as it was a moment ago, and what has come since."""
    async with viewing(port, "host", since) as screen:
        await screen.until(lambda: screen.versions.get(CPU) == there.version)
        assert screen.table(CPU) == there.truth()


async def test_a_replica_that_was_behind_takes_nobody_along_who_has_more(tmp_path: Path) -> None:
    start = now_ms() // 1_000 * 1_000 - 5_000
    with watched(tmp_path) as servers:
        async with desk(servers.url) as redis, serving(servers.url) as gateway:
            await write_entry(redis, entry(HOST))
            lost = Pen(redis, CPU)
            await lost.write({(start, "0"): 1})
            async with viewing(gateway.port, "host") as staying, viewing(gateway.port, "host") as leaving:
                await staying.hear_a("snapshot")
                await leaving.hear_a("snapshot")
                assert await redis.wait(1, 10_000) == 1
                assert ask(servers.replica.port, f"REPLICAOF {NOWHERE}").startswith("+OK")
                await lost.write({(start + 1_000, "1"): 2})
                await staying.until(lambda: staying.versions[CPU] == lost.version)
                await leaving.until(lambda: leaving.versions[CPU] == lost.version)
                await leaving.socket.close()
                await fail_over(servers)
                there = Pen(redis, CPU)
                await again_and_again(there.take_over)
                assert there.version < lost.version
                await again_and_again(lambda: there.write({(start + 2_000, "2"): 3}))
                await staying.until(lambda: staying.versions[CPU] == there.version)
                assert staying.table(CPU) == there.truth()
                assert staying.groups[CPU] == {0: {"cpu": "0"}, 1: {"cpu": "2"}}, "the number of a group that was lost"
                assert staying.epoch == leaving.epoch
            since = leaving.since
            async with serving(servers.url) as other:
                for port in (gateway.port, other.port):
                    await come_back(port, since, there)
