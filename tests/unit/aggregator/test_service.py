"""What the aggregator's tasks do to each other while one of them waits."""

from unittest.mock import AsyncMock

from services.aggregator.folding import Folding
from services.aggregator.service import Aggregator
from services.aggregator.settings import AggregatorSettings
from services.transport.settings import KafkaSettings, RedisSettings


async def test_a_beat_during_which_another_log_begins_is_a_beat_like_any_other() -> None:
    service = Aggregator(AggregatorSettings(instance="a"), KafkaSettings(), RedisSettings())
    checked = AsyncMock()
    folding = Folding(service._redis, KafkaSettings(), "log", 1, [])
    folding.check = folding.look = checked  # type: ignore[method-assign]
    service._folding = folding

    async def begin_another(*_: object) -> None:
        service._folding = None

    service._redis.hset = begin_another  # type: ignore[method-assign, assignment]
    await service._beat()
    assert checked.await_count == 2
    await folding.stop()
    await service._redis.aclose()
