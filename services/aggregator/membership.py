"""Membership: the leases by which aggregators know of each other. Ownership follows from them by `ownership`."""

from typing import Final

from redis.asyncio import Redis

from services.contract.names import AGGREGATOR_BEATS, AGGREGATORS, AGGREGATORS_CHANNEL
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


class Membership:
    """One aggregator's lease."""

    def __init__(self, redis: Redis, instance: str, lease_ms: int) -> None:
        self._redis = redis
        self._lease_ms = lease_ms
        self.instance = instance
        self.members: frozenset[str] = frozenset()

    async def renew(self) -> frozenset[str]:
        """Hold the lease; who is alive now, this one included. While Redis is away the last answer goes on to hold."""
        answer = await _RENEW.run(self._redis, [AGGREGATORS], [self.instance, self._lease_ms, AGGREGATORS_CHANNEL])
        assert isinstance(answer, list)  # noqa: S101, the script returns one
        members = frozenset(name.decode() for name in answer) | {self.instance}
        if members != self.members:
            await self._bury(members)
        self.members = members
        return members

    async def _bury(self, members: frozenset[str]) -> None:
        """Take away the beats of who is gone without leave; in a cluster every new one has a name of its own."""
        beats: list[bytes] = await self._redis.hkeys(AGGREGATOR_BEATS)  # type: ignore[assignment]  # the client does not decode
        if dead := [name for name in beats if name.decode() not in members]:
            await self._redis.hdel(AGGREGATOR_BEATS, *dead)

    async def leave(self) -> None:
        """Give the lease back, so that others need not wait for its end."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrem(AGGREGATORS, self.instance)
            pipe.hdel(AGGREGATOR_BEATS, self.instance)
            pipe.publish(AGGREGATORS_CHANNEL, self.instance)
            await pipe.execute()
