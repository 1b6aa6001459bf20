"""What a tick costs when every cell of 50 views with 1,000 groups has changed: in the aggregator, and in Valkey."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import Redis

from services.aggregator.fold import Changes, Fold
from services.aggregator.merging import Merging
from services.contract.partials import Entry
from services.transport import partials
from services.transport.feed import connect
from services.transport.partials import Commit
from services.transport.settings import RedisSettings
from tests.bench import workload
from tests.bench.report import Table, ms
from tests.bench.workload import HOSTS, METRICS, READING
from tests.servers import Valkey, running

TICKS: Final = 24
WARM: Final = 4
CLIENTS: Final = HOSTS * METRICS // READING
STEPS: Final = (
    "fold of 25,000 samples", "pages of what changed", "commit of the partition", "mirror", "merge and commit of the views",
)  # fmt: skip


def measure() -> Table:
    with running(Valkey()) as valkey:
        return asyncio.run(_measure(valkey.url))


async def _measure(url: str) -> Table:
    redis = connect(RedisSettings(url=url))
    asked = workload.asked()
    merging = Merging(redis, 1_000, 5_000)
    await merging.want([("bench", 1)], [0], asked.views, asked.views)
    fold = Fold(asked.config, 0)
    spent = [0.0] * len(STEPS)
    valkey = [0.0] * len(STEPS)
    pages, cells, held, wall = 0, 0, "", 0.0
    for tick in range(WARM + TICKS):
        log = workload.columnar(CLIENTS, READING, start=int(time.time() * 1000), disorder_ms=1)
        records = [workload.Record(fold.offset + i, _resequenced(record.value, fold.offset + i)) for i, record in enumerate(log)]
        began = time.perf_counter()
        now = int(time.time() * 1000)
        outcome: list[Any] = []

        async def commit(held: str = held, outcome: list[Any] = outcome) -> None:
            changes: Changes = outcome[-1]
            step = Commit(
                held, fold.config, changes.from_, changes.to, changes.state, changes.pages, changes.keys, changes.gone,
                changes.reset, changes.notes,
            )  # fmt: skip
            await partials.commit(redis, "bench", 0, step)
            fold.committed(changes)
            outcome.append(step.entry())

        async def mirror(outcome: list[Any] = outcome) -> None:
            entry: Entry = outcome[-1]
            await merging.follow([(0, entry)])

        work: list[Callable[[], Awaitable[None]]] = [
            _plain(lambda records=records: fold.apply(records)),
            _plain(lambda now=now, outcome=outcome: outcome.append(fold.changes(now))),
            commit, mirror, lambda: merging.step({0: True}),
        ]  # fmt: skip
        for i, step in enumerate(work):
            ours, theirs = await _spent(redis, step)
            if tick >= WARM:
                spent[i] += ours / TICKS
                valkey[i] += theirs / TICKS
        held = fold.config.digest
        if tick >= WARM:
            pages += len(outcome[0].pages)
            cells += len(asked.views) * HOSTS
            wall += time.perf_counter() - began
    await redis.aclose()
    rows = [[name, ms(a), ms(b) if b else ""] for name, a, b in zip(STEPS, spent, valkey, strict=True)]
    rows.append(["**together**", f"**{ms(sum(spent))}**", f"**{ms(sum(valkey))}**"])
    text = (
        f"{len(asked.config.selections)} selections of {len(asked.views)} views (levels included), 1,000 groups each; each tick brings a sample of each of"
        f" 25,000 series, so that every cell of the open bucket changes: {pages // TICKS:,} pages. CPU time of the aggregator; of Valkey, what INFO"
        " commandstats says of the scripts; mean of"
        f" {TICKS} ticks. {HOSTS * 2 * METRICS / (sum(spent) + sum(valkey)) / 1000:.0f} k cells/s of both together, {sum(valkey) / (sum(spent) + sum(valkey)):.0%} of it"
        " in Valkey. Goal: 8 ms in Valkey."
    )
    return Table("A tick in which every cell changed", text, ["step", "aggregator", "Valkey"], rows)


def _plain(work: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def done() -> None:
        work()

    return done


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
