"""The comparison of what lies in Redis."""

from collections.abc import AsyncIterator, Mapping

import pytest
from redis.asyncio import Redis

from services.contract.partials import Config
from services.contract.views import Selection
from tests.chaos.checking import Job, compare
from tests.chaos.reference import At, Partial
from tests.servers import Valkey, running

ASKED = Selection("load", (), (), "moments", 1_000)


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    with running(Valkey()) as valkey:
        found = Redis.from_url(valkey.url, protocol=2)
        yield found
        await found.aclose()


def job(cells: Mapping[At, Partial]) -> Job:
    return Job([("lineage", {0: []})], [], Config({ASKED.id: ASKED}, {ASKED.id: 60_000}), {(0, 0): {ASKED.id: cells}})


async def test_of_a_log_that_was_over_before_anybody_folded_it_nothing_need_be_stored(redis: Redis) -> None:
    assert (await compare(redis, job({}))).wrong == []


async def test_where_something_should_be_stored_and_nothing_is_that_is_wrong(redis: Redis) -> None:
    wrong = (await compare(redis, job({(b"\xff", 99_000): (1, 1.0, 1.0, 1.0, 99_000, 1.0)}))).wrong
    assert wrong == ["partition 0 of lineage: nothing is stored instead of 1 partial cells"]
