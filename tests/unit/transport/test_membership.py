"""Leases over a real Valkey: how aggregators know of each other."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.contract.names import AGGREGATOR_BEATS, AGGREGATORS, AGGREGATORS_CHANNEL
from services.transport.feed import connect
from services.transport.membership import INGESTOR_ROLL, Membership
from services.transport.settings import RedisSettings
from tests.servers import Valkey


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    connected = connect(RedisSettings(url=valkey.url))
    await connected.flushall()
    yield connected
    await connected.aclose()


async def test_members_are_those_whose_leases_hold(redis: Redis) -> None:
    one, other = Membership(redis, "a", 60_000), Membership(redis, "b", 60_000)
    assert await one.renew() == {"a"}
    assert await other.renew() == {"a", "b"}
    assert await one.renew() == {"a", "b"}


async def test_who_leaves_is_no_member(redis: Redis) -> None:
    one, other = Membership(redis, "a", 60_000), Membership(redis, "b", 60_000)
    await one.renew()
    await other.renew()
    await one.leave()
    assert await other.renew() == {"b"}


async def test_a_lease_that_is_not_renewed_ends(redis: Redis) -> None:
    await Membership(redis, "a", 60_000).renew()
    await redis.zadd(AGGREGATORS, {"a": 1_000})  # long ago
    assert await Membership(redis, "b", 60_000).renew() == {"b"}


async def test_who_comes_is_announced_and_who_renews_is_not(redis: Redis) -> None:
    async with redis.pubsub() as listener:
        await listener.subscribe(AGGREGATORS_CHANNEL)
        assert (await listener.get_message(timeout=5) or {})["type"] == "subscribe"
        member = Membership(redis, "a", 60_000)
        for _ in range(3):
            await member.renew()
        await member.leave()
        heard = [await listener.get_message(timeout=5) for _ in range(2)]
        assert [message and message["data"] for message in heard] == [b"a", b"a"]
        assert await listener.get_message(timeout=0.05) is None


async def test_beats_of_who_died_go(redis: Redis) -> None:
    await Membership(redis, "a", 60_000).renew()
    await redis.hset(AGGREGATOR_BEATS, mapping={"a": "{}", "b": "{}", "dead": "{}"})
    await Membership(redis, "b", 60_000).renew()
    assert sorted(await redis.hkeys(AGGREGATOR_BEATS)) == [b"a", b"b"]


async def test_members_of_one_service_are_none_of_another(redis: Redis) -> None:
    one, other = Membership(redis, "a", 60_000), Membership(redis, "b", 60_000, INGESTOR_ROLL)
    await redis.hset(AGGREGATOR_BEATS, "a", "{}")
    assert await one.renew() == {"a"}
    assert await other.renew() == {"b"}
    await other.leave()
    assert await one.renew() == {"a"}
    assert await redis.hkeys(AGGREGATOR_BEATS) == [b"a"]
