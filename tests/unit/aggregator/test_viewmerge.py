"""The merge of a view: from partials of all partitions to the steps of its history."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator.census import Census
from services.aggregator.combine import Combined, Values, values_of
from services.aggregator.fold import Fold
from services.aggregator.mirror import Mirror
from services.aggregator.notes import view_notes
from services.aggregator.viewmerge import KEEP_MS, ROLLED_MS, ViewMerge
from services.contract.history import Cells, NewGroup, Notes, ViewCommit, ViewHistory, unpack_rows
from services.contract.partials import SelectionNotes
from services.contract.series import partition_of, series_key
from services.contract.terms import STEP, Term, Terms, knows
from services.contract.views import View
from tests import batch_job
from tests.unit.aggregator.logs import (
    COUNTER,
    DELTA,
    GAUGE,
    T0,
    Sample,
    Store,
    config,
    counter,
    delta,
    expression,
    gauge,
    records,
    view,
    write,
)

NOW = T0 + 10_000
PARTITIONS = 3
RATIO = expression(
    "bad / all", bad={"metric": "bytes", "where": {"code": "=~ 5.."}, "by": ["host"], "fn": "increase"},
    all={"metric": "bytes", "by": ["host"], "fn": "increase"},
)  # fmt: skip
VIEWS = [
    view(fn="avg", by=["host"]),
    view(fn="sum", by=["host"]),
    view(fn="last"),
    view(fn="p50", by=["host"]),
    view(fn="max", each="last"),
    view("bytes", fn="rate", by=["host"]),
    view("bytes", fn="sum"),
    RATIO,
]


class World:
    """One view over partitions in memory: its folds, mirrors, merge, and a history as Redis would keep it."""

    def __init__(self, wanted: View, partitions: int = 1) -> None:
        self.view = wanted
        self.folds = [Fold(config(wanted), 0) for _ in range(partitions)]
        self.stores = [Store() for _ in range(partitions)]
        self.log: dict[int, list[bytes]] = {p: [] for p in range(partitions)}
        for fold, store in zip(self.folds, self.stores, strict=True):
            store.commit(fold)
        self.mirrors = [store.mirror(wanted) for store in self.stores]
        self.history: ViewHistory | None = None
        self.merge = self.merging()

    def merging(self, mirrors: Sequence[Mirror] | None = None, epoch: str = "e1") -> ViewMerge:
        return ViewMerge(self.view, 300_000, self._inputs(mirrors or self.mirrors), self.history, epoch)

    def _inputs(self, mirrors: Sequence[Mirror]) -> list[Values]:
        items = self.view.inputs
        combined = {item.selection.id: Combined(item.selection.id, item.selection, mirrors) for item in items}
        return [values_of(item, combined) for item in items]

    def write(self, *samples: Sample) -> None:
        """Fold samples and let the mirrors follow."""
        by_partition: dict[int, list[Sample]] = {}
        for sample in samples:
            place = partition_of(series_key(sample[0], sample[1]), len(self.folds))
            by_partition.setdefault(place, []).append(sample)
        for place, mine in by_partition.items():
            record = write(mine, len(self.log[place]))
            self.folds[place].apply(records(record, first=len(self.log[place])))
            self.log[place].append(record)
            self.stores[place].commit(self.folds[place])
            assert self.mirrors[place].apply(self.stores[place].log[-1]) == "applied"

    def step(self, closed: int = 0, now: int = NOW, merge: ViewMerge | None = None) -> ViewCommit | None:
        """Compute all buckets."""
        buckets = {bucket for mirror in self.mirrors for name in mirror.cells for bucket in mirror.buckets(name)}
        return (merge or self.merge).step(buckets, closed, now, 0, {})

    def commit(self, step: ViewCommit | None) -> ViewCommit:
        """Store a step as the script does."""
        assert step is not None
        before = self.history or ViewHistory("", 0, 0, 0, {}, {}, {})
        assert step.held == (before.epoch, before.version)
        rows = {**before.rows, **{bucket: unpack_rows(blob) for bucket, blob in step.blobs.items()}}
        rows = {bucket: held for bucket, held in rows.items() if bucket not in step.gone}
        groups = {**before.groups, **{group.number: group.labels for group in step.change.groups}}
        change = step.change
        notes = before.notes if change.notes is None else change.notes
        terms = before.terms if step.terms is None else step.terms
        self.history = ViewHistory(
            change.epoch,
            change.version,
            change.closed,
            change.newest,
            groups,
            rows,
            {},
            notes,
            terms=terms,
            sampled=change.sampled,
        )
        return step

    def table(self) -> dict[tuple[batch_job.Group, int], float]:
        """What a reader of the history sees."""
        held = self.history
        return {
            (tuple(sorted(held.groups[group].items())), bucket): value
            for bucket, rows in (held.rows.items() if held else ())
            for group, _, value in rows.tolist()
            if held and value == value
        }


def run(world: World, step: ViewCommit | None) -> ViewCommit:
    world.commit(step)
    assert step is not None
    world.merge.accepted(step)
    return step


samples = st.builds(
    lambda metric, host, code, at, value, kind: (metric, {"host": host, "code": code}, at, value, kind),
    st.sampled_from(["load", "bytes"]), st.sampled_from("abc"), st.sampled_from(["200", "503"]), st.integers(0, 5_000),
    st.floats(0, 1_000), st.sampled_from([GAUGE, COUNTER, DELTA]),
)  # fmt: skip
writes = st.lists(st.lists(samples, min_size=1, max_size=6), min_size=1, max_size=6)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(VIEWS), writes, st.data())
def test_the_history_is_what_a_batch_job_computes(wanted: View, written: list[list[Sample]], data: st.DataObject) -> None:
    world = World(wanted, PARTITIONS)
    for batch in written:
        world.write(*batch)
        if data.draw(st.booleans()) and (step := world.step()) is not None:
            run(world, step)
    if (step := world.step()) is not None:
        run(world, step)
    expected = batch_job.cells(wanted, batch_job.samples(world.log))
    assert world.table().keys() == expected.keys()
    for at, value in world.table().items():
        right = expected[at]
        assert right.allows(value) if isinstance(right, batch_job.Allowed) else value == right


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(VIEWS), writes, st.randoms(use_true_random=False))
def test_two_merges_come_to_the_same_bits_in_whatever_order_they_hear_of_partitions(
    wanted: View, written: list[list[Sample]], chance: random.Random
) -> None:
    world = World(wanted, PARTITIONS)
    others = [store.mirror(wanted) for store in world.stores]
    other = world.merging(others)
    for batch in written:
        world.write(*batch)
    world.step()
    places = list(range(PARTITIONS))
    chance.shuffle(places)
    for place in places:
        for entry in world.stores[place].log[1:]:
            others[place].apply(entry)
            other.step([], 0, NOW, 0, {})
    one, two = world.step(), world.step(merge=other)
    assert _values(one) == _values(two)


# Sliding windows

SLIDING = [
    view(fn="avg", by=["host"], every="1s", over="5s"),
    view(fn="stddev", every="500ms", over="2s"),
    view("bytes", fn="rate", by=["host"], every="2s", over="1m"),
    view(fn="delta", by=["host"], every="1s", over="4s"),
    view(fn="topk(2)", of="host", every="1s", over="8s"),
    expression("a / b", a={"metric": "load", "where": {"host": "a"}, "fn": "count", "over": "10s"}, b={"metric": "load", "fn": "count", "over": "30s"}),
]  # fmt: skip


def slide(world: World) -> None:
    """Compute and store what changed since the last time."""
    dirty: dict[str, set[int]] = {}
    for mirror in world.mirrors:
        for name, bucket in mirror.dirty:
            dirty.setdefault(name, set()).add(bucket)
        mirror.dirty.clear()
    reached = max(mirror.max_time for mirror in world.mirrors)
    if (step := world.merge.step(world.merge.affected(dirty, reached), 0, NOW, 0, {})) is not None:
        world.commit(step)
        world.merge.accepted(step)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SLIDING), writes)
def test_windows_that_slide_along_are_what_a_batch_job_computes(wanted: View, written: list[list[Sample]]) -> None:
    world = World(wanted, PARTITIONS)
    for batch in written:
        world.write(*batch)
        slide(world)
    assert world.table() == batch_job.cells(wanted, batch_job.samples(world.log))


def test_a_window_ends_in_every_bucket_up_to_the_newest_sample_of_the_log() -> None:
    world = World(view(fn="count", every="1s", over="3s", where={"host": "a"}))
    world.write(gauge(1, at=0, host="a"))
    slide(world)
    assert world.table() == {((), T0): 1}
    world.write(gauge(1, at=1_500, host="b"))  # of another host: it moves the log on and nothing else
    slide(world)
    assert world.table() == {((), T0): 1, ((), T0 + 1_000): 1}
    world.write(gauge(1, at=60_000, host="b"))
    slide(world)
    assert world.table() == {((), T0): 1, ((), T0 + 1_000): 1, ((), T0 + 2_000): 1}


def _values(step: ViewCommit | None) -> dict[tuple[int, tuple[tuple[str, str], ...]], str]:
    if step is None:
        return {}
    labels = {group.number: tuple(sorted(group.labels.items())) for group in step.change.groups}
    rows: Iterable[tuple[int, int, int, float]] = (
        (bucket, *row) for bucket, blob in step.blobs.items() for row in unpack_rows(blob).tolist()
    )
    return {(bucket, labels[group]): value.hex() for bucket, group, _, value in rows}


# Steps


def test_a_step_carries_what_changed_and_nothing_else() -> None:
    world = World(view(fn="max", by=["host"]))
    world.write(gauge(1, host="a"), gauge(1, host="b"), gauge(1, at=1_000, host="a"))
    first = run(world, world.step())
    assert first.change.cells == [Cells(T0, [0, 1], [1.0, 1.0]), Cells(T0 + 1_000, [0], [1.0])]
    assert first.change.groups == [NewGroup(0, {"host": "a"}), NewGroup(1, {"host": "b"})]
    world.write(gauge(5, host="b"), gauge(0, host="a"))
    second = run(world, world.step())
    assert second.change.cells == [Cells(T0, [1], [5.0])]
    assert (second.change.groups, list(second.blobs)) == ([], [T0])


def test_nothing_changed_is_no_step() -> None:
    world = World(view(fn="max"))
    assert world.step() is None
    world.write(gauge(1))
    run(world, world.step())
    assert world.step(now=NOW + 1_000) is None
    world.write(gauge(0.5))
    assert world.step(now=NOW + 2_000) is None


def test_a_group_that_comes_later_gets_the_next_number() -> None:
    world = World(view(fn="max", by=["host"]))
    world.write(gauge(1, host="b"))
    run(world, world.step())
    world.write(gauge(1, host="a"))
    assert run(world, world.step()).change.groups == [NewGroup(1, {"host": "a"})]


def test_a_row_knows_the_version_that_wrote_it_last() -> None:
    world = World(view(fn="max", by=["host"]))
    world.write(gauge(1, host="a"), gauge(1, host="b"))
    first = run(world, world.step(now=NOW)).change.version
    world.write(gauge(2, host="b"))
    second = run(world, world.step(now=NOW + 50)).change.version
    assert world.history is not None
    assert world.history.rows[T0]["version"].tolist() == [first, second]


@pytest.mark.parametrize(("now", "made"), [(NOW, NOW), (NOW - 9_000, NOW + 1)])
def test_versions_are_made_of_time_and_only_grow(now: int, made: int) -> None:
    world = World(view(fn="max"))
    if now < NOW:  # the clock was put back after the first commit
        world.write(gauge(0.5))
        run(world, world.step(now=NOW))
    before = world.merge.held[1]
    world.write(gauge(1))
    step = run(world, world.step(now=now))
    assert (step.change.prev, step.change.version // STEP) == (before, made)


# Terms


def terms(world: World) -> Terms:
    assert world.history is not None
    return world.history.terms


def written(world: World, value: float, now: int, merge: ViewMerge | None = None) -> ViewCommit:
    """A step in which a value changed, taken by the history and by its merge."""
    world.write(gauge(value))
    step = world.commit(world.step(now=now, merge=merge))
    (merge or world.merge).accepted(step)
    return step


def test_a_merge_writes_in_one_term_for_as_long_as_it_goes_on() -> None:
    world = World(view(fn="max"))
    first = written(world, 1, NOW).change
    second = written(world, 2, NOW + 50)
    assert terms(world) == (Term(first.version),)
    assert (second.terms, second.change.first) == (None, first.version)
    assert (second.change.version - first.version) % STEP == 0


def test_one_that_takes_over_begins_another_term_with_another_tag() -> None:
    world = World(view(fn="max"))
    first, last = written(world, 1, NOW).change, written(world, 2, NOW + 50).change
    begun = written(world, 3, NOW + 100, world.merging()).change
    assert terms(world) == (Term(first.version, last.version), Term(begun.version))
    assert begun.first == begun.version
    assert (begun.version - first.version) % STEP != 0


def test_one_that_does_not_know_whether_its_step_was_taken_begins_another_term() -> None:
    world = World(view(fn="max"))
    first = written(world, 1, NOW).change
    world.write(gauge(2))
    lost = world.step(now=NOW + 50)
    assert lost is not None
    world.merge.unsure()
    again = written(world, 3, NOW + 100).change
    assert terms(world) == (Term(first.version, first.version), Term(again.version))
    assert not knows(terms(world), again.version, lost.change.version)


def test_a_step_without_a_new_version_begins_no_term() -> None:
    world = World(view(fn="max"))
    before = written(world, 1, NOW).change
    other = world.merging()
    step = world.step(closed=T0 + 2_000, now=NOW + 50, merge=other)
    assert step is not None
    assert (step.change.version, step.change.first, step.terms) == (before.version, 0, None)


def test_another_epoch_begins_with_its_first_term() -> None:
    world = World(view(fn="max"))
    written(world, 1, NOW)
    world.merge.begin_anew("another")
    begun = written(world, 1, NOW + 50).change
    assert terms(world) == (Term(begun.version),)
    after = written(world, 2, NOW + 100).change
    assert (after.first, terms(world)) == (begun.version, (Term(begun.version),))


def test_what_was_written_by_a_version_that_keeps_no_terms_is_one_of_which_everything_is_known() -> None:
    world = World(view(fn="max"))
    last = written(world, 1, NOW).change
    assert world.history is not None
    world.history = replace(world.history, terms=())
    begun = written(world, 2, NOW + 50, world.merging()).change
    assert terms(world) == (Term(1, last.version, 1), Term(begun.version))


def test_closed_moves_alone_and_never_goes_back() -> None:
    world = World(view(fn="max"))
    world.write(gauge(1))
    run(world, world.step(closed=T0 + 2_000))
    step = run(world, world.step(closed=T0 + 3_000))
    assert (step.change.closed, step.change.cells, step.change.prev) == (T0 + 3_000, [], step.change.version)
    assert world.step(closed=T0 + 1_000) is None
    world.write(gauge(2))
    assert run(world, world.step(closed=T0)).change.closed == T0 + 3_000


def test_a_view_without_a_single_value_has_no_history() -> None:
    assert World(view(fn="max")).step(closed=T0) is None


def test_buckets_that_left_the_window_go() -> None:
    world = World(view(fn="max"))
    world.write(gauge(1, at=0), gauge(1, at=9_000))
    run(world, world.step())
    later = T0 + 300_000 + KEEP_MS + 1_000
    world.write(gauge(2, at=10_000))
    step = run(world, world.step(now=later))
    assert (list(step.gone), sorted(step.blobs)) == ([T0], [T0 + 10_000])
    assert world.step(now=later) is None


def test_a_bucket_whose_last_part_is_in_the_window_stays() -> None:
    world = World(view(fn="count", every="1h"))
    world.write(gauge(1, at=0))
    run(world, world.step())
    world.write(gauge(1, at=3_500_000))
    step = run(world, world.step(now=T0 + 3_600_000 + 300_000))
    assert (step.gone, step.change.cells) == ([], [Cells(T0, [0], [2.0])])


def test_a_value_that_went_is_said_to_be_none() -> None:
    world = World(RATIO)
    world.write(delta(1, host="a", code="503"), delta(1, host="a", code="200"))
    run(world, world.step())
    world.write(delta(-2, host="a", code="200"))
    assert run(world, world.step()).change.cells == [Cells(T0, [0], [None])]


# Going on from a history


def test_a_merge_that_took_over_a_history_changes_nothing_that_is_right() -> None:
    world = World(view(fn="max", by=["host"]), PARTITIONS)
    world.write(*(gauge(i, at=1_000 * (i % 3), host=f"h{i}") for i in range(8)))
    run(world, world.step(closed=T0 + 1_000))
    world.merge = world.merging([store.mirror(world.view) for store in world.stores], epoch="e2")
    assert world.step(closed=T0 + 1_000) is None
    world.write(gauge(100, host="h3"), gauge(1, host="new"))
    world.merge = world.merging(epoch="e2")
    step = run(world, world.step())
    assert step.change.epoch == "e1"
    assert [group.labels for group in step.change.groups] == [{"host": "new"}]
    assert sum(len(item.groups) for item in step.change.cells) == 2


def test_a_history_that_was_lost_begins_another_epoch() -> None:
    world = World(view(fn="max"))
    world.write(gauge(1))
    run(world, world.step())
    world.history = None
    world.merge = world.merging(epoch="e2")
    step = run(world, world.step())
    assert (step.held, step.change.epoch, step.change.prev) == (("", 0), "e2", 0)


def test_a_step_that_was_refused_leaves_the_merge_as_it_was() -> None:
    world = World(view(fn="max"))
    world.write(gauge(1))
    assert world.step() is not None  # refused: nobody said that it was accepted
    step = world.step()
    assert step is not None
    assert (step.held, step.change.cells) == (("", 0), [Cells(T0, [0], [1.0])])


# How new the samples are


def test_a_change_says_how_new_the_newest_sample_is_of_all_partitions() -> None:
    world = World(view(fn="p50", by=["host"]), PARTITIONS)
    world.write(*(gauge(1, at=at, host=f"h{at}") for at in range(100, 2_000, 100)))
    assert run(world, world.step()).change.sampled == T0 + 1_900
    world.write(gauge(2, at=1_700, host="h900"))
    assert run(world, world.step()).change.sampled == T0 + 1_900, "what comes later may be older"


def test_it_never_goes_back_where_another_merge_takes_over() -> None:
    world = World(view(fn="max", by=["host"]))
    world.write(gauge(1, at=2_000, host="a"))
    run(world, world.step())
    again = World(world.view)  # the log began anew
    again.history = world.history
    again.merge = again.merging(epoch="e2")
    again.write(gauge(1, at=1_000, host="b"))
    assert run(again, again.step()).change.sampled == T0 + 2_000


def test_nobody_says_it_while_an_older_version_folds_what_may_be_newer() -> None:
    world = World(view(fn="max", by=["host"]))
    world.write(gauge(1, at=2_000, host="a"))
    run(world, world.step())
    world.write(gauge(1, at=4_000, host="a"))
    world.mirrors[0].sampled = None
    assert run(world, world.step()).change.sampled == 0
    world.mirrors[0].sampled = {world.view.inputs[0].selection.id: T0 + 1_000}
    world.write(gauge(3, at=1_000, host="a"))
    assert run(world, world.step()).change.sampled == T0 + 2_000


def test_an_expression_is_as_new_as_the_newest_sample_of_its_queries() -> None:
    world = World(RATIO)
    world.write(delta(1, at=300, host="a", code="503"), delta(3, at=100, host="a", code="200"))
    world.write(delta(1, at=700, host="nobody", code="200", metric="asks"))
    assert run(world, world.step()).change.sampled == T0 + 300


# Expressions


@pytest.mark.parametrize(
    ("samples_", "expected"),
    [
        ([delta(1, host="a", code="503"), delta(3, host="a", code="200")], 0.25),
        ([delta(3, host="a", code="200")], None),  # one of the queries has nothing
        ([delta(1, host="a", code="503"), delta(-1, host="a", code="200")], None),  # division by zero
    ],
)
def test_an_expression_has_a_value_where_all_its_queries_have_one(samples_: list[Sample], expected: float | None) -> None:
    world = World(RATIO)
    world.write(*samples_)
    if (step := world.step()) is not None:
        world.commit(step)
    assert world.table() == ({} if expected is None else {((("host", "a"),), T0): expected})


def test_groups_of_queries_meet_by_their_labels() -> None:
    world = World(RATIO)
    world.write(delta(4, host="b", code="200"), delta(1, host="a", code="503"))
    world.write(delta(1, host="b", code="503"), delta(1, host="a", code="200"))
    world.commit(world.step())
    assert world.table() == {((("host", "a"),), T0): 0.5, ((("host", "b"),), T0): 0.2}


def test_a_group_is_told_with_its_first_cell_and_not_where_only_time_moves() -> None:
    """Who has a version passes over what another message of the same version tells."""
    world = World(RATIO)
    world.write(delta(4, host="b", code="200"), delta(1, host="b", code="503"))
    run(world, world.step())
    world.write(delta(4, host="a", code="200"))
    passing = run(world, world.step(closed=T0))
    assert (passing.change.version, passing.change.groups) == (passing.change.prev, [])
    world.write(delta(1, host="a", code="503"))
    assert run(world, world.step()).change.groups == [NewGroup(1, {"host": "a"})]


# What functions mean over several partitions


def test_a_sum_of_gauges_counts_each_series_once_by_its_last_value() -> None:
    world = World(view(fn="sum", by=["host"]), PARTITIONS)
    world.write(gauge(1, host="a", core="0"), gauge(9, host="a", core="0"), gauge(2, host="a", core="1"))
    world.commit(world.step())
    assert world.table() == {((("host", "a"),), T0): 11}


def test_the_last_value_is_the_newest_over_all_partitions() -> None:
    world = World(view(fn="last"), PARTITIONS)
    world.write(*(gauge(i, at=(i * 7) % 10, host=f"h{i}") for i in range(10)))
    world.commit(world.step())
    assert world.table() == {((), T0): 7}


def test_a_counter_that_is_a_gauge_elsewhere_counts_where_it_is_one() -> None:
    world = World(view("bytes", fn="increase"))
    world.write(counter(1, at=0), gauge(50, metric="bytes"), counter(3, at=500))
    world.commit(world.step())
    assert world.table() == {((), T0): 2}


# Notes


def test_notes_are_committed_when_they_change_and_at_most_once_a_second() -> None:
    world = World(view(fn="max"))
    world.write(gauge(1))
    run(world, world.step())
    first = world.merge.step([], 0, NOW, 0, {}, Notes(late=1))
    assert first is not None
    assert (first.change.notes, first.change.cells, first.change.prev) == (Notes(at=NOW, late=1), [], first.change.version)
    run(world, first)
    assert world.merge.step([], 0, NOW + 999, 0, {}, Notes(late=2)) is None
    second = run(world, world.merge.step([], 0, NOW + 1_000, 0, {}, Notes(late=2)))
    assert second.change.notes == Notes(at=NOW + 1_000, late=2)
    assert world.merge.step([], 0, NOW + 5_000, 0, {}, Notes(late=2)) is None
    gone = run(world, world.merge.step([], 0, NOW + 9_000, 0, {}))
    assert gone.change.notes == Notes(at=NOW + 9_000)


def test_notes_begin_a_history_where_there_is_no_value_since_that_may_be_why() -> None:
    world = World(view("bytes", fn="increase"))
    world.write(counter(1, host="a"), counter(1, host="b"))
    assert run(world, world.merge.step([T0], 0, NOW, 0, {}, Notes(left_out=7))).change.notes == Notes(at=NOW, left_out=7)
    assert world.table() == {}
    world.write(counter(5, at=500, host="a"))
    run(world, world.step())
    assert world.table() == {((), T0): 4}
    assert world.merge.notes == Notes(at=NOW, left_out=7)


def test_a_merge_that_takes_over_knows_the_notes() -> None:
    world = World(view(fn="max"))
    world.write(gauge(1))
    run(world, world.merge.step([T0], 0, NOW, 0, {}, Notes(late=1)))
    world.merge = world.merging()
    assert world.merge.step([], 0, NOW + 9_000, 0, {}, Notes(late=1)) is None


def test_what_is_noted_of_a_view_is_over_all_partitions_and_inputs() -> None:
    first, second = (item.selection.id for item in RATIO.inputs)
    seen = [Census(), Census()]
    for number in range(8):
        seen[number % 2].see(b"%d" % number)
        seen[0].see(b"%d" % number)
    partitions = [
        {first: SelectionNotes(late=2, late_at=7, since=50, census=seen[0].held()), "other": SelectionNotes(late=99)},
        {
            first: SelectionNotes(since=40, census=seen[1].held()),
            second: SelectionNotes(late=1, late_at=9, left_out=seen[1].held()),
        },
        {},
    ]
    assert view_notes(RATIO, partitions) == Notes(late=3, late_at=9, pooled=8, since=40, limit=666, left_out=4)
    assert view_notes(RATIO, []) == Notes()
    here = Census()
    here.see(b"pooled by the merge")
    assert view_notes(RATIO, [], [(here.held(), 2), (b"", 1)]) == Notes(pooled=1, limit=666, partial=2)


def test_a_coarser_resolution_lacks_what_it_is_made_of_lacks_and_is_closed_when_it_is_stored() -> None:
    base = view(fn="max")
    selection = msgspec.structs.replace(base.inputs[0].selection, every_ms=60_000, rolled_from_ms=(1_000,))
    coarse = msgspec.structs.replace(base, inputs=(msgspec.structs.replace(base.inputs[0], selection=selection),))
    assert view_notes(coarse, [{base.inputs[0].selection.id: SelectionNotes(late=3, late_at=7)}]) == Notes(late=3, late_at=7)
    merges = [ViewMerge(item, 300_000, [], None, "e1") for item in (base, coarse)]
    assert [merge.behind_ms for merge in merges] == [0, 6_000 + ROLLED_MS]


def test_what_only_the_merge_pools_is_noted_since_it_first_did() -> None:
    world = World(view(fn="max"))
    world.write(gauge(1))
    step = run(world, world.merge.step([T0], 0, NOW, 0, {}, Notes(pooled=1, limit=2)))
    assert step.change.notes == Notes(at=NOW, pooled=1, limit=2, since=NOW)
    again = run(world, world.merge.step([], 0, NOW + 5_000, 0, {}, Notes(pooled=2, limit=2)))
    assert again.change.notes == Notes(at=NOW + 5_000, pooled=2, limit=2, since=NOW)
