"""What a tick costs when every cell of 50 views with 1,000 groups has changed: in the aggregator, and in Valkey."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from redis.asyncio import Redis

from services.aggregator.fold import Changes, Fold
from services.aggregator.merging import Merging
from services.aggregator.wanted import Wanted
from services.contract.partials import Entry, FoldState
from services.transport import partials
from services.transport.feed import connect
from services.transport.partials import Commit
from services.transport.settings import RedisSettings
from tests.bench import workload
from tests.bench.report import Table, ms
from tests.bench.workload import HOSTS, METRICS, READING
from tests.servers import Valkey, running

TICKS: Final = 40
WARM: Final = 4
TICK_MS: Final = 50
CLIENTS: Final = HOSTS * METRICS // READING


def measure() -> Table:
    with running(Valkey()) as valkey:
        return asyncio.run(_measure(valkey.url))


class _Engine:
    """One partition whose ticks are taken step by step."""

    def __init__(self, redis: Redis, asked: Wanted) -> None:
        self.fold = Fold(asked.config, 0)
        self.merging = Merging(redis, 1_000, 5_000)
        self.changes = Changes(0, 0, FoldState())
        self._redis = redis
        self._held = ""
        self._now_ms = 0
        self._records: list[workload.Record] = []
        self._entry: Entry | None = None

    def prepare(self, now_ms: int) -> None:
        """A sample of every series. now_ms: the time of the tick."""
        self._now_ms = now_ms
        log = workload.columnar(CLIENTS, READING, start=now_ms, disorder_ms=1)
        offset = self.fold.offset
        self._records = [workload.Record(offset + i, _resequenced(record.value, offset + i)) for i, record in enumerate(log)]

    async def apply(self) -> None:
        self.fold.apply(self._records)

    async def pack(self) -> None:
        self.changes = self.fold.changes(self._now_ms)

    async def commit(self) -> None:
        changes = self.changes
        step = Commit(
            self._held, self.fold.config, changes.from_, changes.to, changes.state, changes.pages, changes.keys, changes.gone,
            changes.reset, changes.notes, sampled=changes.sampled,
        )  # fmt: skip
        await partials.commit(self._redis, "bench", 0, step)
        self.fold.committed(changes)
        self._held, self._entry = self.fold.config.digest, step.entry()

    async def mirror(self) -> None:
        await self.merging.follow([(0, self._entry)])

    async def merge(self) -> None:
        await self.merging.step({0: True})


async def _measure(url: str) -> Table:
    redis = connect(RedisSettings(url=url))
    asked = workload.asked()
    engine = _Engine(redis, asked)
    await engine.merging.want([("bench", 1)], [0], asked.views, asked.views)
    steps = {
        "fold of 25,000 samples": engine.apply, "pages of what changed": engine.pack, "commit of the partition": engine.commit,
        "mirror": engine.mirror, "merge and commit of the views": engine.merge,
    }  # fmt: skip
    ours, theirs = dict.fromkeys(steps, 0.0), dict.fromkeys(steps, 0.0)
    pages = 0
    start = int(time.time() * 1000)
    for tick in range(WARM + TICKS):
        engine.prepare(start + tick * TICK_MS)
        for name, step in steps.items():
            here, there = await _spent(redis, step)
            if tick >= WARM:
                ours[name] += here / TICKS
                theirs[name] += there / TICKS
        pages += len(engine.changes.pages) if tick >= WARM else 0
    await redis.aclose()
    mine, valkeys = sum(ours.values()), sum(theirs.values())
    rows = [[name, ms(ours[name]), ms(theirs[name]) if theirs[name] else ""] for name in steps]
    rows.append(["**together**", f"**{ms(mine)}**", f"**{ms(valkeys)}**"])
    cells = 2 * METRICS * HOSTS
    text = (
        f"{2 * METRICS} views and their coarser levels, {len(asked.config.selections)} selections in all, {HOSTS:,} groups each. A tick brings a sample of"
        f" each of {HOSTS * METRICS:,} series, so that all {cells:,} cells of the open buckets change; ticks are 50 ms apart by the clock of the samples. {pages // TICKS:,} pages on average. CPU time of the aggregator; of"
        f" Valkey, what INFO commandstats says of the scripts; mean of {TICKS} ticks. {cells / (mine + valkeys) / 1000:.0f} k cells/s of both together,"
        f" {valkeys / (mine + valkeys):.0%} of the time in Valkey. Goal: 8 ms in Valkey."
    )
    return Table("A tick in which every cell changed", text, ["step", "aggregator", "Valkey"], rows)


async def _spent(redis: Redis, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Seconds of our CPU, and of Valkey's scripts."""
    await redis.config_resetstat()
    began = time.process_time()
    await work()
    ours = time.process_time() - began
    stats = await redis.info("commandstats")
    theirs = sum(stats[name]["usec"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)
    return ours, theirs / 1e6


def _resequenced(value: bytes, sequence: int) -> bytes:
    """The record with another sequence: it is in the head, at byte 16."""
    return value[:16] + sequence.to_bytes(8, "little") + value[24:]
