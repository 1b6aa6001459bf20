"""What taking samples costs: decoding, judging and columns, and records as well, against a bare decode of the same bytes."""

import json
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from services.ingestor.columns import Columns, SeriesTable, TimeLimits, judge
from services.ingestor.outbox import Limits, Outbox
from services.ingestor.samples import Rows, Sample, decode_json, decode_lines
from tests.bench.report import Table, rate

SAMPLES: Final = 5_000
SERIES: Final = 1_000
ROUNDS: Final = 7
NOW_MS: Final = 1_763_791_200_000


class Measured(NamedTuple):
    """rate: samples per second of CPU. ratio: to the bare decode of the same bytes."""

    what: str
    rate: float
    ratio: float


def lines() -> bytes:
    """NDJSON as a client would send it: 137 bytes a sample, a thousand series."""
    samples = (
        {
            "metric": "http_requests_total",
            "labels": {"region": "eu", "code": str(200 + i % 10), "instance": f"i-{i % (SERIES // 10)}"},
            "value": i * 1.5,
            "time": NOW_MS - i,
            "kind": "counter",
        }
        for i in range(SAMPLES)
    )
    return b"\n".join(json.dumps(sample).encode() for sample in samples)


def measure() -> Table:
    """For docs/benchmarks.md."""
    return Table(
        "Ingest",
        f"One process, bodies of {SAMPLES:,} samples of {SERIES:,} series, 137 bytes each, without HTTP and the log. Samples per second of CPU, the best of "
        f"{ROUNDS} rounds, and the ratio to msgspec decoding the same bytes into the same structs and doing nothing with them.",
        ("step, with those before it", "samples/s", "of the bare decode"),
        [(one.what, rate(one.rate), f"{one.ratio:.2f}") for one in figures()],
    )


def figures() -> list[Measured]:
    """Each step with those before it."""
    body = lines()
    array = b"[" + body.replace(b"\n", b",") + b"]"
    one, many = msgspec.json.Decoder(Sample), msgspec.json.Decoder(list[Sample])
    table = SeriesTable(4)
    outbox = Outbox(1, Limits())

    def columns(rows: Rows) -> Columns:
        return judge(rows, table, NOW_MS, TimeLimits()).columns

    def records() -> None:
        outbox.add(columns(decode_lines(body)), 0.0)
        for record in outbox.close(NOW_MS):
            outbox.acknowledge(record)

    broken = body + b'\n{"metric": "a", "value": "x"}'
    bare_lines, bare_list = _rate(lambda: one.decode_lines(body)), _rate(lambda: many.decode(array))
    return [
        Measured("bare decode, NDJSON", bare_lines, 1.0),
        Measured("+ judged, in columns", it := _rate(lambda: columns(decode_lines(body))), it / bare_lines),
        Measured("+ in records for the log", it := _rate(records), it / bare_lines),
        Measured("judged, in columns, with one bad line", it := _rate(lambda: columns(decode_lines(broken))), it / bare_lines),
        Measured("bare decode, JSON list", bare_list, 1.0),
        Measured("+ judged, in columns", it := _rate(lambda: columns(decode_json(array))), it / bare_list),
    ]


def _rate(work: Callable[[], object]) -> float:
    work()
    best = min(_cpu(work) for _ in range(ROUNDS))
    return SAMPLES / best


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    print(measure().markdown())
