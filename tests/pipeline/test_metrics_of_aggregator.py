"""What the metrics of an aggregator say after a run that had a little of everything that goes wrong."""

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from services.aggregator.service import Aggregator
from services.aggregator.watchdog import Watchdog
from services.contract import limits
from services.contract.series import partition_of, series_key
from services.transport.history import read_view
from services.transport.settings import KafkaSettings, RedisSettings
from tests.pipeline.world import Log, Point, aggregating, entry, register, until

GROWN = {"id": "grown", "type": "stat", "query": {"metric": "bytes", "fn": "increase", "every": "1s"}}
FAULTS = entry(
    "faults",
    [
        {
            "id": "crowd",
            "type": "timeseries",
            "maxGroups": 5,
            "query": {"metric": "load", "by": ["host"], "fn": "count", "every": "1s"},
        },
        GROWN,
    ],
    window="30s",
)
PATIENCE_S = 20.0


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"tideboard_aggregator_{name}", labels) or 0.0


def counts() -> dict[str, float]:
    return {
        "samples": metric("samples_total"),
        "records": metric("records_total"),
        "duplicates": metric("duplicate_records_total"),
        "late": metric("late_samples_total", source="samples", reason="expired"),
        "late not written": sum(metric("late_samples_not_written_total", why=why) for why in ("rate", "fold", "log")),
        "poison": metric("poison_records_total"),
        "written": metric("dead_letters_total", outcome="written"),
        "withheld": metric("dead_letters_total", outcome="withheld"),
        "lost": metric("dead_letters_total", outcome="lost"),
        "refused": metric("commits_total", outcome="refused"),
    }


def lags(partitions: int) -> list[float]:
    return [metric("partition_lag_records", partition=str(partition)) for partition in range(partitions)]


def together(name: str, count: int, partitions: int) -> list[dict[str, str]]:
    """So many series of a metric that lie in the first partition: limits are those of a partition."""
    found = [{"host": f"h{at}"} for at in range(count * partitions * 20)]
    return [labels for labels in found if partition_of(series_key(name, labels), partitions) == 0][:count]


async def deafen(aggregator: Aggregator) -> None:
    """From here on no fetch is answered, and nobody minds."""
    assert aggregator._folding is not None
    aggregator._folding._watchdog = Watchdog(3_600)
    wire, asked = aggregator._folding._reader._fetches, asyncio.Event()
    assert wire is not None

    async def never(*_: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    wire.ask = never  # type: ignore[method-assign, assignment]
    await asyncio.wait_for(asked.wait(), PATIENCE_S)


async def test_counters_that_are_too_many_are_told_though_none_of_them_has_a_value_yet(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COUNTERS", 2)
    (wanted,) = await register(redis, entry("new", [GROWN]))
    once: list[Point] = [
        ("bytes", labels, int(time.time() * 1000), 1.0, "counter") for labels in together("bytes", 7, log.writer.partitions)
    ]
    async with aggregating(kafka, settings):
        await log.write(once)
        await until(lambda: "" if metric("left_out_series") == 5 else f"{metric('left_out_series')} left out", PATIENCE_S)
    held = await read_view(redis, wanted)
    assert held is not None
    assert (held.notes.left_out, held.rows) == (5, {})


async def test_metrics_say_what_was_folded_left_out_and_is_behind(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COUNTERS", 2)
    monkeypatch.setattr("services.aggregator.folding.ENDS_EVERY_S", 0.1)
    wanted = await register(redis, FAULTS)
    partitions, now = log.writer.partitions, int(time.time() * 1000)
    hosts, counters = together("load", 8, partitions), together("bytes", 5, partitions)
    crowd: list[Point] = [("load", labels, now, 1.0, "gauge") for labels in hosts]
    grown: list[Point] = [("bytes", labels, now + at, 1.0, "counter") for at in (-1_000, 0) for labels in counters]
    late: list[Point] = [("load", hosts[0], now - 3_600_000, 1.0, "gauge")] * 3
    before, commits, spent = counts(), metric("commit_seconds_count"), metric("commit_seconds_sum")
    began = time.perf_counter()
    async with aggregating(kafka, settings) as aggregator:
        await log.write(crowd + grown, twice=True)
        await log.write(late)
        for partition in (0, 0, 1):
            await log.writer.append(partition, b"TB what is this")
        told = {
            "samples": 21.0, "records": 6.0, "duplicates": 1.0, "late": 3.0, "late not written": 0.0,
            "poison": 3.0, "written": 3.0, "withheld": 0.0, "lost": 0.0, "refused": 0.0,
        }  # fmt: skip

        def off() -> str:
            found = {name: value - before[name] for name, value in counts().items()}
            return "" if found == told else f"{found} instead of {told}"

        await until(off, PATIENCE_S)
        await until(lambda: "" if metric("pooled_groups") == 3 else f"{metric('pooled_groups')} groups pooled", PATIENCE_S)
        await until(lambda: "" if metric("left_out_series") == 3 else f"{metric('left_out_series')} left out", PATIENCE_S)
        await until(lambda: "" if not any(lags(partitions)) else f"behind by {lags(partitions)}", PATIENCE_S)
        assert metric("lag_records") == 0
        assert metric("commit_seconds_count") > commits
        assert 0 < metric("commit_seconds_sum") - spent < time.perf_counter() - began
        held = await read_view(redis, next(iter(wanted)))
        assert held is not None
        assert abs(time.time() - held.closed / 1000 - metric("watermark_delay_seconds")) < 10
        await deafen(aggregator)
        for _ in range(3):
            await log.write(crowd)
        behind = [3.0] + [0.0] * (partitions - 1)
        await until(lambda: "" if lags(partitions) == behind else f"behind by {lags(partitions)}", PATIENCE_S)
        assert metric("lag_records") == 3
