"""The batch job: what every cell of a view must be, computed from the whole log in plain Python.

It shares no code with the engine but the decoding of records and the definition of views. Sums are added in the order that the
engine promises: in each partition as the log has them, then partition by partition, then the buckets of a sliding window in the order
of time; single series in the order of their keys.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.contract.batch import decode
from services.contract.expressions import parse_expression
from services.contract.series import parse_series_key
from services.contract.views import Input, Selection, View

GAUGE, COUNTER, DELTA, DISTRIBUTION = range(4)
SPREAD_MS = 300_000
CONTEST_MS = 120_000
SKETCH_ERROR = 0.0055
PER_LOG = 1_000_000
"""Partition p of the i-th log is i * PER_LOG + p, where logs followed each other."""
OVERFLOW = "__overflow__"
"""A sample with this label is in the group of those that are not shown apart."""

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
    start: int = 0


@dataclass(frozen=True)
class Quantile:
    """What a quantile may be: the exact sample at its rank, and how far off a sketch may say it is."""

    exact: float

    def allows(self, value: float) -> bool:
        return math.isclose(value, self.exact, rel_tol=SKETCH_ERROR, abs_tol=1e-12)


@dataclass(frozen=True)
class Distinct:
    """What a number of different items may be: exact where they are few, within five standard errors where they are many."""

    exact: int

    def allows(self, value: float) -> bool:
        return abs(value - self.exact) <= (0 if self.exact < 380 else 5 * 0.01625 * self.exact)


Allowed = Quantile | Distinct


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
    starts = [0] * len(batch.series) if batch.starts is None else batch.starts.tolist()
    rows = zip(own, batch.series.tolist(), batch.times.tolist(), batch.values.tolist(), starts, strict=True)
    for sequence, series, time, value, start in rows:
        if sequence <= before:
            continue
        metric, labels = parsed[series]
        key, kind = batch.keys[series], int(batch.kinds[series])
        found.append(Sample(partition, key, kind, metric, labels, time, value, batch.ingest_ms, start))
    return found


def cells(
    view: View, taken: Sequence[Sample], retentions: Mapping[str, int] | None = None
) -> dict[tuple[Group, int], float | Allowed]:
    """Every cell of a view: (labels of the group, bucket start) -> its value.

    retentions: by selection, for how many ms its cells are kept: older samples are too late. None: everything counts.
    """
    parts = {item.name: _parts(item, taken, (retentions or {}).get(_sampled(item.selection).id)) for item in view.inputs}
    newest = max((min(sample.time, sample.ingest) for sample in taken), default=0)
    ends = {end for item in view.inputs for end in _ends(item, {bucket for _, bucket in parts[item.name]}, newest)}
    inputs = {item.name: _values(item, parts[item.name], ends) for item in view.inputs}
    if view.expr is None:
        return inputs[""]
    expression = parse_expression(view.expr)
    found: dict[tuple[Group, int], float | Allowed] = {}
    for at in {at for values in inputs.values() for at in values}:
        named = {name: values.get(at, math.nan) for name, values in inputs.items()}
        value = _arithmetic(expression.text, named)
        if not math.isnan(value):
            found[at] = value
    return found


def _sampled(selection: Selection) -> Selection:
    """What a selection is rolled up from in the end: it is there that samples come too late."""
    return selection if selection.finer is None else _sampled(selection.finer)


def _arithmetic(text: str, values: Mapping[str, float | Allowed]) -> float:
    """Python's own eval: the text has passed the engine's check, and the test wrote it."""
    try:
        value = float(eval(text, {"__builtins__": {}}, dict(values)))  # noqa: S307
    except ZeroDivisionError:
        return math.nan
    return value if math.isfinite(value) else math.nan


Parts = Mapping[tuple[Group, int], Any]  # of each cell, its samples or its increase
Window = Sequence[Sequence[Sample]]  # the samples of each bucket in it that has some, in the order of time


def _parts(item: Input, taken: Sequence[Sample], retention: int | None) -> Parts:
    every = item.selection.every_ms
    own = _sampled(item.selection).every_ms
    mine = [sample for sample in taken if sample.metric == item.selection.metric and _meets(item, sample.labels)]
    if item.fn in ("rate", "increase"):
        return _increases(item, mine, retention)
    by_cell: dict[tuple[Group, int], list[Sample]] = defaultdict(list)
    for sample in mine:
        bucket = sample.time // every * every
        named = not item.selection.of or item.selection.of in sample.labels
        if named and not _too_late(sample, sample.time // own * own, own, retention):
            by_cell[_group(item, sample.labels), bucket].append(sample)
    return by_cell


def _ends(item: Input, buckets: set[int], newest: int) -> set[int]:
    """The buckets in which a window ends that has samples: up to the newest sample of the log, or the bucket of a later one."""
    every = item.selection.every_ms
    return {
        end
        for bucket in buckets
        for end in range(bucket, bucket + max(item.over_ms, every), every)
        if end == bucket or end <= newest
    }


def _values(item: Input, parts: Parts, ends: set[int]) -> dict[tuple[Group, int], float | Allowed]:
    every = item.selection.every_ms
    found: dict[tuple[Group, int], float | Allowed] = {}
    for group in {group for group, _ in parts}:
        for end in ends:
            window = range(end - max(item.over_ms, every) + every, end + 1, every)
            held = [parts[group, bucket] for bucket in window if (group, bucket) in parts]
            if held:
                found |= {(at, end): value for at, value in _functions(item, group, held)}
    return found


def _functions(item: Input, group: Group, held: Sequence[Any]) -> list[tuple[Group, float | Allowed]]:
    """The value of a window's group, or of each item in it."""
    if item.fn in ("rate", "increase"):
        total = _added(held)
        return [(group, total / ((item.over_ms or item.selection.every_ms) / 1000) if item.fn == "rate" else total)]
    if item.fn.startswith("topk"):
        return [(tuple(sorted((*group, (item.selection.of, name)))), weight) for name, weight in _top(item, held)]
    value = _pooled(item.fn, held, item.selection) if item.each == "pool" else _of_series(item, held)
    return [] if value is None else [(group, value)]


