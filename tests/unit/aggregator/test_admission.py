"""Limits over several partitions: which groups are shown apart is a function of their lists, and nothing is lost by it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator.admission import admit, partial, ranks
from services.aggregator.census import Census
from services.aggregator.combine import Combined, Values, values_of
from services.aggregator.fold import Fold
from services.aggregator.matching import group_labels
from services.aggregator.mirror import Mirror
from services.aggregator.viewmerge import ViewMerge
from services.contract import limits
from services.contract.history import ViewCommit
from services.contract.limits import OVERFLOW
from services.contract.series import partition_of, series_key
from services.contract.views import View
from tests.unit.aggregator.logs import DELTA, GAUGE, T0, Sample, Store, config, gauge, records, view, write
from tests.unit.aggregator.test_limits import limited

PARTITIONS = 3
SHOWN = 4
COUNT, SUM, EACH = limited("count", SHOWN), limited("sum", SHOWN, each="pool"), limited("sum", SHOWN)
DELTAS = limited("sum", SHOWN, metric="added")
TOTALS = {
    COUNT.id: view(fn="count"),
    SUM.id: view(fn="sum", each="pool"),
    EACH.id: view(fn="sum"),
    DELTAS.id: view("added", fn="sum"),
}


class World:
    """Partitions with their folds and mirrors, and a merge of one view."""

    def __init__(self, wanted: View, *others: View) -> None:
        self.view = wanted
        self.config = config(wanted, *others)
        self.folds = [Fold(self.config, 0) for _ in range(PARTITIONS)]
        self.stores = [Store() for _ in self.folds]
        self.mirrors = [Mirror(self.config.selections) for _ in self.folds]
        self.merge = self.merging()
        for place in range(PARTITIONS):
            self.commit(place)

    def merging(self, mirrors: Sequence[Mirror] | None = None) -> ViewMerge:
        return ViewMerge(self.view, 300_000, [values(self.view, mirrors or self.mirrors)], None, "e")

    def write(self, samples: Sequence[Sample]) -> None:
        by_partition: dict[int, list[Sample]] = {}
        for sample in samples:
            by_partition.setdefault(partition_of(series_key(sample[0], sample[1]), PARTITIONS), []).append(sample)
        for place, mine in by_partition.items():
            fold = self.folds[place]
            fold.apply(records(write(mine, fold.offset), first=fold.offset))

    def commit(self, place: int) -> None:
        self.stores[place].commit(self.folds[place])
        if self.mirrors[place].apply(self.stores[place].log[-1]) == "gap":
            self.mirrors[place].load(self.stores[place].stored)

    def step(self) -> ViewCommit | None:
        """As `merging` does it."""
        dirty = {bucket for mirror in self.mirrors for name, bucket in mirror.dirty if name in self.merge.selections}
        for mirror in self.mirrors:
            mirror.dirty.clear()
        if self.merge.settle():
            dirty |= values(self.view, self.mirrors).combined.buckets()
        step = self.merge.step(dirty, 0, T0 + 60_000, 0, {})
        if step is not None:
            self.merge.accepted(step)
        return step

    def shown(self) -> dict[tuple[str, int], float]:
        """What a reader of the history has: (host, bucket) -> value."""
        labels = self.merge._labels
        return {
            (labels[group].get("host", "others"), bucket): value
            for bucket, column in self.merge._values.items()
            for group, value in enumerate(column.tolist())
            if value == value
        }


def values(wanted: View, mirrors: Sequence[Mirror]) -> Values:
    item = wanted.inputs[0]
    return values_of(item, {item.selection.id: Combined(item.selection.id, item.selection, mirrors)})


def table(wanted: View, mirrors: Sequence[Mirror]) -> dict[tuple[tuple[tuple[str, str], ...], int], float]:
    """From nothing: what a merge computes that begins now."""
    found, held = {}, values(wanted, mirrors)
    held.settle()
    for bucket in held.combined.buckets():
        for key, value in zip(held.keys, column := held.of(bucket).tolist(), strict=True):
            if value == value:
                found[tuple(group_labels(key).items()), bucket] = value
        assert len(column) == len(held.keys)
    return found


stories = st.lists(
    st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 3), st.integers(0, 2_999), st.integers(-50, 50)), min_size=1, max_size=8
    ),
    min_size=1,
    max_size=8,
)


def samples(rows: Sequence[tuple[int, int, int, int]]) -> list[Sample]:
    """(host, core, ms, value) of each, as gauge and as delta."""
    return [
        (metric, {"host": f"h{host}", "core": str(core)}, at, float(value), kind)
        for host, core, at, value in rows
        for metric, kind in (("load", GAUGE), ("added", DELTA))
    ]


@settings(max_examples=100, deadline=None)
@given(stories, st.sampled_from([COUNT, SUM, EACH, DELTAS]), st.data())
def test_a_merge_that_follows_shows_what_one_shows_that_begins_at_the_end(
    story: list[list[tuple[int, int, int, int]]], wanted: View, data: st.DataObject
) -> None:
    world = World(wanted, TOTALS[wanted.id])
    for rows in story:
        world.write(samples(rows))
        for place in data.draw(st.sets(st.integers(0, PARTITIONS - 1))):
            world.commit(place)
        if data.draw(st.booleans()):
            world.step()
    for place in range(PARTITIONS):
        world.commit(place)
    world.step()
    expected = table(wanted, [store.mirror(wanted) for store in world.stores])
    assert {
        (dict(labels).get("host", "others"), bucket): value for (labels, bucket), value in expected.items()
    } == world.shown()
    groups = {labels for labels, _ in expected}
    assert len(groups - {tuple(OVERFLOW.items())}) <= SHOWN


@settings(max_examples=100, deadline=None)
@given(stories, st.sampled_from([COUNT, SUM, EACH, DELTAS]))
def test_sums_over_all_groups_are_those_without_groups(story: list[list[tuple[int, int, int, int]]], wanted: View) -> None:
    total = TOTALS[wanted.id]
    world = World(wanted, total)
    for rows in story:
        world.write(samples(rows))
    for place in range(PARTITIONS):
        world.commit(place)
    sums: dict[int, float] = {}
    for (_, bucket), value in table(wanted, world.mirrors).items():
        sums[bucket] = sums.get(bucket, 0.0) + value
    mirrors = [store.mirror(total) for store in world.stores]
    assert sums == {bucket: value for (_, bucket), value in table(total, mirrors).items()}


def test_groups_are_shown_in_the_order_of_their_places_and_then_of_partitions() -> None:
    places = [np.array(list_) for list_ in ([4, 0], [1, 0, 2], [3])]
    admitted = admit(ranks(places, 5), 3, 5)
    assert admitted.pooled.tolist() == [0, 2]
    assert admitted.shown is not None
    assert admitted.shown.tolist() == [5, 1, 5, 3, 4, 5]
    assert admit(ranks(places, 5), 5, 5).shown is None
    assert admit(ranks(places, 6), 0, 5).shown is None


@pytest.mark.parametrize(
    ("lists", "lacking"),
    [
        ([[0, 1, 9], [0, 2]], 1),  # 2 may be among what the first one has pooled
        ([[0, 1, 9], [0, 1]], 0),
        ([[0, 1, 9], [2, 3, 9]], 0),  # no group is in both: they are apart by what makes partitions
        ([[0, 1], [0, 2]], 0),  # nobody has pooled anything
        ([[0, 1, 9], [0, 2, 9]], 2),
    ],
)
def test_a_group_may_lack_what_a_partition_has_pooled_that_does_not_list_it(lists: list[list[int]], lacking: int) -> None:
    assert partial([np.array(list_) for list_ in lists], 9, 9) == lacking


def test_what_is_pooled_here_is_said() -> None:
    world = World(COUNT)
    by_partition: dict[int, list[str]] = {}
    for host in (f"h{i}" for i in range(40)):
        by_partition.setdefault(partition_of(series_key("load", {"host": host}), PARTITIONS), []).append(host)
    world.write([gauge(1, host=host) for hosts in by_partition.values() for host in hosts[: SHOWN - 1]])
    for place in range(PARTITIONS):
        world.commit(place)
    world.step()
    ((registers, lacking),) = world.merge.pooling()
    assert (Census(registers).count(), lacking) == (PARTITIONS * (SHOWN - 1) - SHOWN, 0)


def sums_of(wanted: View, rows: Sequence[Sample]) -> Mapping[object, float]:
    world = World(wanted)
    world.write(rows)
    for place in range(PARTITIONS):
        world.commit(place)
    return {
        dict(labels).get("host", "all" if not wanted.by else "others"): v
        for (labels, _), v in table(wanted, world.mirrors).items()
    }


def test_of_series_that_are_too_many_to_keep_apart_only_sums_of_deltas_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SERIES", 1)
    rows: list[Sample] = [
        (m, {"host": "a", "core": str(i)}, 0, 1.0, k) for i in range(30) for m, k in (("load", GAUGE), ("added", DELTA))
    ]
    assert sums_of(view("added", fn="sum", by=["host"]), rows) == {"a": PARTITIONS, "others": 30 - PARTITIONS}
    assert sums_of(view("added", fn="sum"), rows) == {"all": 30}
    assert sums_of(view("load", fn="sum", by=["host"]), rows) == {"a": PARTITIONS}
    assert sums_of(view("load", fn="sum"), rows) == {"all": PARTITIONS}
