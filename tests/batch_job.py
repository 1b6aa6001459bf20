"""The batch job: what every cell of a view must be, computed from the whole log in plain Python.

It shares no code with the engine but the decoding of records and the definition of views. Sums are added in the order that the
engine promises: in each partition as the log has them, then partition by partition; single series in the order of their keys.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.contract.batch import decode
from services.contract.expressions import parse_expression
from services.contract.series import parse_series_key
from services.contract.views import Input, Selection, View

GAUGE, COUNTER, DELTA, DISTRIBUTION = range(4)
SPREAD_MS = 300_000
SKETCH_ERROR = 0.0055

Group = tuple[tuple[str, str], ...]
Cells = dict[tuple[Group, int], float]


@dataclass(frozen=True)
class Sample:
    partition: int
    key: bytes
    kind: int
    metric: str
    labels: Mapping[str, str]
    time: int
    value: float
    ingest: int = 0


@dataclass(frozen=True)
class Quantile:
    """What a quantile may be: the exact sample at its rank, and how far off a sketch may say it is."""

    exact: float

    def allows(self, value: float) -> bool:
        return math.isclose(value, self.exact, rel_tol=SKETCH_ERROR, abs_tol=1e-12)


def samples(log: Mapping[int, Sequence[bytes]]) -> list[Sample]:
    """All samples, partition by partition, without records that are there twice. log: the records of each partition in order."""
    found = []
    for partition in sorted(log):
        newest: dict[int, int] = {}
        for record in log[partition]:
            found += record_samples(partition, record, newest)
    return found


def record_samples(partition: int, record: bytes, newest: dict[int, int]) -> list[Sample]:
    """The samples of one record; none of one that cannot be read or was there before. newest: last sequence by instance, moved on."""
    try:
        batch = decode(record)
        parsed = [parse_series_key(key) for key in batch.keys]
    except ValueError:
        return []
    before = newest.get(batch.instance, -1)
    if batch.sequence <= before:
        return []
    newest[batch.instance] = batch.sequence
    found = []
    own = [batch.sequence] * len(batch.series) if batch.sequences is None else batch.sequences.tolist()
    rows = zip(own, batch.series.tolist(), batch.times.tolist(), batch.values.tolist(), strict=True)
    for sequence, series, time, value in rows:
        if sequence <= before:
            continue
        metric, labels = parsed[series]
        key, kind = batch.keys[series], int(batch.kinds[series])
        found.append(Sample(partition, key, kind, metric, labels, time, value, batch.ingest_ms))
    return found


def cells(
    view: View, taken: Sequence[Sample], retentions: Mapping[str, int] | None = None
) -> dict[tuple[Group, int], float | Quantile]:
    """Every cell of a view: (labels of the group, bucket start) -> its value.

    retentions: by selection, for how many ms its cells are kept: older samples are too late. None: everything counts.
    """
    inputs = {item.name: _input(item, taken, (retentions or {}).get(_sampled(item.selection).id)) for item in view.inputs}
    if view.expr is None:
        return dict(inputs[""])
    expression = parse_expression(view.expr)
    found: dict[tuple[Group, int], float | Quantile] = {}
    for at in {at for values in inputs.values() for at in values}:
        named = {name: values.get(at, math.nan) for name, values in inputs.items()}
        value = _arithmetic(expression.text, named)
        if not math.isnan(value):
            found[at] = value
    return found


def _sampled(selection: Selection) -> Selection:
    """What a selection is rolled up from in the end: it is there that samples come too late."""
    return selection if selection.finer is None else _sampled(selection.finer)


def _arithmetic(text: str, values: Mapping[str, float | Quantile]) -> float:
    """Python's own eval: the text has passed the engine's check, and the test wrote it."""
    try:
        value = float(eval(text, {"__builtins__": {}}, dict(values)))  # noqa: S307
    except ZeroDivisionError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _input(item: Input, taken: Sequence[Sample], retention: int | None) -> dict[tuple[Group, int], float | Quantile]:
    selection = item.selection
    chain = selection.rolled_from_ms
    own = chain[0] if chain else selection.every_ms
    mine = [sample for sample in taken if sample.metric == selection.metric and _meets(item, sample.labels)]
    if item.fn in ("rate", "increase"):
        seconds = selection.every_ms / 1000
        increases = _increases(item, mine, retention)
        return {at: value / seconds if item.fn == "rate" else value for at, value in increases.items()}
    by_cell: dict[tuple[Group, int], list[Sample]] = defaultdict(list)
    for sample in mine:
        bucket = sample.time // selection.every_ms * selection.every_ms
        if not _too_late(sample, sample.time // own * own, own, retention):
            by_cell[_group(item, sample.labels), bucket].append(sample)
    if item.each == "pool":
        return {at: _pooled(item.fn, held, chain) for at, held in by_cell.items()}
    return {at: _of_series(item, held) for at, held in by_cell.items()}


def _too_late(sample: Sample, bucket: int, every: int, retention: int | None) -> bool:
    """Whether a bucket was out of the retention when the sample came."""
    return retention is not None and bucket + every <= sample.ingest - retention


def _meets(item: Input, labels: Mapping[str, str]) -> bool:
    for matcher in item.selection.where:
        value = labels.get(matcher.label, "")
        if matcher.op == "=~":
            if not re.fullmatch(matcher.values[0], value):
                return False
        elif value not in matcher.values:
            return False
    return True


def _group(item: Input, labels: Mapping[str, str]) -> Group:
    return tuple((name, labels[name]) for name in sorted(item.by) if name in labels)


def _pooled(fn: str, held: Sequence[Sample], chain: tuple[int, ...]) -> float | Quantile:
    values = [sample.value for sample in held]
    match fn:
        case "avg":
            return _sum(held, chain) / len(values)
        case "sum":
            return _sum(held, chain)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "count":
            return float(len(values))
        case "last":
            return max(enumerate(held), key=lambda item: (item[1].time, item[0]))[1].value
    return Quantile(sorted(values)[int(int(fn[1:]) / 100 * (len(values) - 1))])


def _sum(held: Sequence[Sample], chain: tuple[int, ...]) -> float:
    by_partition: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for sample in held:
        by_partition[sample.partition].append((sample.time, sample.value))
    total = 0.0
    for partition in sorted(by_partition):
        total += _nested(by_partition[partition], chain)
    return total


def _nested(amounts: Sequence[tuple[int, float]], chain: tuple[int, ...]) -> float:
    """The sum of (time, amount) in their order; where finer buckets are rolled up, of their sums in the order of time."""
    if not chain:
        total = 0.0
        for _, amount in amounts:
            total += amount
        return total
    finer: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for time, amount in amounts:
        finer[time // chain[-1]].append((time, amount))
    return _nested([(bucket, _nested(finer[bucket], chain[:-1])) for bucket in sorted(finer)], ())


def _of_series(item: Input, held: Sequence[Sample]) -> float | Quantile:
    series: dict[tuple[int, bytes], list[Sample]] = defaultdict(list)
    for sample in held:
        series[sample.kind, sample.key].append(sample)
    reduced = []
    for (kind, _), mine in sorted(series.items()):
        how = item.each
        if how == "auto":
            how = "sum" if kind in (DELTA, DISTRIBUTION) else "last"
        value = _pooled(how, mine, item.selection.rolled_from_ms)
        assert isinstance(value, float)
        reduced.append((max(sample.time for sample in mine), value))
    values = [value for _, value in reduced]
    match item.fn:
        case "sum" | "avg":
            total = 0.0
            for value in values:
                total += value
            return total if item.fn == "sum" else total / len(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "count":
            return float(len(values))
        case "last":
            return max(enumerate(reduced), key=lambda entry: (entry[1][0], entry[0]))[1][1]
    raise AssertionError(item.fn)


def _increases(item: Input, mine: Sequence[Sample], retention: int | None) -> Cells:
    every = _sampled(item.selection).every_ms
    last: dict[bytes, tuple[int, float]] = {}  # a series stays in its partition, and goes on in the next log
    partial: dict[int, Cells] = defaultdict(dict)

    def add(sample: Sample, bucket: int, amount: float) -> None:
        if _too_late(sample, bucket, every, retention):
            return
        at = _group(item, sample.labels), bucket
        partial[sample.partition][at] = partial[sample.partition].get(at, 0.0) + amount

    for sample in mine:
        if sample.kind == DELTA:
            add(sample, sample.time // every * every, sample.value)
        if sample.kind != COUNTER:
            continue
        before = last.get(sample.key)
        if before is not None and sample.time <= before[0]:
            continue
        last[sample.key] = sample.time, sample.value
        if before is None:
            continue
        amount = sample.value if sample.value < before[1] else sample.value - before[1]
        begin = max(before[0], sample.time - SPREAD_MS)
        for bucket in range(begin // every * every, sample.time, every):
            covered = min(bucket + every, sample.time) - max(bucket, begin)
            add(sample, bucket, max(amount, 0.0) * (covered / (sample.time - begin)))
    merged: Cells = {}
    for partition in sorted(partial):
        for at, amount in _rolled(item.selection, partial[partition]).items():
            merged[at] = merged.get(at, 0.0) + amount
    return merged


def _rolled(selection: Selection, partial: Cells) -> Cells:
    """One partition's sums in the selection's own buckets."""
    if selection.finer is None:
        return partial
    amounts: dict[tuple[Group, int], list[tuple[int, float]]] = defaultdict(list)
    for (group, bucket), amount in sorted(partial.items()):
        amounts[group, bucket // selection.every_ms * selection.every_ms].append((bucket, amount))
    return {at: _nested(found, selection.rolled_from_ms[1:]) for at, found in amounts.items()}
