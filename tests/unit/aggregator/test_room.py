"""Room: what Redis says of its memory, and what all aggregators are told, over a real Valkey."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.aggregator.facts import Facts
from services.aggregator.room import Room
from services.aggregator.wanted import wanted
from services.contract.registry import VERSION, Entry
from services.transport import memory
from services.transport.feed import connect
from services.transport.membership import Membership
from services.transport.settings import KafkaSettings, RedisSettings
from tests.servers import Valkey

DAY = 86_400_000
ENTRY = Entry(VERSION, "x", "r", {
    "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "x"},
    "spec": {"panels": [{"id": "p", "type": "stat", "query": {"metric": "load"}}]},
}, "test")  # fmt: skip


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    connected = connect(RedisSettings(url=valkey.url))
    await connected.flushall()
    yield connected
    await connected.config_set("maxmemory", 0)
    await connected.config_set("maxmemory-policy", "noeviction")
    await connected.aclose()


def facts(redis: Redis, instance: str) -> Facts:
    """Of an aggregator among two, a and b."""
    membership = Membership(redis, instance, 3_000)
    membership.members = frozenset({"a", "b"})
    found = Facts(redis, KafkaSettings(), membership)
    found._entries = {"x": ENTRY}
    found.wanted = wanted(found._entries)
    return found


def longest(found: Facts) -> int:
    assert found.wanted is not None
    return max(kept_ms for _, kept_ms in found.wanted.views.values())


async def test_a_budget_that_is_exceeded_halves_what_is_coarse_for_all_aggregators(redis: Redis) -> None:
    first, second = facts(redis, "a"), facts(redis, "b")
    rooms = [Room(redis, first, 1 << 10), Room(redis, second, 1 << 10)]
    await rooms[1].look()
    assert longest(second) == 14 * DAY, "the other one decides"
    for room in rooms:
        await room.look()
    assert (longest(first), longest(second)) == (7 * DAY, 7 * DAY)
    assert (await memory.read_cap(redis))[0] == 7 * DAY
    assert "is dropped" in str(rooms[0].status()["warning"])
    await rooms[0].look()
    assert longest(first) == 7 * DAY, "what was let go is waited for"


async def test_without_a_budget_nothing_is_said(redis: Redis) -> None:
    found = facts(redis, "a")
    room = Room(redis, found, 0)
    await room.look()
    assert (room.evicts, room.status()["warning"], longest(found)) == ("", None, 14 * DAY)


async def test_the_servers_own_limit_counts_and_its_policy_is_looked_at(redis: Redis) -> None:
    await redis.config_set("maxmemory", "1gb")
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    room = Room(redis, facts(redis, "a"), 0)
    await room.look()
    assert room.status()["budget"] == 1 << 30
    assert "set maxmemory-policy to noeviction" in room.evicts
    await redis.config_set("maxmemory-policy", "noeviction")
    await room.look()
    assert room.evicts == ""
