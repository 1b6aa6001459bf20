"""`make bench`: measures the figures, prints them as tables, and with --write keeps them in docs/benchmarks.md.

python -m tests.bench [--write] [name ...]
"""

import sys
from collections.abc import Callable, Iterable

from tests.bench import (
    bench_breakdown,
    bench_cardinality,
    bench_catchup,
    bench_commits,
    bench_compression,
    bench_engine,
    bench_fanout,
    bench_fold,
    bench_growth,
    bench_idle,
    bench_ingest,
    bench_latency,
    bench_memory,
    bench_movement,
    bench_published,
    bench_stale,
    bench_start,
)
from tests.bench.page import keep
from tests.bench.report import Table

BENCHES: dict[str, Callable[[], Table | Iterable[Table]]] = {
    "latency": bench_latency.measure,
    "ingest": bench_ingest.measure,
    "engine": bench_engine.measure,
    "breakdown": bench_breakdown.measure,
    "growth": bench_growth.measure,
    "commits": bench_commits.measure,
    "compression": bench_compression.measure,
    "published": bench_published.measure,
    "fold": bench_fold.measure,
    "start": bench_start.measure,
    "idle": bench_idle.measure,
    "memory": bench_memory.measure,
    "movement": bench_movement.measure,
    "stale": bench_stale.measure,
    "catchup": bench_catchup.measure,
    "cardinality": bench_cardinality.measure,
    "fanout": bench_fanout.measure,
}


def main(arguments: list[str]) -> int:
    write = "--write" in arguments
    names = [name for name in arguments if name != "--write"] or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        print(f"there is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names:
        found = BENCHES[name]()
        for table in [found] if isinstance(found, Table) else found:
            print(table.markdown(), flush=True)
            if write:
                keep(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
