"""The independent batch job over partials: what every page of every fold must hold, from the records alone, in plain Python. Pure.

Values of views are `tests.batch_job`'s; here are the partial cells of each partition, sketches bin by bin, and quantiles read off their bins.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.contract.views import Input, Selection, View
from tests.batch_job import COUNTER, DELTA, SPREAD_MS, Group, Quantile, Sample, _meets, _too_late, record_samples

At = tuple[bytes, int]  # key of the group, bucket start
Moments = tuple[int, float, float, float, int, float]
Increase = tuple[int, float]
Bins = dict[int, int]
Partial = Moments | Increase | Bins

PER_LOG: Final = 1_000
"""Partition p of the i-th log is i * PER_LOG + p here: merges add up in that order."""


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


def partials(selection: Selection, retentions: Mapping[str, int], samples: Sequence[Sample]) -> dict[int, dict[At, Partial]]:
    """By partition: what the fold holds of one selection. retentions: by selection, ms."""
    if (finer := selection.finer) is not None:
        below = partials(finer, retentions, samples)
        return {partition: _rolled(cells, selection.every_ms) for partition, cells in below.items()}
    retention = retentions[selection.id]
    item = Input("", selection, selection.by, "", "pool")
    mine = [sample for sample in samples if sample.metric == selection.metric and _meets(item, sample.labels)]
    if selection.accumulator == "increase":
        return _increases(item, retention, mine)
    found: dict[int, dict[At, Partial]] = {}
    for sample in mine:
        bucket = sample.time // selection.every_ms * selection.every_ms
        if _too_late(sample, bucket, selection.every_ms, retention):
            continue
        cells = found.setdefault(sample.partition, {})
        at = _key(selection, sample), bucket
        if selection.accumulator == "sketch":
            bins = cells.setdefault(at, {})
            assert isinstance(bins, dict)
            code = code_of(sample.value)
            bins[code] = bins.get(code, 0) + 1
        else:
            cells[at] = _moments(cells.get(at), sample)
    return found


def _rolled(finer: Mapping[At, Partial], every_ms: int) -> dict[At, Partial]:
    """Longer buckets, each from the shorter ones in the order of time."""
    found: dict[At, Partial] = {}
    for (key, bucket), partial in sorted(finer.items(), key=lambda item: item[0][1]):
        at = key, bucket // every_ms * every_ms
        found[at] = _added(found[at], partial) if at in found else _added_to_nothing(partial)
    return found


def _added_to_nothing(partial: Partial) -> Partial:
    return dict(partial) if isinstance(partial, dict) else (partial[0], 0.0 + partial[1], *partial[2:])


def _added(held: Partial, later: Partial) -> Partial:
    if isinstance(held, dict):
        assert isinstance(later, dict)
        return {code: held.get(code, 0) + later.get(code, 0) for code in held.keys() | later.keys()}
    assert isinstance(later, tuple)
    if len(held) == 2:
        return held[0] + later[0], held[1] + later[1]
    assert len(later) == 6
    last = later[4:] if later[4] >= held[4] else held[4:]
    return held[0] + later[0], held[1] + later[1], min(held[2], later[2]), max(held[3], later[3]), *last


def _moments(held: object, sample: Sample) -> Moments:
    if not isinstance(held, tuple):
        return 1, 0.0 + sample.value, sample.value, sample.value, sample.time, sample.value
    count, total, least, most, last_time, last = held
    if sample.time >= last_time:
        last_time, last = sample.time, sample.value
    return count + 1, total + sample.value, min(least, sample.value), max(most, sample.value), last_time, last


def _increases(item: Input, retention: int, mine: Sequence[Sample]) -> dict[int, dict[At, Partial]]:
    every = item.selection.every_ms
    last: dict[bytes, tuple[int, float]] = {}
    found: dict[int, dict[At, Partial]] = {}

    def add(sample: Sample, bucket: int, amount: float) -> None:
        if not _too_late(sample, bucket, every, retention):
            cells = found.setdefault(sample.partition, {})
            at = _key(item.selection, sample), bucket
            count, total = cells.get(at, (0, 0.0))  # type: ignore[misc]  # of this selection every cell is an Increase
            cells[at] = count + 1, total + amount

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
    return found


def _key(selection: Selection, sample: Sample) -> bytes:
    """Canonical bytes of a group, as docs/protocol.md has them."""
    if selection.accumulator == "series":
        return bytes([sample.kind]) + sample.key
    named = [(name, sample.labels[name]) for name in sorted(selection.by) if sample.labels.get(name)]
    return b"\xff" + b"".join(name.encode() + b"\xfe" + value.encode() + b"\xff" for name, value in named)


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


def quantiles(view: View, held: Mapping[int, Mapping[At, Partial]]) -> dict[tuple[Group, int], Quantile]:
    """A view of quantiles from the bins of all partitions."""
    item = view.inputs[0]
    merged: dict[At, Bins] = {}
    for cells in held.values():
        for at, bins in cells.items():
            assert isinstance(bins, dict)
            into = merged.setdefault(at, {})
            for code, count in bins.items():
                into[code] = into.get(code, 0) + count
    return {
        (_labels(key), bucket): _Binned(_read_off(bins, float(item.fn[1:]) / 100)) for (key, bucket), bins in merged.items()
    }


class _Binned(Quantile):
    """A quantile of known bins: it may differ by the rounding of a power only."""

    def allows(self, value: float) -> bool:
        return math.isclose(value, self.exact, rel_tol=1e-12)


def _read_off(bins: Bins, q: float) -> float:
    rank, seen = int(q * (sum(bins.values()) - 1)), 0
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
