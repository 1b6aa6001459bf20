"""The lineages that the feed knows: which logs there have been, so that cells of the one before go on to count.

What a lineage is, and how the present one is read, is in `lineage`.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Final

from redis.asyncio import Redis

from services.contract.names import LINEAGES, fold_key
from services.contract.partials import COUNTERS, Config
from services.transport import partials
from services.transport.scripts import Script

MAX_KNOWN: Final = 32
NOTHING_MS: Final = 86_400_000
"""How long it is remembered that a fold was closed of which nothing was stored."""
_OVER: Final = "over:"


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
        if (stored := await partials.load(redis, lineage, partition, [])) is not None:
            there = True
            await _expire(redis, lineage, partition, stored.config, after_ms)
    return there


async def expire_alike(redis: Redis, lineage: str, partition: int, config: Config) -> None:
    """What the last commit of a log that is over has added goes when the rest of it does."""
    left: int = await redis.pttl(fold_key(lineage, partition, "meta"))
    if left > 0:
        await _expire(redis, lineage, partition, config, left)


async def _expire(redis: Redis, lineage: str, partition: int, config: Config, after_ms: int) -> None:
    parts = ["meta", "log"]
    for name in (*config.selections, COUNTERS):
        parts += (f"cells:{name}", f"groups:{name}")
    async with redis.pipeline(transaction=False) as pipe:
        for part in parts:
            pipe.pexpire(fold_key(lineage, partition, part), after_ms, nx=True)
        await pipe.execute()


_CLOSE: Final = Script("""
if redis.call('HEXISTS', KEYS[1], 'offset') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'stamp', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")


async def close_nothing(redis: Redis, lineage: str, partition: int) -> bool:
    """Let the first commit of a fold of which nothing lies be refused. False: something lies there."""
    return bool(await _CLOSE.run(redis, [fold_key(lineage, partition, "meta")], [last_stamp(), NOTHING_MS]))


def last_stamp() -> str:
    """The stamp of a fold's last commit: nothing is added to it any more."""
    return _OVER + secrets.token_hex(8)


def closed(stamp: str) -> bool:
    """Whether the fold with this stamp was closed."""
    return stamp.startswith(_OVER)


async def stamps(redis: Redis, lineage: str, partitions: Iterable[int]) -> list[str]:
    """Of each fold the name of its last commit; empty where nothing lies."""
    async with redis.pipeline(transaction=False) as pipe:
        for partition in partitions:
            pipe.hget(fold_key(lineage, partition, "meta"), "stamp")
        return [(stamp or b"").decode() for stamp in await pipe.execute()]