def _top(item: Input, window: Window) -> list[tuple[str, float]]:
    weights: dict[str, int] = defaultdict(int)
    for pane in window:
        for sample in pane:
            weights[sample.labels[item.selection.of]] += (
                min(max(round(sample.value), 0), 1 << 40) if sample.kind == DELTA else 1
            )
    best = sorted((-weight, name) for name, weight in weights.items() if weight > 0)
    return [(name, float(-weight)) for weight, name in best[: int(item.fn[5:-1])]]


def _too_late(sample: Sample, bucket: int, every: int, retention: int | None) -> bool:
    """Whether a bucket was out of the retention when the sample came."""
    return retention is not None and bucket + every <= sample.ingest - retention


def _meets(item: Input, labels: Mapping[str, str]) -> bool:
    for matcher in item.selection.where:
        value = labels.get(matcher.label, "")
        found = re.fullmatch(matcher.values[0], value) is not None if matcher.op in ("=~", "!~") else value in matcher.values
        if found is (matcher.op in ("!=", "not in", "!~")):
            return False
    return True


def _group(item: Input, labels: Mapping[str, str]) -> Group:
    if OVERFLOW in labels:
        return ((OVERFLOW, "true"),)
    return tuple((name, labels[name]) for name in sorted(item.by) if name in labels)


