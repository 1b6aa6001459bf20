"""What the aggregator's tasks do to each other while one of them waits."""

from typing import Any
from unittest.mock import AsyncMock

from services.aggregator.folding import Folding
from services.aggregator.service import Aggregator
from services.aggregator.settings import AggregatorSettings
from services.transport.settings import KafkaSettings, RedisSettings
from tests.servers import Valkey


async def test_a_beat_during_which_another_log_begins_is_a_beat_like_any_other(valkey: Valkey) -> None:
    service = Aggregator(AggregatorSettings(instance="a"), KafkaSettings(), RedisSettings(url=valkey.url))
    checked = AsyncMock()
    folding = Folding(service._redis, KafkaSettings(), "log", 1, [])
    folding.check = folding.look = checked  # type: ignore[method-assign]
    service._folding = folding
    hset = service._redis.hset

    async def and_another_log_begins(*arguments: Any) -> int:
        service._folding = None
        return await hset(*arguments)

    service._redis.hset = and_another_log_begins  # type: ignore[method-assign, assignment]
    await service._beat()
    assert checked.await_count == 2
    await folding.stop()
    await service._redis.aclose()
