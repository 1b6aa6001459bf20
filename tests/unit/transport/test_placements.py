"""What bridges agree on about placing, on a real Valkey."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.contract.names import source_key
from services.contract.placement import PlacementError, begun
from services.transport.feed import connect
from services.transport.placements import Placements, field
from services.transport.positions import Positions
from services.transport.settings import RedisSettings
from tests.servers import Valkey

NOW = 1_763_791_200_000


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    connected = connect(RedisSettings(url=valkey.url))
    await connected.flushall()
    yield connected
    await connected.aclose()


async def test_who_comes_first_decides_and_positions_are_not_touched(redis: Redis) -> None:
    positions, one, other = (
        Positions(redis, "orders", "t"),
        Placements(redis, "orders", "aa"),
        Placements(redis, "orders", "aa"),
    )
    await positions.begin("aa", {0: 5}, NOW)
    assert await one.claim([0, 1], 4) == {0: begun(4), 1: begun(4)}
    assert await other.claim([0, 1, 2], 8) == {0: begun(4), 1: begun(4), 2: begun(8)}
    assert await Placements(redis, "orders", "bb").claim([0], 9) == {0: begun(9)}
    assert (await positions.load("aa")).offsets == {0: 5}


async def test_of_changes_that_cross_each_is_made_to_what_the_other_left(redis: Redis) -> None:
    one, other = Placements(redis, "orders", "aa"), Placements(redis, "orders", "aa")
    (known,) = (await one.claim([0], 4)).values()
    await other.claim([0], 4)
    assert await one.change(0, known, lambda it: it.reserve(120)) == begun(4).reserve(120)
    assert (await other.change(0, known, lambda it: it.turn(100, 8))).spans == ((0, 4), (120, 8))
    found = await one.change(0, known, lambda it: it if it.count == 8 else it.reserve(130))
    assert (found.spans, found.reserved) == (((0, 4), (120, 8)), 120)


async def test_what_redis_forgot_or_has_an_older_copy_of_comes_back_with_the_next_change(redis: Redis) -> None:
    mine, key = Placements(redis, "orders", "aa"), source_key("orders")
    (known,) = (await mine.claim([0], 4)).values()
    copy = await redis.hget(key, field("aa", 0))
    assert copy
    known = await mine.change(0, known, lambda it: it.turn(100, 8))
    for older in (None, copy):
        await redis.delete(key)
        if older:
            await redis.hset(key, field("aa", 0), older)
        assert (await mine.change(0, known, lambda it: it.reserve(110))).spans == ((0, 4), (100, 8))
        assert (await Placements(redis, "orders", "aa").claim([0], 9))[0].spans == ((0, 4), (100, 8))


async def test_what_another_version_wrote_stays_as_it_is(redis: Redis) -> None:
    await redis.hset(source_key("orders"), field("aa", 0), b'{"v":7}')
    with pytest.raises(PlacementError):
        await Placements(redis, "orders", "aa").claim([0], 4)
    assert await redis.hget(source_key("orders"), field("aa", 0)) == b'{"v":7}'
