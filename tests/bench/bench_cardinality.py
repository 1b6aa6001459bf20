"""Memory against the number of series thrown at an aggregator: what grows, and where it stops.

A process of its own folds four partitions, commits them to a Valkey and merges the views, as the aggregator does; the log is made up, so that
nothing else is measured. python -m tests.bench.bench_cardinality URL SERIES is that process.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from redis.asyncio import Redis

from services.aggregator.fold import Fold
from services.aggregator.merging import Merging
from services.aggregator.serieslist import MAX_SERIES
from services.aggregator.wanted import wanted
from services.contract import limits
from services.contract.batch import Batch, encode
from services.contract.partials import Entry as LogEntry
from services.contract.registry import VERSION, Entry
from services.contract.series import Kind, partition_of, series_key
from services.transport import partials
from services.transport.feed import connect
from services.transport.partials import Commit
from services.transport.settings import RedisSettings
from tests.bench.report import Table
from tests.bench.workload import Record
from tests.servers import Valkey, running

ROOT: Final = Path(__file__).parents[2]
PARTITIONS: Final = 4
SERIES: Final = 10_000, 100_000, 1_000_000, 2_000_000, 4_000_000
ROUNDS: Final = 3
ROUND_MS: Final = 15_000
PER_RECORD: Final = 1_000
PER_COMMIT: Final = 20
LIMIT_S: Final = 1_800.0


def measure() -> Table:
    rows = []
    for series in (0, *SERIES):
        with running(Valkey()) as valkey:
            command = [sys.executable, "-m", "tests.bench.bench_cardinality", valkey.url, str(series)]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        rows.append(
            [f"{series:,}", f"{found['rss']:.0f} MiB", f"{found['peak']:.0f} MiB", f"{found['valkey']:.0f} MiB",
             f"{found['shown']:,}", f"{found['pooled']:,}", f"{found['left_out']:,}", f"{found['remembered']:,}",
             f"{found['counters']:,}", f"{found['cpu']:.1f} s"]
        )  # fmt: skip
    text = (
        f"One process that folds {PARTITIONS} partitions and merges, and a Valkey; half of the series are gauges, of which avg, p99 and sum by pod are"
        f" asked, half counters, of which the rate by pod is; a window of 5 m every 1 s, every pod is one series of each. Every series has"
        f" {ROUNDS} samples, {ROUND_MS // 1000} s apart. Shown, pooled and left out: groups and series as the panels say them, the worst of them;"
        " pooled and left out are estimates, some 5 % off."
        f" Remembered: series whose groups are known without looking; all folds of a process share room for {MAX_SERIES:,}. Counters: those whose last"
        f" sample is held, {limits.COUNTERS:,} in a partition at most. At most: the most that the process ever took."
    )
    head = ["series", "process", "at most", "Valkey", "groups shown", "pooled", "left out", "remembered", "counters", "CPU"]
    return Table("Memory against series", text, head, rows)


def dashboard() -> Entry:
    gauges, counters = {"metric": "pod_busy", "by": ["pod"]}, {"metric": "pod_bytes", "by": ["pod"]}
    asked = [{**gauges, "fn": "avg"}, {**gauges, "fn": "p99"}, {**gauges, "fn": "sum"}, {**counters, "fn": "rate"}]
    panels = [{"id": f"p{i}", "type": "timeseries", "query": query} for i, query in enumerate(asked)]
    document = {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "crowd"},
        "spec": {"window": "5m", "every": "1s", "panels": panels},
    }  # fmt: skip
    return Entry(VERSION, "crowd", "", document, "")


def series_of(number: int) -> tuple[bytes, int]:
    metric, kind = (("pod_busy", Kind.gauge), ("pod_bytes", Kind.counter))[number % 2]
    return series_key(metric, {"pod": f"pod-{number // 2:07}", "namespace": "default"}), kind


class Engine:
    """Four folds, their commits, and the merge."""

    def __init__(self, redis: Redis) -> None:
        self.asked = wanted({"crowd": dashboard()})
        self.merging = Merging(redis, 250, 1_000)
        self._redis = redis
        self._folds = [Fold(self.asked.config, 0) for _ in range(PARTITIONS)]
        for fold in self._folds:
            fold.share_room(PARTITIONS)
        self._held = [""] * PARTITIONS

    @property
    def remembered(self) -> int:
        return sum(fold.remembered for fold in self._folds)

    @property
    def counters(self) -> int:
        return sum(len(fold.counters.keys) for fold in self._folds)

    async def start(self) -> None:
        await self.merging.want([("bench", PARTITIONS)], range(PARTITIONS), self.asked.views, self.asked.views)
        await self.commit()

    def take(self, partition: int, keys: list[tuple[bytes, int]], now: int, value: float) -> None:
        fold, count = self._folds[partition], len(keys)
        batch = Batch(
            1, fold.offset, now, [key for key, _ in keys], np.array([kind for _, kind in keys], np.uint8),
            np.arange(count, dtype=np.uint32), np.full(count, now), np.full(count, value),
        )  # fmt: skip
        fold.apply([Record(fold.offset, encode(batch))])

    async def commit(self) -> None:
        entries: list[tuple[int, LogEntry | None]] = []
        for number, fold in enumerate(self._folds):
            changes = fold.changes(int(time.time() * 1000))
            step = Commit(
                self._held[number], fold.config, changes.from_, changes.to, changes.state, changes.pages, changes.keys,
                changes.gone, changes.reset, changes.notes, sampled=changes.sampled,
            )  # fmt: skip
            await partials.commit(self._redis, "bench", number, step)
            fold.committed(changes)
            self._held[number] = fold.config.digest
            entries.append((number, step.entry()))
        await self.merging.follow(entries)
        await self.merging.step(dict.fromkeys(range(PARTITIONS), True))


async def run(url: str, series: int) -> dict[str, float]:
    redis = connect(RedisSettings(url=url))
    engine = Engine(redis)
    await engine.start()
    begin = int(time.time() * 1000) - ROUNDS * ROUND_MS
    taken = 0
    for round_ in range(ROUNDS):
        waiting: list[list[tuple[bytes, int]]] = [[] for _ in range(PARTITIONS)]
        for number in range(series):
            key, kind = series_of(number)
            mine = waiting[place := partition_of(key, PARTITIONS)]
            mine.append((key, kind))
            if len(mine) == PER_RECORD:
                engine.take(place, mine, begin + round_ * ROUND_MS + number * ROUND_MS // series, float(round_))
                mine.clear()
                taken += 1
                if taken % PER_COMMIT == 0:
                    await engine.commit()
        for place, mine in enumerate(waiting):
            if mine:
                engine.take(place, mine, begin + (round_ + 1) * ROUND_MS - 1, float(round_))
    await engine.commit()
    notes: list[dict[str, Any]] = engine.merging.notes()
    memory: dict[str, Any] = await redis.info("memory")
    await redis.aclose()
    return {
        "rss": psutil.Process().memory_info().rss / 2**20,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        "valkey": memory["used_memory"] / 2**20,
        "cpu": time.process_time(),
        "remembered": engine.remembered,
        "counters": engine.counters,
        "shown": max((note["limit"] for note in notes), default=series // 2),
        "pooled": max((note["pooled"] for note in notes), default=0),
        "left_out": max((note["left_out"] for note in notes), default=0),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], int(sys.argv[2])))))
