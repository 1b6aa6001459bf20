"""The load of the throughput figures: a thousand hosts with 25 metrics each, and 50 views of which a sample meets two.

Every client posts readings of 20 hosts, so that its records have one dictionary of 500 series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import msgspec
import numpy as np

from services.aggregator.wanted import Wanted, wanted
from services.contract.batch import Batch, encode
from services.contract.registry import VERSION, Entry
from services.contract.series import Kind, series_key

HOSTS: Final = 1_000
METRICS: Final = 25
CLIENT_HOSTS: Final = 20
READING: Final = CLIENT_HOSTS * METRICS
"""Samples of one reading of all that a client sees."""
FUNCTIONS: Final = ("avg", "p99")
T0: Final = 1_763_791_200_000
DISORDER_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Record:
    offset: int
    value: bytes


def metric(number: int) -> str:
    return f"service.request.seconds.{number:02}"


def entry(metrics: int = METRICS, first: int = 0, fns: Sequence[str] = FUNCTIONS) -> Entry:
    """A dashboard with two views of every metric: mean and 99th percentile by host."""
    query = {"by": ["host"], "every": "1s"}
    panels = [
        {"id": f"{fn}{i}", "type": "timeseries", "query": {"metric": metric(i), "fn": fn, **query}}
        for i in range(first, first + metrics) for fn in fns
    ]  # fmt: skip
    document = {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": f"load{first}"},
        "spec": {"window": "1m", "panels": panels},
    }  # fmt: skip
    return Entry(VERSION, f"load{first}", "", document, "")


def asked(metrics: int = METRICS, fns: Sequence[str] = FUNCTIONS) -> Wanted:
    """As many dashboards as it takes."""
    entries = [entry(min(METRICS, metrics - first), first, fns) for first in range(0, metrics, METRICS)]
    return wanted({item.name: item for item in entries})


def keys(client: int) -> list[bytes]:
    """The series that a client posts."""
    hosts = range(client * CLIENT_HOSTS, (client + 1) * CLIENT_HOSTS)
    return [series_key(metric(i), {"host": f"host-{host % HOSTS:04}"}) for host in hosts for i in range(METRICS)]


def columnar(
    records: int, per_record: int, *, dictionaries: bool = True, start: int = T0, disorder_ms: int = DISORDER_MS
) -> list[Record]:
    """Batches of so many samples; per_record is a multiple of READING. dictionaries: whether a client sends the same series each time.

    start: epoch ms of the first; samples are late by less than disorder_ms.
    """
    chance = np.random.default_rng(1)
    clients = HOSTS // CLIENT_HOSTS
    known = [keys(client) for client in range(clients)]
    everybody = list(chain.from_iterable(known))
    kinds = np.full(READING, Kind.distribution, np.uint8)
    found = []
    for i in range(records):
        now = start + i * per_record // 250
        series = np.tile(np.arange(READING, dtype=np.uint32), per_record // READING)
        times = now - chance.integers(0, disorder_ms, per_record)
        mine = known[i % clients]
        if not dictionaries:
            mine = [everybody[place] for place in chance.choice(len(everybody), READING, replace=False).tolist()]
        batch = Batch(1, i, now, mine, kinds, series, times, chance.lognormal(-3, 1, per_record))
        found.append(Record(i, encode(batch)))
    return found


def events(samples: int) -> list[bytes]:
    """One JSON object each, as a producer of events writes them: 125 bytes."""
    chance = np.random.default_rng(2)
    hosts, metrics = chance.integers(0, HOSTS, samples).tolist(), chance.integers(0, METRICS, samples).tolist()
    values, late = chance.lognormal(-3, 1, samples).tolist(), chance.integers(0, DISORDER_MS, samples).tolist()
    return [
        msgspec.json.encode({
            "metric": metric(which), "labels": {"host": f"host-{host:04}"}, "value": round(value, 6),
            "time": T0 + i // 250 - behind, "kind": "distribution",
        })
        for i, (host, which, value, behind) in enumerate(zip(hosts, metrics, values, late, strict=True))
    ]  # fmt: skip
