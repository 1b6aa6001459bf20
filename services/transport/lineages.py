"""The lineages that the feed knows: which logs there have been, so that cells of the one before go on to count.

What a lineage is, and how the present one is read, is in `lineage`.
"""

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from services.contract.names import LINEAGES, fold_key
from services.contract.partials import COUNTERS
from services.transport import partials

MAX_KNOWN: Final = 32


async def enter(redis: Redis, lineage: str, partitions: int, now_ms: int) -> list[tuple[str, int]]:
    """Remember a lineage; all that are known as (name, partitions), oldest first, this one last."""
    member = f"{lineage}:{partitions}"
    async with redis.pipeline(transaction=True) as pipe:
        pipe.zadd(LINEAGES, {member: now_ms}, nx=True)
        pipe.zremrangebyrank(LINEAGES, 0, -MAX_KNOWN - 1)
        pipe.zrange(LINEAGES, 0, -1)
        known = (await pipe.execute())[-1]
    found: dict[str, int] = {}
    for name, _, count in (item.decode().rpartition(":") for item in known):
        found[name] = max(int(count), found.get(name, 0))  # a log may have grown
    return [item for item in found.items() if item[0] != lineage] + [(lineage, partitions)]


async def keep(redis: Redis, known: Sequence[tuple[str, int]], now_ms: int) -> None:
    """Remember these again where the feed has lost them, oldest first."""
    async with redis.pipeline(transaction=False) as pipe:
        for age, (lineage, partitions) in enumerate(reversed(known)):
            pipe.zadd(LINEAGES, {f"{lineage}:{partitions}": now_ms - age}, nx=True)
        await pipe.execute()


async def retire(redis: Redis, lineage: str, partitions: int, after_ms: int) -> bool:
    """Let the partials of a log that is over go after a while; whether there are any. Calling it again does not prolong it."""
    there = False
    for partition in range(partitions):
        if (stored := await partials.load(redis, lineage, partition, [])) is None:
            continue
        there = True
        parts = ["meta", "log"]
        for name in (*stored.config.selections, COUNTERS):
            parts += (f"cells:{name}", f"groups:{name}")
        async with redis.pipeline(transaction=False) as pipe:
            for part in parts:
                pipe.pexpire(fold_key(lineage, partition, part), after_ms, nx=True)
            await pipe.execute()
    return there
