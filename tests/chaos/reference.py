"""The independent batch job over partials: what every page of every fold must hold, from the records alone, in plain Python. Pure.

Values of views are `tests.batch_job`'s; here are the partial cells of each partition, sketches bin by bin, and quantiles read off their bins.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from services.contract.views import Input, Selection, View
from tests.batch_job import (
    COUNTER,
    DELTA,
    PER_LOG,
    SPREAD_MS,
    Counters,
    Deviation,
    Group,
    Quantile,
    Sample,
    _meets,
    _too_late,
    record_samples,
)
from tests.chaos.admitted import OVERFLOW_KEY, Lists, group_key

At = tuple[bytes, int]  # key of the group, bucket start
Row = tuple[float, ...]  # the numbers of one row, as docs/protocol.md has them
Bins = dict[Any, int]  # code of a sketch's bucket, or item -> how many
Partial = Row | Bins


def all_samples(logs: Sequence[Mapping[int, Iterable[bytes]]]) -> list[Sample]:
    """The samples of logs that followed each other, oldest first; each by partition. A record that an earlier log had counts once."""
    found: list[Sample] = []
    newest: dict[int, dict[int, int]] = {}
    for i, log in enumerate(logs):
        for partition in sorted(log):
            known = newest.setdefault(partition, {})
            for record in log[partition]:
                found += record_samples(i * PER_LOG + partition, record, known)
    return found


def partials(
    selection: Selection, retentions: Mapping[str, int], samples: Sequence[Sample], lists: Lists
) -> dict[int, dict[At, Partial]]:
    """By partition: what the fold holds of one selection. retentions: by selection, ms; lists: the groups that each partition keeps apart."""
    if (finer := selection.finer) is not None:
        below = partials(finer, retentions, samples, lists)
        return {partition: _rolled(selection.accumulator, cells, selection.every_ms) for partition, cells in below.items()}
    retention = retentions[selection.id]
    item = Input("", selection, selection.by, "", "pool")
    mine = [sample for sample in samples if sample.metric == selection.metric and _meets(item, sample.labels)]
    if selection.accumulator == "increase":
        return _increases(item, retention, mine, lists)
    held: dict[int, dict[At, list[Sample]]] = {}
    for sample in mine:
        bucket = sample.time // selection.every_ms * selection.every_ms
        if not _too_late(sample, bucket, selection.every_ms, retention) and (not selection.of or selection.of in sample.labels):
            held.setdefault(sample.partition, {}).setdefault((_key(selection, sample, lists), bucket), []).append(sample)
    return {partition: {at: _partial(selection, taken) for at, taken in cells.items()} for partition, cells in held.items()}


def _partial(selection: Selection, taken: Sequence[Sample]) -> Partial:
    """The samples of one cell, in the order of the log."""
    match selection.accumulator:
        case "sketch":
            return dict(Counter(code_of(sample.value) for sample in taken))
        case "distinct":
            return dict.fromkeys((sample.labels[selection.of] for sample in taken), 1)
        case "topk":
            return dict(Counter(sample.labels[selection.of] for sample in taken))
    found = [_leaf(selection.accumulator, sample) for sample in taken]
    total = found[0]
    for one in found[1:]:
        total = _added(selection.accumulator, total, one)
    return total


def _leaf(accumulator: str, sample: Sample) -> Row:
    time, value = sample.time, sample.value
    match accumulator:
        case "edges" | "series_edges":
            return 1, time, value, time, value
        case "variance":
            return 1, value, 0.0, 0.0
    return 1, 0.0 + value, value, value, time, value


def _rolled(accumulator: str, finer: Mapping[At, Partial], every_ms: int) -> dict[At, Partial]:
    """Longer buckets, each from the shorter ones in the order of time."""
    found: dict[At, Partial] = {}
    for (key, bucket), partial in sorted(finer.items(), key=lambda item: item[0][1]):
        at = key, bucket // every_ms * every_ms
        held = found.get(at)
        if isinstance(partial, dict):
            counts: Counter[Any] = Counter(held if isinstance(held, dict) else {})
            counts.update(partial)
            found[at] = dict.fromkeys(counts, 1) if accumulator == "distinct" else dict(counts)
        else:
            found[at] = _added(accumulator, held, partial) if isinstance(held, tuple) else partial
    return found


def _added(accumulator: str, held: Row, later: Row) -> Row:
    """Two rows; the later one is of samples further on in the log, or of a bucket further on in time."""
    match accumulator:
        case "increase":
            return held[0] + later[0], held[1] + later[1]
        case "edges" | "series_edges":
            first = later[1:3] if later[1] < held[1] else held[1:3]
            return held[0] + later[0], *first, *(later[3:] if later[3] >= held[3] else held[3:])
        case "variance":
            both = Deviation(held[1], int(held[0]), held[2], held[3])
            both.merge(Deviation(later[1], int(later[0]), later[2], later[3]))
            return both.count, both.origin, both.total, both.squares
    last = later[4:] if later[4] >= held[4] else held[4:]
    return held[0] + later[0], held[1] + later[1], min(held[2], later[2]), max(held[3], later[3]), *last


def _increases(item: Input, retention: int, mine: Sequence[Sample], lists: Lists) -> dict[int, dict[At, Partial]]:
    every = item.selection.every_ms
    counters = Counters()
    found: dict[int, dict[At, Partial]] = {}

    def add(sample: Sample, bucket: int, amount: float) -> None:
        if not _too_late(sample, bucket, every, retention):
            cells = found.setdefault(sample.partition, {})
            at = _key(item.selection, sample, lists), bucket
            held = cells.get(at)
            cells[at] = (held[0] + 1, held[1] + amount) if isinstance(held, tuple) else (1, 0.0 + amount)

    for sample in mine:
        if sample.kind == DELTA:
            add(sample, sample.time // every * every, sample.value)
        if sample.kind != COUNTER:
            continue
        if (grown := counters.of(sample).grown(sample)) is None:
            continue
        since, amount = grown
        begin = max(since, sample.time - SPREAD_MS)
        for bucket in range(begin // every * every, sample.time, every):
            covered = min(bucket + every, sample.time) - max(bucket, begin)
            add(sample, bucket, max(amount, 0.0) * (covered / (sample.time - begin)))
    return found


def _key(selection: Selection, sample: Sample, lists: Lists) -> bytes:
    """The group of a sample in its partition."""
    key = group_key(selection, sample.kind, sample.key, sample.labels)
    return key if not selection.limit or lists.place(selection, sample.partition, key) is not None else OVERFLOW_KEY


def code_of(value: float) -> int:
    """The bucket of a sketch: 2^20 + i of 2^((i-1)/64) < v <= 2^(i/64), 0 of zero, negated below it."""
    if value == 0:
        return 0
    size = abs(value)
    i = math.ceil(math.log2(size) * 64)
    while 2.0 ** ((i - 1) / 64) >= size:
        i -= 1
    while 2.0 ** (i / 64) < size:
        i += 1
    return (1 << 20) + i if value > 0 else -((1 << 20) + i)


def quantiles(
    view: View, held: Mapping[int, Mapping[At, Partial]], ends: Iterable[tuple[Group, int]], pooled: Collection[bytes] = ()
) -> dict[tuple[Group, int], Quantile]:
    """A view of quantiles from the bins of all partitions. ends: its cells: of a sliding window, of each the bucket that it ends with.

    pooled: groups that are not shown apart.
    """
    item = view.inputs[0]
    merged: dict[tuple[Group, int], Counter[Any]] = {}
    for cells in held.values():
        for (key, bucket), bins in cells.items():
            assert isinstance(bins, dict)
            merged.setdefault((_labels(OVERFLOW_KEY if key in pooled else key), bucket), Counter()).update(bins)
    every = item.selection.every_ms
    found: dict[tuple[Group, int], Quantile] = {}
    for group, end in ends:
        window = range(end - max(item.over_ms, every) + every, end + 1, every)
        bins = sum((merged[group, bucket] for bucket in window if (group, bucket) in merged), Counter[Any]())
        if bins:
            found[group, end] = _Binned(_read_off(bins, round(float(item.fn[1:]) * 1_000)))
    return found


class _Binned(Quantile):
    """A quantile of known bins: it may differ by the rounding of a power only."""

    def allows(self, value: float) -> bool:
        return math.isclose(value, self.exact, rel_tol=1e-12)


def _read_off(bins: Bins, thousandths: int) -> float:
    """thousandths: of a percent."""
    rank, seen = thousandths * (sum(bins.values()) - 1) // 100_000, 0
    for code in sorted(bins):
        seen += bins[code]
        if seen > rank:
            break
    if code == 0:
        return 0.0
    upper = math.pow(2, (abs(code) - (1 << 20)) / 64)
    middle = upper * 2 / (1 + math.pow(2, 1 / 64))
    return middle if code > 0 else -middle


def _labels(key: bytes) -> Group:
    pairs = [pair.split(b"\xfe") for pair in key[1:].split(b"\xff") if pair]
    return tuple((name.decode(), value.decode()) for name, value in pairs)
