"""What cells cost in Valkey: bytes per cell of each accumulator, and of the history that is shown, as MEMORY USAGE counts every key whole."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from redis.asyncio import Redis

from services.aggregator.fold import Fold
from services.aggregator.wanted import wanted
from services.contract.history import VERSION, Change, NewGroup, ViewCommit, pack_rows
from services.contract.names import fold_key, view_key
from services.contract.registry import Entry
from services.transport import feed, history, partials
from services.transport.partials import Commit
from services.transport.settings import RedisSettings
from tests.bench.report import Table
from tests.servers import Valkey, running
from tests.unit.aggregator.logs import COUNTER, DISTRIBUTION, GAUGE, Record, Sample, document, write

BUCKETS: Final = 600
GROUPS: Final = (1, 32, 320)
PER_CELL: Final = 4
MORE: Final = (20, 100)
USERS: Final = 10_000
"""Of which distinct and topk count, each sample of one of them."""
QUERIES: Final[dict[str, tuple[Mapping[str, Any], int, int]]] = {
    "moments (avg, min, max, count, last, sum of deltas)": ({"fn": "avg"}, GAUGE, PER_CELL),
    "series (sum of gauges, each)": ({"fn": "sum"}, GAUGE, PER_CELL),
    "edges (first)": ({"fn": "first"}, GAUGE, PER_CELL),
    "series_edges (delta)": ({"fn": "delta"}, GAUGE, PER_CELL),
    "variance (stddev)": ({"fn": "stddev"}, GAUGE, PER_CELL),
    "increase (rate, increase)": ({"fn": "rate"}, COUNTER, PER_CELL),
    "sketch (quantiles)": ({"fn": "p99"}, DISTRIBUTION, PER_CELL),
    **{f"sketch, {n} samples a cell": ({"fn": "p99"}, DISTRIBUTION, n) for n in MORE},
    "distinct": ({"fn": "distinct", "of": "user"}, GAUGE, PER_CELL),
    **{f"distinct, {n} samples a cell": ({"fn": "distinct", "of": "user"}, GAUGE, n) for n in MORE},
    "topk(3)": ({"fn": "topk(3)", "of": "user"}, GAUGE, PER_CELL),
    **{f"topk(3), {n} samples a cell": ({"fn": "topk(3)", "of": "user"}, GAUGE, n) for n in MORE},
}
"""The query, the kind of its samples, and how many of them a cell has. Many of them lie in fewer buckets, so that there are as many in all."""


def measure() -> Table:
    rows = asyncio.run(_measure())
    text = (
        f"Valkey's MEMORY USAGE of the keys of one selection or view with {BUCKETS} buckets, by the number of cells in them; {PER_CELL} samples per"
        f" cell where nothing else is said, distinct and topk of {USERS:,} users, quantiles of values that spread over two decades. A group that has"
        " series in several partitions has a cell in each of them; the history has one. Short buckets and few groups cost most: a page holds up to"
        " 32 groups of one bucket."
    )
    head = ["bytes per cell", *(f"{groups} group{'s' * (groups > 1)}" for groups in GROUPS)]
    return Table("Memory in Valkey per cell", text, head, rows)


async def _measure() -> list[list[str]]:
    with running(Valkey()) as valkey:
        redis = feed.connect(RedisSettings(url=valkey.url))
        found = []
        for name, (query, kind, samples) in QUERIES.items():
            buckets = BUCKETS * PER_CELL // samples
            sizes = [await _partials(redis, query, kind, groups, buckets, samples) / (buckets * groups) for groups in GROUPS]
            found.append([name, *(f"{size:.0f}" for size in sizes)])
        sizes = [await _history(redis, groups) / (BUCKETS * groups) for groups in GROUPS]
        found.append(["history (what is shown)", *(f"{size:.0f}" for size in sizes)])
        await redis.aclose()
        return found


async def _partials(redis: Redis, query: Mapping[str, Any], kind: int, groups: int, buckets: int, per_cell: int) -> int:
    """Bytes of one selection in one partition."""
    await redis.flushall()
    panel = {"id": "p", "type": "stat", "query": {"metric": "m", "by": ["host"], "every": "1s", **query}}
    config = wanted({"d": Entry(1, "d", "r", document([panel], "10m"), "bench")}).config
    fold = Fold(config, 0)
    chance = random.Random(1)
    for bucket in range(buckets):
        samples: Sequence[Sample] = [
            (
                "m",
                {"host": f"host-{group}", **({"user": f"user-{chance.randrange(USERS)}"} if "of" in query else {})},
                bucket * 1_000 + i * 800 // per_cell,
                10 ** chance.uniform(0, 2) + bucket * (kind == COUNTER),
                kind,
            )
            for i in range(per_cell)
            for group in range(groups)
        ]
        fold.apply([Record(bucket, write(samples, bucket, bucket * 1_000))])
    changes = fold.changes()
    cells = [page for page in changes.pages if page[0].selection in config.selections]
    for at in range(0, len(cells), 500):
        step = Commit(
            fold.config.digest if at else "",
            fold.config,
            0,
            0,
            changes.state,
            cells[at : at + 500],
            [] if at else changes.keys,
            [],
            [],
        )
        await partials.commit(redis, "l", 0, step)
    (selection,) = config.selections
    return sum([await _usage(redis, fold_key("l", 0, f"{part}:{selection}")) for part in ("cells", "groups")])


async def _history(redis: Redis, groups: int) -> int:
    """Bytes of one view."""
    await redis.flushall()
    numbers, values = np.arange(groups, dtype=np.uint32), np.random.default_rng(1).normal(size=groups)
    held, version = ("", 0), 1_763_791_200_000_000
    for at in range(0, BUCKETS, 50):
        version += 1
        new = [] if at else [NewGroup(group, {"host": f"host-{group}"}) for group in range(groups)]
        change = Change(VERSION, "e", held[1], version, 0, 0, 0, new, [])
        blob = pack_rows(numbers, np.full(groups, version, np.int64), values)
        blobs = {1_763_791_200_000 + bucket * 1_000: blob for bucket in range(at, at + 50)}
        assert await history.commit_all(redis, [ViewCommit("v", held, 1_000, change, blobs, [], {})]) == [True]
        held = ("e", version)
    return sum([await _usage(redis, view_key("v", part)) for part in history.PARTS])


async def _usage(redis: Redis, key: str) -> int:
    return int(await redis.memory_usage(key, samples=0) or 0)
