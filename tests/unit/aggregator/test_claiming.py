"""Going on from a log that is over: its folds are closed first, with all that they will ever have."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.aggregator.claiming import Claiming, step_of
from services.aggregator.fold import Fold
from services.contract.partials import Config
from services.transport import lineages, partials
from services.transport.feed import connect
from services.transport.partials import RefusedError
from services.transport.settings import KafkaSettings, RedisSettings
from tests.servers import Valkey
from tests.unit.aggregator.logs import DAY, config, counter, gauge, records, view, write

GROWN, LOAD = view("bytes", "increase"), view(fn="max", every="1s")


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    connected = connect(RedisSettings(url=valkey.url))
    await connected.flushall()
    yield connected
    await connected.aclose()


@pytest.mark.parametrize("held", [True, False])
async def test_what_goes_on_from_a_log_closes_it_with_its_coarser_cells_and_refuses_its_owner(redis: Redis, held: bool) -> None:
    """held: whether the fold had its coarser selections when the log ended; else they are made of what there is."""
    fine = config(GROWN, LOAD)
    coarse = LOAD.inputs[0].selection.coarser(10_000)
    wanted = Config(fine.selections | {coarse.id: coarse}, fine.retentions | {coarse.id: DAY})
    owner = Fold(wanted if held else fine, 0)
    owner.apply(records(write([counter(100.0), gauge(3.0), gauge(5.0, at=4_000)])))
    changes = owner.changes(0)  # nothing is due to be rolled up yet
    await partials.commit(redis, "old", 0, step_of(owner.config, changes, "", "", "first"))
    owner.committed(changes)
    assert await lineages.retire(redis, "old", 1, 60_000)

    next_one = Fold(fine, 0)
    claiming = Claiming(redis, KafkaSettings(), "new", [("old", 1)])
    await claiming.close_before(0, 1, wanted)
    await claiming.seed(next_one, 0, 1)

    assert {float(row["value"]) for row in next_one.counters.last().values()} == {100.0}
    left = await partials.load(redis, "old", 0)
    assert left is not None
    assert lineages.closed(left.stamp)
    cells = Fold.load(left).cells[coarse.id].cells
    assert [float(cells.content(bucket)["max"][0]) for bucket, _ in cells.pages()] == [5.0]
    assert [key for key in await redis.keys("*") if await redis.ttl(key) < 0] == []
    owner.apply(records(write([counter(120.0, at=1_000)], sequence=1), first=1))
    with pytest.raises(RefusedError):
        await partials.commit(redis, "old", 0, step_of(owner.config, owner.changes(0), owner.config.digest, "first", "late"))
    await claiming.close_before(0, 1, wanted)
    again = await partials.load(redis, "old", 0)
    assert again is not None
    assert again.stamp == left.stamp
