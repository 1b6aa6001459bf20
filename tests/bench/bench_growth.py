"""What a sample costs the fold with more views, and with more partitions."""

import time
from collections.abc import Sequence
from typing import Final

from services.aggregator.fold import Fold
from services.contract.partials import Config
from tests.bench import workload
from tests.bench.report import Table, rate
from tests.bench.workload import METRICS, READING, Record

VIEWS: Final = (1, 10, 100, 1_000)
PARTITIONS: Final = (1, 4, 16, 64)
RECORDS: Final = 1_000
TICK: Final = 50  # records in a tick: 25,000 samples, of 50 ms at half a million a second
ROUNDS: Final = 3


def measure() -> Table:
    log = workload.columnar(RECORDS, READING)
    rows = []
    least = 0.0
    for views in VIEWS:
        asked = workload.asked(views // 2) if views > 1 else workload.asked(1, ("avg",))
        spent = min(_views(asked.config, log) for _ in range(ROUNDS))
        least = least or spent
        meeting = max(1, min(views // 2, METRICS)) / METRICS
        name = f"{views:,} view{'s' if views > 1 else ''}"
        rows.append([name, *_told(spent, least), f"{meeting:.0%}"])
    whole = 0.0
    for partitions in PARTITIONS:
        spent = min(_partitions(workload.asked().config, log, partitions) for _ in range(ROUNDS))
        whole = whole or spent
        rows.append([f"50 views, {partitions} partition{'s' if partitions > 1 else ''}", *_told(spent, whole), "100%"])
    text = (
        "The fold alone, CPU time, best of three: records of 500 samples as in the engine's bench, 50 in a tick, after a first round in which all series are seen."
        " Every sample meets two views at most, and with few views most meet none; 1,000 views are of 500 metrics, 25 of which are in the log. With more partitions each has fewer samples in a tick."
    )
    head = ["with", "a sample", "samples/s", "of the first", "samples that meet a view"]
    return Table("Growth: what a sample costs", text, head, rows)


def _told(spent: float, first: float) -> list[str]:
    return [f"{spent * 1e9:.0f} ns", rate(1 / spent), f"{spent / first:.1f}"]


def _views(config: Config, log: Sequence[Record]) -> float:
    """Seconds of CPU for a sample."""
    fold = Fold(config, 0)
    return _spent([fold], [log])


def _partitions(config: Config, log: Sequence[Record], partitions: int) -> float:
    folds = [Fold(config, 0) for _ in range(partitions)]
    clients = workload.HOSTS // workload.CLIENT_HOSTS
    logs: list[list[Record]] = [[] for _ in folds]
    for record in log:
        logs[record.offset % clients % partitions].append(record)
    return _spent(folds, logs)


def _spent(folds: Sequence[Fold], logs: Sequence[Sequence[Record]]) -> float:
    """Seconds of CPU for a sample, once every series is known."""
    ticks = [[[r for r in log if r.offset // TICK == tick] for log in logs] for tick in range(RECORDS // TICK)]
    for fold, records in zip(folds, ticks[0], strict=True):
        fold.apply(records)
    began = time.process_time()
    for tick in ticks[1:]:
        for fold, records in zip(folds, tick, strict=True):
            fold.apply(records)
    return (time.process_time() - began) / ((len(ticks) - 1) * TICK * READING)
