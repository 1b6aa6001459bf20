"""Membership: the leases by which the processes of a service know of each other. Ownership follows from them by `contract.ownership`."""

import contextlib
from dataclasses import dataclass
from typing import Final

import msgspec
from redis.asyncio import Redis

from services.contract.names import AGGREGATOR_BEATS, AGGREGATORS, AGGREGATORS_CHANNEL, INGESTORS, INGESTORS_CHANNEL
from services.contract.views import Beat
from services.transport.scripts import Script

RENEW_S: Final = 1.0

_RENEW: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if not new then redis.call('PUBLISH', ARGV[3], ARGV[1]) end
return redis.call('ZRANGE', KEYS[1], 0, -1)
""")


@dataclass(frozen=True, slots=True)
class Roll:
    """Where the members of a service are listed. leases, beats: keys; beats: None where they leave none."""

    leases: str
    channel: str
    beats: str | None = None


AGGREGATOR_ROLL: Final = Roll(AGGREGATORS, AGGREGATORS_CHANNEL, AGGREGATOR_BEATS)
INGESTOR_ROLL: Final = Roll(INGESTORS, INGESTORS_CHANNEL)


class Membership:
    """One member's lease."""

    def __init__(self, redis: Redis, instance: str, lease_ms: int, roll: Roll = AGGREGATOR_ROLL) -> None:
        self._redis = redis
        self._roll = roll
        self._lease_ms = lease_ms
        self.instance = instance
        self.members: frozenset[str] = frozenset()

    async def renew(self) -> frozenset[str]:
        """Hold the lease; who is alive now, this one included. While Redis is away the last answer goes on to hold."""
        answer = await _RENEW.run(self._redis, [self._roll.leases], [self.instance, self._lease_ms, self._roll.channel])
        assert isinstance(answer, list)  # noqa: S101, the script returns one
        members = frozenset(name.decode() for name in answer) | {self.instance}
        if members != self.members:
            await self._bury(members)
        self.members = members
        return members

    async def _bury(self, members: frozenset[str]) -> None:
        """Take away the beats of who is gone without leave; in a cluster every new one has a name of its own."""
        if self._roll.beats is None:
            return
        beats: list[bytes] = await self._redis.hkeys(self._roll.beats)  # type: ignore[assignment]  # the client does not decode
        if dead := [name for name in beats if name.decode() not in members]:
            await self._redis.hdel(self._roll.beats, *dead)

    async def leave(self) -> None:
        """Give the lease back, so that others need not wait for its end."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrem(self._roll.leases, self.instance)
            if self._roll.beats is not None:
                pipe.hdel(self._roll.beats, self.instance)
            pipe.publish(self._roll.channel, self.instance)
            await pipe.execute()


async def beats(redis: Redis) -> dict[str, Beat]:
    """What the aggregators say of themselves, by instance; without those that this version cannot read."""
    found: dict[bytes, bytes] = await redis.hgetall(AGGREGATOR_BEATS)  # type: ignore[assignment]  # the client does not decode
    read = {}
    for instance, text in found.items():
        with contextlib.suppress(msgspec.DecodeError):
            read[instance.decode()] = _BEAT.decode(text)
    return read


_BEAT: Final = msgspec.json.Decoder(Beat)
