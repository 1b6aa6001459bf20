"""Which groups are shown apart where there are more than a dashboard allows, worked out from the records alone, in plain Python. Pure.

As docs/protocol.md has it: each partition keeps the first ones of its log apart; of those of all partitions the first ones by their place are
shown. It holds for runs that are shorter than the windows: groups that end, and make place for others, are not looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

from services.contract.batch import decode
from services.contract.series import parse_series_key
from services.contract.views import Input, Selection, View
from tests.batch_job import OVERFLOW, PER_LOG, Sample, _meets, _sampled

OVERFLOW_KEY: Final = b"\xff" + OVERFLOW.encode() + b"\xfetrue\xff"
PLACES: Final = 1_000
"""A partition's groups at most, and partitions at most, where a limit is looked at."""
SINGLE: Final = ("series", "series_edges")
COARSER: Final = 4
"""How many times as many groups coarser resolutions show."""

Series = tuple[int, bytes, str, Mapping[str, str]]  # kind, key, metric, labels


class Lists:
    """The groups of every partition in the order of their first records. logs: as `reference.all_samples` takes them."""

    def __init__(self, logs: Sequence[Mapping[int, Iterable[bytes]]]) -> None:
        self._logs = logs
        self._known: dict[Selection, dict[int, dict[bytes, int]]] = {}

    @cached_property
    def _series(self) -> dict[int, list[Series]]:
        """Every partition's series in the order in which its records first name them."""
        found: dict[int, list[Series]] = {}
        for i, log in enumerate(self._logs):
            for partition, records in log.items():
                known: dict[tuple[int, bytes], Series] = {}
                for record in records:
                    for kind, key in _named(record):
                        if (kind, key) not in known:
                            known[kind, key] = kind, key, *parse_series_key(key)
                found[i * PER_LOG + partition] = list(known.values())
        return found

    def place(self, selection: Selection, partition: int, key: bytes) -> int | None:
        """The place of a group in its partition's list, None of one that is not kept apart there."""
        place = self._places(_sampled(selection))[partition].get(key)
        return None if place is None or 0 < _sampled(selection).limit <= place else place

    def pooled(self, item: Input) -> set[bytes]:
        """The groups that some partition keeps apart and that are not shown apart."""
        selection = item.selection
        limit = item.limit * (COARSER if selection.finer is not None else 1)
        if not limit:
            return set()
        ranks: dict[bytes, tuple[int, int]] = {}
        for partition, places in sorted(self._places(_sampled(selection)).items()):
            for key, place in places.items():
                if self.place(selection, partition, key) is not None:
                    group = _by(item.by, parse_series_key(key[1:])[1]) if selection.accumulator in SINGLE else key
                    ranks[group] = min(ranks.get(group, (place, partition)), (place, partition))
        return set(sorted(ranks, key=ranks.__getitem__)[limit:])

    def shown(self, view: View, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The same samples; of those that a view reads and whose group is not shown apart their labels say so.

        Every group that a partition keeps apart is added up on its own first, as if it had a partition of its own.
        """
        item = view.inputs[0]
        selection, pooled = item.selection, self.pooled(item)
        if not pooled and not self._overflows(_sampled(selection)):
            return samples
        assert view.expr is None, "an expression of limited groups is not worked out here"
        found = []
        for sample in samples:
            if sample.metric != selection.metric or not _meets(item, sample.labels):
                found.append(sample)  # how far the log has come, it says too
                continue
            key = _by(item.by, sample.labels)
            place = 0 if selection.accumulator in SINGLE else self.place(selection, sample.partition, key)
            log, partition = divmod(sample.partition, PER_LOG)
            last = PLACES - 1 if place is None else place
            labels = {**sample.labels, OVERFLOW: "true"} if place is None or key in pooled else sample.labels
            found.append(replace(sample, partition=log * PER_LOG + partition * PLACES + last, labels=labels))
        return sorted(found, key=lambda sample: sample.partition)

    def _overflows(self, selection: Selection) -> bool:
        return any(0 < selection.limit < len(places) for places in self._places(selection).values())

    def _places(self, selection: Selection) -> dict[int, dict[bytes, int]]:
        if selection not in self._known:
            item = Input("", selection, selection.by, "", "pool")
            self._known[selection] = {}
            for partition, series in self._series.items():
                keys = (
                    group_key(selection, kind, key, labels)
                    for kind, key, metric, labels in series
                    if metric == selection.metric and _meets(item, labels) and (not selection.of or selection.of in labels)
                )
                self._known[selection][partition] = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        return self._known[selection]


def group_key(selection: Selection, kind: int, key: bytes, labels: Mapping[str, str]) -> bytes:
    """Canonical bytes of the group of a series, as docs/protocol.md has them."""
    return bytes([kind]) + key if selection.accumulator in SINGLE else _by(selection.by, labels)


def _by(names: Iterable[str], labels: Mapping[str, str]) -> bytes:
    named = [(name, labels[name]) for name in sorted(names) if labels.get(name)]
    return b"\xff" + b"".join(name.encode() + b"\xfe" + value.encode() + b"\xff" for name, value in named)


def _named(record: bytes) -> list[tuple[int, bytes]]:
    """The dictionary of a record; nothing of one that cannot be read."""
    try:
        batch = decode(record)
        keys = list(batch.keys)
        for key in keys:
            parse_series_key(key)
    except ValueError:
        return []
    return list(zip(batch.kinds.tolist(), keys, strict=True))
