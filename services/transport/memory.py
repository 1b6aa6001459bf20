"""What Redis says of its memory, and what was decided about it for all aggregators."""

from collections.abc import Mapping
from typing import Any

import msgspec
from redis.asyncio import Redis

from services.contract.names import BUDGET
from services.transport.feed_connection import cluster_of


class Said(msgspec.Struct, frozen=True):
    """One server's. used, limit: bytes, limit 0 where there is none; policy: '' where it is not said."""

    used: int
    limit: int
    policy: str


async def ask(redis: Redis) -> list[Said]:
    """Of the server, or of each primary of a Cluster. INFO says all of it, also where a managed service forbids CONFIG."""
    cluster = cluster_of(redis)
    return [_said(info) for info in (await cluster.inform("memory") if cluster else [await redis.info("memory")])]


def _said(info: Mapping[str, Any]) -> Said:
    return Said(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)), str(info.get("maxmemory_policy", "")))


async def read_cap(redis: Redis) -> tuple[int, int]:
    """(for how many ms coarse data is kept at most, 0 for no bound; epoch ms when that was decided)."""
    kept, at = await redis.hmget(BUDGET, ["kept", "at"])
    return int(kept or 0), int(at or 0)


async def write_cap(redis: Redis, kept_ms: int, at: int) -> None:
    await redis.hset(BUDGET, mapping={"kept": kept_ms, "at": at})
