"""Positions: how far each partition of a source's topic is read, in one hash of Redis per source.

A position is written after what lies before it is in our own topic, so it is never too high; and it may be too low without harm, since
the fold knows the samples that it has. So nobody needs to compare before writing: of two who think that they own a partition the slower one
may set a position back, and some records are read again.
Positions are of a topic's identity, so that one that was made again is read from its start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from redis.asyncio import Redis

from services.contract.names import source_key

KEEP_MS: Final = 14 * 86_400_000
"""How long the positions of a source are kept that nobody reads any more; as long as a fold knows what was read."""
_BEGUN: Final = "begun:"


class Position(msgspec.Struct, frozen=True):
    """offset: of the next record to read; at: epoch ms when it was written."""

    offset: int
    at: int
    v: int = 1


@dataclass(slots=True)
class Known:
    """What lies there. begun: whether the topic was ever begun to be read for this source; offsets: of this topic's partitions."""

    begun: bool = False
    offsets: dict[int, int] = field(default_factory=dict)


class Positions:
    """The positions of one source in one topic."""

    def __init__(self, redis: Redis, source: str, topic: str) -> None:
        self._redis = redis
        self._key = source_key(source)
        self._begun = f"{_BEGUN}{topic}"

    async def load(self, topic_id: str) -> Known:
        held: dict[bytes, bytes] = await self._redis.hgetall(self._key)  # type: ignore[assignment]  # the client does not decode
        known = Known(self._begun.encode() in held)
        for name, blob in held.items():
            prefix, _, partition = name.decode(errors="replace").rpartition("/")
            if prefix == topic_id:
                try:
                    known.offsets[int(partition)] = msgspec.json.decode(blob, type=Position).offset
                except (ValueError, msgspec.DecodeError):
                    continue
        return known

    async def begin(self, topic_id: str, offsets: Mapping[int, int], now_ms: int) -> None:
        """The first positions of partitions; those that somebody else has begun meanwhile stay as they are."""
        async with self._redis.pipeline(transaction=True) as together:
            together.hsetnx(self._key, self._begun, str(now_ms))
            for partition, offset in offsets.items():
                together.hsetnx(self._key, f"{topic_id}/{partition}", msgspec.json.encode(Position(offset, now_ms)))
            together.pexpire(self._key, KEEP_MS)
            await together.execute()

    async def save(self, topic_id: str, offsets: Mapping[int, int], now_ms: int) -> None:
        fields: dict[str | bytes, bytes] = {
            f"{topic_id}/{partition}": msgspec.json.encode(Position(offset, now_ms)) for partition, offset in offsets.items()
        }
        async with self._redis.pipeline(transaction=True) as together:
            if fields:
                together.hset(self._key, mapping=fields)  # type: ignore[arg-type]
            together.pexpire(self._key, KEEP_MS)
            await together.execute()
