"""What the aggregator's tasks do to each other while one of them waits."""

import gc
from typing import Any
from unittest.mock import AsyncMock

import pytest
import structlog
from prometheus_client import REGISTRY

from services.aggregator.folding import Folding
from services.aggregator.service import Aggregator, create
from services.aggregator.settings import AggregatorSettings
from services.runtime.garbage import YOUNG
from services.transport.settings import KafkaSettings, RedisSettings
from tests.servers import Valkey


async def test_a_look_during_which_another_log_begins_is_a_look_like_any_other(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Aggregator(AggregatorSettings(instance="a"), KafkaSettings(), RedisSettings(url=valkey.url))
    checked = AsyncMock()
    folding = Folding(service._redis, KafkaSettings(), "log", 1, [])
    folding.check = folding.look = checked  # type: ignore[method-assign]
    service._folding = folding

    async def and_another_log_begins(*_: Any) -> None:
        service._folding = None

    monkeypatch.setattr("services.transport.lineages.keep", and_another_log_begins)
    await service._look()
    assert checked.await_count == 2
    await folding.stop()
    await service._redis.aclose()


async def test_a_look_tells_how_many_partitions_the_log_has_also_where_none_is_folded_here(valkey: Valkey) -> None:
    service = Aggregator(AggregatorSettings(instance="a"), KafkaSettings(), RedisSettings(url=valkey.url))
    service._facts.partitions = 6
    await service._look()
    assert REGISTRY.get_sample_value("tideboard_aggregator_log_partitions") == 6
    await service._redis.aclose()


async def test_why_feed_and_log_were_never_reached_is_told_once_and_stays_the_reason(valkey: Valkey) -> None:
    service = Aggregator(AggregatorSettings(instance="a"), KafkaSettings(), RedisSettings(url=valkey.url))
    facts = service._facts
    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            facts.log_away("no connection: refused")
            facts.log_away("no connection: wrong password")
            facts.feed_away(OSError("wrong certificate"))
            facts.feed_back()  # the loop has turned, and there was nothing to ask for
            assert service.readiness() == "feed: wrong certificate"
    reasons = ["no connection: refused", "no connection: wrong password", "wrong certificate"]
    assert [each["reason"] for each in told] == reasons
    await facts.membership.renew()
    facts.feed_back()
    assert service.readiness() == "log: no connection: wrong password"
    await service._redis.aclose()


async def test_the_collector_passes_over_what_lives_long_from_the_start_to_the_end(valkey: Valkey) -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    service = create(AggregatorSettings(instance="a"), KafkaSettings(), RedisSettings(url=valkey.url))
    await service.start()
    assert gc.get_threshold()[0] == YOUNG and gc.get_freeze_count() > 10_000
    await service.stop()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
