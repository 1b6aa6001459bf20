"""How far sources are read, on a real Valkey."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.contract.names import source_key
from services.transport.feed import connect
from services.transport.positions import KEEP_MS, Positions
from services.transport.settings import RedisSettings
from tests.servers import Valkey

NOW = 1_763_791_200_000


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    connected = connect(RedisSettings(url=valkey.url))
    await connected.flushall()
    yield connected
    await connected.aclose()


async def test_a_source_that_was_never_seen_has_no_positions(redis: Redis) -> None:
    known = await Positions(redis, "orders", "t").load("aa")
    assert (known.begun, known.offsets) == (False, {})


async def test_who_begins_first_decides_and_positions_move_on(redis: Redis) -> None:
    one, other = Positions(redis, "orders", "t"), Positions(redis, "orders", "t")
    await one.begin("aa", {0: 5, 1: 7}, NOW)
    await other.begin("aa", {0: 9, 1: 9, 2: 9}, NOW)
    assert (await one.load("aa")).offsets == {0: 5, 1: 7, 2: 9}
    await other.save("aa", {1: 8}, NOW)
    assert (await one.load("aa")).offsets == {0: 5, 1: 8, 2: 9}


async def test_a_topic_that_was_made_again_was_begun_and_has_no_positions(redis: Redis) -> None:
    mine = Positions(redis, "orders", "t")
    await mine.begin("aa", {0: 5}, NOW)
    known = await mine.load("bb")
    assert (known.begun, known.offsets) == (True, {})
    assert not (await Positions(redis, "orders", "another").load("aa")).begun
    assert not (await Positions(redis, "others", "t").load("aa")).begun


async def test_what_is_not_understood_counts_as_not_there(redis: Redis) -> None:
    mine = Positions(redis, "orders", "t")
    await mine.begin("aa", {0: 5, 1: 6}, NOW)
    await redis.hset(source_key("orders"), mapping={"aa/1": "{", "aa/x": "{}", "aa": "1", b"\xff/1": "1"})
    assert (await mine.load("aa")).offsets == {0: 5}


async def test_positions_that_nobody_keeps_go(redis: Redis) -> None:
    mine = Positions(redis, "orders", "t")
    await mine.begin("aa", {0: 5}, NOW)
    await redis.pexpire(source_key("orders"), 1_000)
    await mine.save("aa", {}, NOW)
    assert KEEP_MS - 60_000 < await redis.pttl(source_key("orders")) <= KEEP_MS