def _pooled(fn: str, window: Window, selection: Selection) -> float | Allowed | None:
    held = [sample for pane in window for sample in pane]
    values = [sample.value for sample in held]
    by_time = [(sample.time, i, sample.value) for i, sample in enumerate(held)]
    match fn:
        case "avg":
            return _sum(window, selection) / len(values)
        case "sum":
            return _sum(window, selection)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "count":
            return float(len(values))
        case "last":
            return max(by_time)[2]
        case "first":
            return min(by_time)[2]
        case "delta":
            return max(by_time)[2] - min(by_time)[2] if len(held) > 1 else None
        case "stddev":
            return _deviation(window, selection).root()
        case "distinct":
            return Distinct(
                len({sample.labels[selection.of] if selection.of else (sample.kind, sample.key) for sample in held})
            )
    thousandths = round(float(fn[1:]) * 1_000)
    return Quantile(sorted(values)[thousandths * (len(values) - 1) // 100_000])


Leaf = Callable[[Sequence[float]], Any]
Join = Callable[[Sequence[Any]], Any]


def _in_order(window: Window, chain: tuple[int, ...], leaf: Leaf, join: Join) -> Any:
    """What the engine's order of additions gives: in each partition as the log has them, then finer buckets into the coarser ones that
    are rolled up from them, then partition by partition, then the buckets of a sliding window. chain: lengths of the finer buckets."""
    panes = []
    for pane in window:
        partitions: dict[int, list[Sample]] = defaultdict(list)
        for sample in pane:
            partitions[sample.partition].append(sample)
        panes.append(join([_nested(mine, chain, leaf, join) for _, mine in sorted(partitions.items())]))
    return join(panes)


def _nested(held: Sequence[Sample], chain: tuple[int, ...], leaf: Leaf, join: Join) -> Any:
    if not chain:
        return leaf([sample.value for sample in held])
    finer: dict[int, list[Sample]] = defaultdict(list)
    for sample in held:
        finer[sample.time // chain[-1]].append(sample)
    return join([_nested(mine, chain[:-1], leaf, join) for _, mine in sorted(finer.items())])


def _added(values: Sequence[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def _sum(window: Window, selection: Selection) -> float:
    total: float = _in_order(window, selection.rolled_from_ms, _added, _added)
    return total


@dataclass
class Deviation:
    """Sums of what values are off the first of them."""

    origin: float = math.nan
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def merge(self, other: "Deviation") -> None:
        if not self.count:
            self.origin = other.origin
        off = other.origin - self.origin
        self.count += other.count
        self.total += other.total + other.count * off
        self.squares += other.squares + (2 * other.total + other.count * off) * off

    def root(self) -> float:
        return math.sqrt(max(self.squares - self.total * self.total / self.count, 0.0) / self.count)


def _deviation(window: Window, selection: Selection) -> Deviation:
    found: Deviation = _in_order(
        window, selection.rolled_from_ms, lambda values: _joined([Deviation(value, 1) for value in values]), _joined
    )
    return found


def _joined(parts: Sequence[Deviation]) -> Deviation:
    found = Deviation()
    for part in parts:
        found.merge(part)
    return found


def _of_series(item: Input, window: Window) -> float | None:
    series: dict[tuple[int, bytes], list[list[Sample]]] = defaultdict(list)
    for pane in window:
        of_pane: dict[tuple[int, bytes], list[Sample]] = defaultdict(list)
        for sample in pane:
            of_pane[sample.kind, sample.key].append(sample)
        for at, mine in of_pane.items():
            series[at].append(mine)
    reduced = []
    for (kind, _), panes in sorted(series.items()):
        how = item.each
        if how == "auto":
            how = "sum" if kind in (DELTA, DISTRIBUTION) else "last"
        if (value := _pooled(how, panes, item.selection)) is not None:
            assert isinstance(value, float)
            reduced.append((max(sample.time for pane in panes for sample in pane), value))
    return _combined(item.fn, reduced) if reduced else None


def _combined(fn: str, reduced: Sequence[tuple[int, float]]) -> float:
    """Of series in the order of their keys, each with the time of its last sample."""
    values = [value for _, value in reduced]
    by_time = [(time, i, value) for i, (time, value) in enumerate(reduced)]
    match fn:
        case "sum" | "avg" | "delta":
            return _added(values) / len(values) if fn == "avg" else _added(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "count":
            return float(len(values))
        case "last":
            return max(by_time)[2]
        case "first":
            return min(by_time)[2]
        case "stddev":
            return _joined([Deviation(value, 1) for value in values]).root()
    raise AssertionError(fn)


@dataclass
class Counter:
    """What is known of a series: the sample that is followed, and what it was before it fell or came back, for two minutes."""

    at: int | None = None
    value: float = 0.0
    start: int = 0
    peak: tuple[int, float] | None = None  # before it fell
    rival: tuple[int, float] | None = None  # before it came back
    contested: int = 0

    def grown(self, sample: Sample) -> tuple[int, float] | None:
        """(since when, how much), or None of a sample that tells nothing."""
        time, value, start = sample.time, sample.value, sample.start
        if self.at is None:
            self._follow(time, value, start)
            return (start, value) if start and start < time <= start + SPREAD_MS else None
        before = self.at
        if time <= before:
            return None
        if start and self.start and start < self.start:
            self.contested += 1
            if time - before > CONTEST_MS:
                self._follow(time, value, start)
            return None
        if start and start > (self.start or before):
            self._follow(time, value, start)
            return (max(before, start) if start < time else before), value
        self.start = start or self.start
        self.peak = self.peak if self.peak and time - self.peak[0] <= CONTEST_MS else None
        self.rival = self.rival if self.rival and time - self.rival[0] <= CONTEST_MS else None
        if value < self.value:
            if self.rival and self.rival[1] <= value:
                self.contested += 1
                since, amount = self.rival[0], value - self.rival[1]
                if time - before <= CONTEST_MS:
                    self.rival = time, value
                    return None
                self._follow(time, value, self.start)
                return since, amount
            peak = before, self.value
            self._follow(time, value, self.start)
            self.peak = peak
            return before, value
        amount = value - self.value
        if self.peak and self.peak[1] <= value:
            self.peak, self.rival = None, (before, self.value)
        self.at, self.value = time, value
        return before, amount

    def _follow(self, time: int, value: float, start: int) -> None:
        self.at, self.value, self.start, self.peak, self.rival = time, value, start, None, None


class Counters:
    """Of every series in every partition: one that comes to another partition begins anew there. In the next log it goes on from the one before."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, bytes], Counter] = {}
        self._newest: dict[bytes, tuple[int, Counter]] = {}  # the log where it was seen last

    def of(self, sample: Sample) -> Counter:
        """Samples must come log by log."""
        at, log = (sample.partition, sample.key), sample.partition // PER_LOG
        if at not in self._held:
            before, last = self._newest.get(sample.key, (log, None))
            self._held[at] = replace(last) if last is not None and before < log else Counter()
        self._newest[sample.key] = log, self._held[at]
        return self._held[at]


def _increases(item: Input, mine: Sequence[Sample], retention: int | None) -> Cells:
    every = _sampled(item.selection).every_ms
    partial: dict[int, Cells] = defaultdict(dict)

    def add(sample: Sample, bucket: int, amount: float) -> None:
        if _too_late(sample, bucket, every, retention):
            return
        at = _group(item, sample.labels), bucket
        partial[sample.partition][at] = partial[sample.partition].get(at, 0.0) + amount

    counters = Counters()
    for sample in mine:
        if sample.kind == DELTA:
            add(sample, sample.time // every * every, sample.value)
        if sample.kind != COUNTER:
            continue
        grown = counters.of(sample).grown(sample)
        if grown is None:
            continue
        since, amount = grown
        begin = max(since, sample.time - SPREAD_MS)
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
    return {at: _nested_amounts(found, selection.rolled_from_ms[1:]) for at, found in amounts.items()}


def _nested_amounts(amounts: Sequence[tuple[int, float]], chain: tuple[int, ...]) -> float:
    """The sum of (time, amount) in their order; where finer buckets are rolled up, of their sums in the order of time."""
    if not chain:
        total = 0.0
        for _, amount in amounts:
            total += amount
        return total
    finer: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for time, amount in amounts:
        finer[time // chain[-1]].append((time, amount))
    return _nested_amounts([(bucket, _nested_amounts(finer[bucket], chain[:-1])) for bucket in sorted(finer)], ())
