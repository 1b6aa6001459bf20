"""Placements: how the samples of each partition of a source's topic are placed, beside its positions in Redis; see `contract.placement`.

What lies there is only ever changed by compare-and-set. Where Redis forgot, or went back to an older copy, whoever still knows better says so
with the next change.
"""

from collections.abc import Callable, Iterable

from redis.asyncio import Redis

from services.contract import placement
from services.contract.names import source_key
from services.contract.placement import Placement
from services.transport.scripts import Script

_SWAP = Script("""
local held = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if held ~= ARGV[2] then return held end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ARGV[3]
""")


class Placements:
    """Of one source in one topic. Redis errors and PlacementError from any method that waits: call again."""

    def __init__(self, redis: Redis, source: str, topic_id: str) -> None:
        self._redis = redis
        self._key = source_key(source)
        self._topic_id = topic_id
        self._lies: dict[int, bytes] = {}  # what was last seen there

    async def claim(self, partitions: Iterable[int], count: int) -> dict[int, Placement]:
        """Of each partition; one that has none yet begins with so many partitions of our topic."""
        return {partition: await self.change(partition, placement.begun(count), lambda it: it) for partition in partitions}

    async def change(self, partition: int, known: Placement, change: Callable[[Placement], Placement]) -> Placement:
        """What lies there after the change was made. known: what it was when it was last seen; the change may be asked for again and again."""
        while True:
            lies = self._lies.get(partition, b"")
            wanted = placement.encode(change(placement.decode(lies).newer(known) if lies else known))
            found = await _SWAP.run(self._redis, [self._key], [field(self._topic_id, partition), lies, wanted])
            assert isinstance(found, bytes)  # noqa: S101, the script returns one
            self._lies[partition] = found
            if found == wanted:
                return placement.decode(found)


def field(topic_id: str, partition: int) -> str:
    """Not that of the position: a version that knows no placements writes that one anew."""
    return f"placed:{topic_id}/{partition}"
