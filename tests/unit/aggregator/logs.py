"""A log and a store in memory: what the tests of the pure cores share.

`write` makes the bytes of a record, `Store` keeps what a fold commits as Redis would, and `values` walks a log through fold, store,
mirrors and combination to the values of a view.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.aggregator.claiming import step_of
from services.aggregator.combine import Combined, Values, values_of
from services.aggregator.fold import Changes, Fold
from services.aggregator.matching import group_labels
from services.aggregator.mirror import Mirror
from services.contract.batch import Batch, encode
from services.contract.dashboards import parse
from services.contract.partials import Config, Entry, FoldState, Stored
from services.contract.series import series_key
from services.contract.views import View, retentions

GAUGE, COUNTER, DELTA, DISTRIBUTION = range(4)
T0 = 1_763_791_200_000  # a whole hour
DAY = 86_400_000

Sample = tuple[str, Mapping[str, str], int, float, int]  # metric, labels, ms after T0, value, kind
Group = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes


def write(
    samples: Sequence[Sample], sequence: int = 0, ingest: int = 60_000, instance: int = 7, starts: Sequence[int] | None = None
) -> bytes:
    """A record. ingest: ms after T0. starts: of each sample, ms after T0, 0 for none."""
    keys: dict[tuple[bytes, int], int] = {}
    series = [keys.setdefault((series_key(metric, labels), kind), len(keys)) for metric, labels, _, _, kind in samples]
    return encode(
        Batch(
            instance, sequence, T0 + ingest, [key for key, _ in keys], np.array([kind for _, kind in keys], np.uint8),
            np.array(series, np.uint32), np.array([T0 + sample[2] for sample in samples], np.int64),
            np.array([sample[3] for sample in samples], np.float64),
            starts=None if starts is None else np.array([T0 + start if start else 0 for start in starts], np.int64),
        )
    )  # fmt: skip


def records(*values: bytes, first: int = 0) -> list[Record]:
    return [Record(first + i, value) for i, value in enumerate(values)]


def gauge(value: float, at: int = 0, metric: str = "load", **labels: str) -> Sample:
    return metric, labels, at, value, GAUGE


def counter(value: float, at: int = 0, metric: str = "bytes", **labels: str) -> Sample:
    return metric, labels, at, value, COUNTER


def delta(value: float, at: int = 0, metric: str = "bytes", **labels: str) -> Sample:
    return metric, labels, at, value, DELTA


def view(metric: str = "load", fn: str = "avg", window: str = "5m", **query: object) -> View:
    """A view, by way of the dashboard that asks for it."""
    return views({"metric": metric, "fn": fn, **query}, window=window)[0]


def views(*queries: Mapping[str, object], window: str = "5m") -> list[View]:
    panels = [{"id": f"p{i}", "type": "stat", "query": query} for i, query in enumerate(queries)]
    return list(retentions(parse(document(panels, window))))


def expression(text: str, window: str = "5m", **queries: Mapping[str, object]) -> View:
    panel = {"id": "p", "type": "stat", "expr": text, "queries": [{"id": name, **query} for name, query in queries.items()]}
    return next(iter(retentions(parse(document([panel], window)))))


def document(panels: Sequence[object], window: str = "5m") -> dict[str, object]:
    return {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "test"},
        "spec": {"window": window, "panels": list(panels), "resolutions": []},
    }  # fmt: skip


def config(*wanted: View, retention_ms: int = DAY) -> Config:
    selections = {item.selection.id: item.selection for view in wanted for item in view.inputs}
    return Config(selections, dict.fromkeys(selections, retention_ms))


@dataclass
class Store:
    """One fold's place in Redis, as services.transport.partials keeps it. named: commits have names."""

    stored: Stored = field(default_factory=lambda: Stored(Config({}, {}), -1, FoldState()))
    log: list[Entry] = field(default_factory=list)
    named: bool = False

    def commit(self, fold: Fold, now_ms: int | None = None) -> Changes:
        """Store what changed in a fold, and tell it. now_ms: for what is rolled up, by default everything."""
        changes = fold.changes(now_ms)
        before = self.stored.config.digest if self.stored.offset >= 0 else ""
        if self.stored.offset >= 0:
            assert changes.from_ == self.stored.offset
        for name in changes.reset:
            self.stored.pages.pop(name, None)
            self.stored.keys.pop(name, None)
        for page, blob in changes.pages:
            self.stored.pages.setdefault(page.selection, {})[page.bucket, page.page] = blob
        for page in changes.gone:
            self.stored.pages.get(page.selection, {}).pop((page.bucket, page.page), None)
        self.stored.pages = {name: pages for name, pages in self.stored.pages.items() if pages}
        for new in changes.keys:
            held = self.stored.keys.setdefault(new.selection, [])
            assert len(held) == new.first
            held += new.keys
        self.stored.config, self.stored.offset = fold.config, changes.to
        self.stored.state = copy.deepcopy(changes.state)
        after = self.stored.stamp
        if self.named:
            self.stored.stamp = f"s{len(self.log)}"
        self.log.append(step_of(fold.config, changes, before, after, self.stored.stamp).entry())
        fold.committed(changes)
        return changes

    def load(self) -> Fold:
        """The fold that lies here, sharing nothing with it; of coarse cells those that may still change, as services.transport.partials reads it."""
        stored = copy.deepcopy(self.stored)
        for name, cold_after in stored.config.cold_after().items():
            held = stored.pages.get(name, {})
            stored.pages[name] = {at: blob for at, blob in held.items() if at[0] >= stored.state.clock - cold_after}
        return Fold.load(stored)

    def mirror(self, *wanted: View) -> Mirror:
        """A mirror that has read what lies here."""
        mirror = Mirror(config(*wanted).selections)
        mirror.load(self.stored)
        return mirror


def folded(settings: Config, log: Iterable[Record], first: int = 0) -> Store:
    """What is stored once a fold has taken a log in one go."""
    fold, store = Fold(settings, first), Store()
    fold.apply(log)
    store.commit(fold)
    return store


def cells(wanted: View, mirrors: Sequence[Mirror]) -> dict[tuple[Group, int], float]:
    """The values of a view of one input, over all partitions: (labels, bucket start) -> value."""
    item = wanted.inputs[0]
    combined = Combined(item.selection.id, item.selection, mirrors)
    return table(values_of(item, {item.selection.id: combined}), item.over_ms, max(mirror.max_time for mirror in mirrors))


def table(values: Values, over_ms: int = 0, reached: int = 0) -> dict[tuple[Group, int], float]:
    """reached: time of the newest sample of the log; sliding windows end in every bucket up to there."""
    found = {}
    every = values.combined.selection.every_ms
    buckets = values.combined.buckets()
    later = {at for bucket in buckets for at in range(bucket, bucket + over_ms, every) if at <= reached}
    for bucket in buckets | later:
        column = values.of(bucket).tolist()
        for key, value in zip(values.keys, column, strict=True):
            if value == value:
                found[tuple(sorted(group_labels(key).items())), bucket] = value
    return found
