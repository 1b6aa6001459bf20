"""Samples per CPU second through one fold, against a bare decode of the same bytes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from services.aggregator.fold import Fold
from services.aggregator.wanted import wanted
from services.contract.batch import Batch, decode, encode
from services.contract.registry import VERSION, Entry
from services.contract.series import series_key
from tests.bench.report import Table, rate

ROOT = Path(__file__).parents[2]
RECORDS = 400


@dataclass(frozen=True, slots=True)
class _Record:
    offset: int
    value: bytes


def records(per_record: int) -> list[_Record]:
    """A log of 100 gauges, 50 counters and 50 distributions that the dashboard below asks for, out of order by up to 250 ms."""
    chance = np.random.default_rng(1)
    keys = [series_key("host_cpu_busy_ratio", {"host": f"h{i // 4}", "cpu": str(i % 4)}) for i in range(100)]
    keys += [series_key("host_network_received_bytes", {"host": f"h{i}", "device": "eth0"}) for i in range(50)]
    keys += [series_key("request_seconds", {"host": f"h{i}"}) for i in range(50)]
    kinds = np.array([0] * 100 + [1] * 50 + [3] * 50, np.uint8)
    found = []
    for i in range(RECORDS):
        now = 1_700_000_000_000 + 250 * i
        series = chance.integers(0, len(keys), per_record).astype(np.uint32)
        times = now - chance.integers(0, 250, per_record)
        batch = Batch(1, i, now, keys, kinds, series, times, chance.random(per_record) * 100 + i)
        found.append(_Record(i, encode(batch)))
    return found


def entries() -> dict[str, Entry]:
    """The dashboard of this machine as it ships, and one with quantiles."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "dashboards").glob("*.yaml"))]
    documents.append(
        {
            "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "quantiles"},
            "spec": {"panels": [{
                "id": "latency", "type": "timeseries",
                "query": {"metric": "request_seconds", "by": ["host"], "fn": ["p50", "p99", "avg"]},
            }]},
        }
    )  # fmt: skip
    return {item["metadata"]["name"]: Entry(VERSION, item["metadata"]["name"], "", item, "") for item in documents}


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least of three runs."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def measure() -> Table:
    asked = wanted(entries())
    rows = []
    for per_record in (500, 5_000):
        log = records(per_record)
        samples = per_record * len(log)

        def bare(log: list[_Record] = log) -> None:
            for record in log:
                decode(record.value).values.sum()

        def fold(log: list[_Record] = log) -> None:
            state = Fold(asked.config, 0)
            for i in range(0, len(log), 8):
                state.apply(log[i : i + 8])
            state.changes()

        floor, ours = samples / cpu_seconds(bare), samples / cpu_seconds(fold)
        rows.append([f"{per_record}", rate(ours), rate(floor), f"{floor / ours:.1f}"])
    text = (
        f"One process, CPU time, best of three; {len(asked.config.selections)} selections of {len(asked.views)} views (the dashboards that ship,"
        " and quantiles of one metric); eight records per poll. Floor: decoding the same records and adding up their values."
    )
    return Table("Fold: samples per CPU second", text, ["samples per record", "fold", "bare decode", "floor / fold"], rows)
