"""Samples per core second through the engine: from what the broker gives to cells, beside bare decodes and beside other engines."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from services.aggregator.fold import Fold
from services.aggregator.fold import Record as FoldRecord
from services.contract.batch import decode
from services.ingestor.columns import SeriesTable, TimeLimits, judge
from services.ingestor.outbox import Limits, Outbox
from services.ingestor.samples import Sample, decode_json, decode_lines
from services.transport.settings import KafkaSettings
from tests.bench import rivals, servers, workload
from tests.bench.report import Table, rate
from tests.bench.workload import T0, Record

ROUNDS: Final = 2
FETCH_BYTES: Final = 1 << 20
"""What the reader asks of a partition at once; without a broker records are given in such pieces."""
JSON_RECORDS: Final = 80_000
NDJSON_LINES: Final = 500

Step = Callable[[Sequence[FoldRecord]], None]


@dataclass
class Shape:
    """How samples are packed into records. warm: so many records hold every series. begin: a step with nothing remembered. bare: decodes only."""

    name: str
    goal: str
    values: list[bytes]
    samples: int
    warm: int
    begin: Callable[[], Step]
    bare: Callable[[Sequence[bytes]], object]
    measured: list[str] = field(default_factory=list)


class Json:
    """Objects and lines: what the ingestor makes records of, and the fold of these. The second way through the log is left out."""

    def __init__(self, lines: bool) -> None:
        self._lines = lines
        self._table = SeriesTable(1)
        self._outbox = Outbox(1, Limits())
        self._fold = Fold(workload.asked().config, 0)
        self._records = 0

    def step(self, records: Sequence[FoldRecord]) -> None:
        values = [record.value for record in records]
        rows = decode_lines(b"\n".join(values)) if self._lines else decode_json(b"[" + b",".join(values) + b"]")
        self._outbox.add(judge(rows, self._table, T0, TimeLimits(10**12, 10**12)).columns, 0.0)
        made = []
        for outgoing in self._outbox.close(T0):
            self._outbox.acknowledge(outgoing)
            made.append(Record(self._records, outgoing.payload))
            self._records += 1
        self._fold.apply(made)


def measure() -> Table:
    """For docs/benchmarks.md."""
    found = shapes()
    events = found[2].values
    with servers.kafka() as server:
        settings = servers.settings(server)
        for shape in found:
            offsets = asyncio.run(servers.write(settings, shape.values))
            fetched = max(asyncio.run(_fetched(settings, shape, offsets)) for _ in range(ROUNDS))
            alone = max(_alone(shape) for _ in range(ROUNDS))
            bare = max(_bare(shape) for _ in range(ROUNDS))
            shape.measured = [rate(fetched), rate(alone), rate(bare), f"{bare / fetched:.1f}"]
        others = rivals.measure(server.bootstrap, events)
    rows = [[shape.name, shape.goal, *shape.measured] for shape in found]
    rows += [[f"one JSON object, {name}", "", said, "", "", ""] for name, said in others]
    text = (
        "One process, CPU time (all threads), best of two, on Apache Kafka with one partition; 50 views (mean and 99th percentile by host of 25 metrics),"
        " 1,000 groups each, every sample meets two. Fetched: with the fetch from the broker; given: the same records from memory. JSON goes through the"
        " ingestor's decoding into columnar records and these into the fold, without the second way through the log. Bare decode: msgspec into the same"
        " structs, of columnar records reading the columns and adding up the values. The other engines read the same objects from the same broker and"
        " compute count, sum, min and max by host and metric in windows of a second (no quantiles)."
    )
    head = ["samples in a record", "goal", "fetched", "given", "bare decode", "bare / fetched"]
    return Table("Engine: samples per core second", text, head, rows)


def shapes() -> list[Shape]:
    """What is measured. Every series comes before what is measured."""
    events = workload.events(JSON_RECORDS)
    lines = [b"\n".join(events[i : i + NDJSON_LINES]) for i in range(0, len(events), NDJSON_LINES)]
    everything = everyone()
    one, many = msgspec.json.Decoder(Sample), msgspec.json.Decoder(Sample)
    return [
        Shape("500, columnar", "2 M/s", _values(workload.columnar(1_600, 500)), 500, 50, _columnar, _decoded),
        Shape("5,000, columnar", "6 M/s", _values(workload.columnar(300, 5_000)), 5_000, 50, _columnar, _decoded),
        Shape("one JSON object", "250 k/s", everything + events, 1, len(everything), lambda: Json(False).step,
              lambda values: [one.decode(value) for value in values]),
        Shape("500, NDJSON", "600 k/s", [b"\n".join(everything), *lines], NDJSON_LINES, 1, lambda: Json(True).step,
              lambda values: [many.decode_lines(value) for value in values]),
        Shape("500, columnar, never the same series twice", "", _values(workload.columnar(600, 500, dictionaries=False)), 500, 100,
              _columnar, _decoded),
    ]  # fmt: skip


def everyone() -> list[bytes]:
    """A sample of every series."""
    return [
        msgspec.json.encode({
            "metric": workload.metric(i), "labels": {"host": f"host-{host:04}"}, "value": 0.5, "time": T0, "kind": "distribution",
        })
        for host in range(workload.HOSTS) for i in range(workload.METRICS)
    ]  # fmt: skip


def _values(records: Sequence[Record]) -> list[bytes]:
    return [record.value for record in records]


def _columnar() -> Step:
    return Fold(workload.asked().config, 0).apply


def _decoded(values: Sequence[bytes]) -> object:
    return [decode(value).values.sum() for value in values]


async def _fetched(settings: KafkaSettings, shape: Shape, offsets: range) -> float:
    step = shape.begin()
    step([Record(i, value) for i, value in enumerate(shape.values[: shape.warm])])
    async with servers.reading(settings, offsets.start + shape.warm) as reader:
        done = shape.warm
        while done == shape.warm:  # connections are made
            first = await reader.poll(1_000)
            step(_numbered(first, offsets.start))
            done += len(first)
        before, spent = done, 0.0
        while done < len(offsets):
            began = time.process_time()
            records = await reader.poll(1_000)
            spent += time.process_time() - began
            numbered = _numbered(records, offsets.start)  # the engine has no such step
            began = time.process_time()
            step(numbered)
            spent += time.process_time() - began
            done += len(records)
        return (done - before) * shape.samples / spent


def _numbered(records: Sequence[FoldRecord], start: int) -> Sequence[FoldRecord]:
    """As if the log began with this shape."""
    return [Record(record.offset - start, record.value) for record in records] if start else records


def _alone(shape: Shape) -> float:
    step = shape.begin()
    records = [Record(i, value) for i, value in enumerate(shape.values)]
    step(records[: shape.warm])
    pieces = list(_pieces(records[shape.warm :]))
    began = time.process_time()
    for piece in pieces:
        step(piece)
    return (len(records) - shape.warm) * shape.samples / (time.process_time() - began)


def _bare(shape: Shape) -> float:
    began = time.process_time()
    shape.bare(shape.values[shape.warm :])
    return (len(shape.values) - shape.warm) * shape.samples / (time.process_time() - began)


def _pieces(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records as a fetch gives them."""
    piece: list[Record] = []
    size = 0
    for record in records:
        piece.append(record)
        size += len(record.value)
        if size >= FETCH_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
