"""Mirrors: following the fold of a partition by its log entries."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator.combine import Combined, values_of
from services.aggregator.fold import Fold
from services.aggregator.mirror import Mirror
from services.aggregator.wanted import missing
from services.contract.partials import Config, Entry
from services.contract.views import View
from tests.unit.aggregator.logs import (
    T0,
    Record,
    Store,
    cells,
    config,
    counter,
    gauge,
    records,
    table,
    view,
    views,
    write,
)

HOSTS = view(fn="max", by=["host"], every="1s")
VIEWS = views(
    {"metric": "load", "by": ["host"], "fn": ["max", "p50", "sum"]}, {"metric": "bytes", "by": ["host"], "fn": "increase"}
)


def committed(log: Sequence[Record], settings_: Config, every: int = 1) -> Store:
    """A store into which a fold has committed after each so many records."""
    fold, store = Fold(settings_, 0), Store()
    store.commit(fold)
    for at in range(0, len(log), every):
        fold.apply(log[at : at + every])
        store.commit(fold)
    return store


def hosts(*names: str) -> list[Record]:
    return records(*(write([gauge(float(i + 1), host=name)], i) for i, name in enumerate(names)))


samples = st.builds(
    lambda metric, value, at, host: metric(value, at=at, host=host),
    st.sampled_from([gauge, counter, lambda value, **rest: gauge(value, metric="load", **rest)]),
    st.integers(0, 100).map(float),
    st.integers(0, 3_000),
    st.sampled_from("abcdefgh"),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(samples, min_size=1, max_size=5), min_size=1, max_size=8), st.data())
def test_a_mirror_that_follows_holds_what_one_that_reads_everything_holds(
    written: list[list[object]], data: st.DataObject
) -> None:
    log = records(*(write(batch, i) for i, batch in enumerate(written)))  # type: ignore[arg-type]
    begin = data.draw(st.integers(0, len(log)))
    fold, store = Fold(config(*VIEWS), 0), Store()
    fold.apply(log[:begin])
    store.commit(fold)
    mirror = store.mirror(*VIEWS)
    for record in log[begin:]:
        fold.apply([record])
        store.commit(fold)
        assert mirror.apply(store.log[-1]) == "applied"
    for wanted in VIEWS:
        assert cells(wanted, [mirror]) == cells(wanted, [store.mirror(wanted)])
    read = store.mirror(*VIEWS)
    assert (mirror.position, mirror.clock, mirror.max_time) == (read.position, read.clock, read.max_time)
    assert mirror.sampled == read.sampled


class Changing:
    """A fold whose selections change, and two mirrors of it: of its own process, and of another, which reads a stream without what began anew."""

    def __init__(self) -> None:
        self.store, self.log, self.wanted = Store(named=True), list[Record](), VIEWS[:1]
        self.fold = Fold(config(*self.wanted), 0)
        self.store.commit(self.fold)
        self.own, self.other = self.store.mirror(*self.wanted), self.store.mirror(*self.wanted)
        self.unread = 0  # times that the other had to read everything

    def write(self, *samples: object) -> None:
        self.log += records(write(samples, len(self.log)), first=len(self.log))  # type: ignore[arg-type]
        self.fold.apply(self.log[self.fold.offset :])

    def change(self, *wanted: View) -> None:
        """Other selections from now on: those that are new are folded from the beginning."""
        new = config(*wanted)
        part = Fold(missing(self.fold.config, new), 0)
        part.apply(self.log)
        part.sweep()
        part.pass_over(self.fold.offset)
        self.fold.join(part, new)
        self.wanted = list(wanted)

    def commit(self) -> None:
        self.store.commit(self.fold)
        entry = self.store.log[-1]
        assert self.own.apply(entry) == "applied"
        pages = [item for item in entry.pages if item[0].selection not in entry.header.reset]
        assert self.other.apply(Entry(entry.header, pages)) == "applied"

    def ask(self) -> None:
        """Both mirrors are to hold what is wanted."""
        for mirror in (self.own, self.other):
            mirror.follow(config(*self.wanted).selections)

    def read(self) -> None:
        """What they lack."""
        for mirror in (self.own, self.other):
            while mirror.lacking or mirror.untold:
                held, names = self.store.stored, mirror.asks_for()
                assert mirror.extend(replace(held, pages={name: held.pages.get(name, {}) for name in names}), names)


steps = st.one_of(
    st.lists(samples, min_size=1, max_size=5),
    st.sets(st.sampled_from(range(len(VIEWS))), min_size=1),
    st.sampled_from(["ask", "read"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=12))
def test_a_mirror_goes_on_through_changes_of_what_is_folded_and_of_what_is_merged(taken: list[object]) -> None:
    world = Changing()
    for step in taken:
        match step:
            case list():
                world.write(*step)
                world.commit()
            case set():
                world.change(*(VIEWS[place] for place in sorted(step)))
                world.commit()
            case "ask":
                world.ask()
            case "read":
                world.read()
    world.ask()
    world.read()
    read = world.store.mirror(*world.wanted)
    for mirror in (world.own, world.other):
        assert (mirror.available, mirror.retentions, mirror.lacking) == (read.available, read.retentions, frozenset())
        assert (mirror.position, mirror.clock, mirror.notes) == (read.position, read.clock, read.notes)
        for wanted in world.wanted:
            assert cells(wanted, [mirror]) == cells(wanted, [read])


def test_what_was_there_before_does_not_change_when_other_selections_join() -> None:
    world = Changing()
    world.write(gauge(1.0, host="a"), counter(5.0, host="a"))
    world.commit()
    for mirror in (world.own, world.other):
        mirror.dirty.clear()
    world.change(*VIEWS)
    world.ask()
    world.commit()
    world.read()
    held = VIEWS[0].inputs[0].selection.id
    for mirror in (world.own, world.other):
        assert mirror.dirty and held not in {name for name, _ in mirror.dirty}


def test_what_is_stored_elsewhere_than_a_mirror_stands_does_not_extend_it() -> None:
    world = Changing()
    world.change(*VIEWS)
    world.ask()
    world.commit()
    world.write(gauge(1.0, host="a"))
    world.store.commit(world.fold)
    assert world.other.untold
    assert not world.other.extend(world.store.stored, world.other.asks_for())


def test_an_entry_under_other_selections_that_does_not_join_on_is_a_gap() -> None:
    world = Changing()
    world.write(gauge(1.0, host="a"))
    world.store.commit(world.fold)  # this entry is missing
    world.change(*VIEWS)
    world.store.commit(world.fold)
    assert world.own.apply(world.store.log[-1]) == "gap"


def test_two_commits_at_one_offset_are_told_apart_by_their_names() -> None:
    store = committed(hosts("a", "b"), config(HOSTS))
    mirror, header = store.mirror(HOSTS), store.log[-1].header

    def again(after: str, stamp: str) -> Entry:
        same = msgspec.structs.replace(header, from_=header.to, keys=[], after=after, stamp=stamp)
        return Entry(same, ())

    assert mirror.apply(again("", "one")) == "applied"
    assert mirror.apply(again("", "one")) == "old"
    assert mirror.apply(again("two", "three")) == "gap"
    assert mirror.apply(again("one", "two")) == "applied"


def test_an_entry_that_is_known_already_is_old() -> None:
    store = committed(hosts("a", "b"), config(HOSTS))
    mirror = store.mirror(HOSTS)
    before = cells(HOSTS, [mirror])
    assert [mirror.apply(entry) for entry in store.log[1:]] == ["old", "old"]
    assert cells(HOSTS, [mirror]) == before


def test_an_entry_after_one_that_is_missing_is_a_gap() -> None:
    store = committed(hosts("a", "b", "c"), config(HOSTS))
    mirror = Mirror(config(HOSTS).selections)
    mirror.load(committed(hosts("a"), config(HOSTS)).stored)
    assert mirror.apply(store.log[3]) == "gap"
    assert mirror.apply(store.log[2]) == "applied"
    assert mirror.apply(store.log[3]) == "applied"


def _header(entry: Entry, **changed: object) -> Entry:
    return Entry(msgspec.structs.replace(entry.header, **changed), entry.pages)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "another"},  # it computes something else
        {"whole": True},  # it began anew
        {"from_": 0},  # it was loaded from further back and folded on from there
        {"from_": 9, "to": 4},  # its log was cut
    ],
)
def test_what_cannot_be_followed_is_a_gap(changed: dict[str, object]) -> None:
    store = committed(hosts("a", "b"), config(HOSTS))
    mirror = Mirror(config(HOSTS).selections)
    mirror.load(committed(hosts("a"), config(HOSTS)).stored)
    assert mirror.apply(_header(store.log[2], **changed)) == "gap"
    assert mirror.apply(store.log[2]) == "applied"


def test_groups_that_were_numbered_anew_are_a_gap() -> None:
    store = committed(hosts("a", "b"), config(HOSTS))
    mirror = Mirror(config(HOSTS).selections)
    mirror.load(committed(hosts("a"), config(HOSTS)).stored)
    (new,) = store.log[2].header.keys
    assert mirror.apply(_header(store.log[2], keys=[msgspec.structs.replace(new, first=0)])) == "gap"


def test_how_new_the_samples_are_is_known_as_long_as_every_partition_that_may_have_newer_ones_says_so() -> None:
    name, selection = HOSTS.inputs[0].selection.id, HOSTS.inputs[0].selection
    log = records(write([gauge(1, at=1_000, host="a")], 0), write([gauge(2, at=3_000, host="a")], 1))
    store = committed(log[:1], config(HOSTS))
    mine, other = store.mirror(HOSTS), Mirror(config(HOSTS).selections)
    both = Combined(name, selection, [other, mine])
    assert both.sampled() == T0 + 1_000, "nothing lies of the other one"
    other.load(committed(records(write([gauge(1, at=2_000, metric="cpu")], 0)), config(HOSTS)).stored)
    assert (other.sampled, both.sampled()) == ({}, T0 + 1_000), "it has none that are asked for"
    for mirror in (other, mine):
        mirror.sampled = None  # a version that does not say so folds it
        assert both.sampled() is None, "it has samples that are newer, whatever they are of"
        mine.load(committed(log, config(HOSTS)).stored)
        assert both.sampled() == T0 + 3_000, "none there can be newer"


def test_an_entry_of_a_version_that_does_not_say_how_new_samples_are_ends_what_was_known() -> None:
    store = committed(hosts("a", "b", "c"), config(HOSTS))
    mirror = Mirror(config(HOSTS).selections)
    mirror.load(committed(hosts("a"), config(HOSTS)).stored)
    known = [mirror.sampled]
    for entry in (_header(store.log[2], sampled=None), store.log[3]):
        assert mirror.apply(entry) == "applied"
        known.append(mirror.sampled)
    assert known == [{HOSTS.inputs[0].selection.id: T0}, None, {}], "the last one says what is new since the one before"


def test_what_changed_is_said_by_selection_and_bucket() -> None:
    store = committed(hosts("a", "b"), config(HOSTS))
    mirror = store.mirror(HOSTS)
    mirror.dirty.clear()
    fold = store.load()
    fold.apply(records(write([gauge(1, at=5_000, host="b")], 9), first=2))
    store.commit(fold)
    mirror.apply(store.log[-1])
    assert mirror.dirty == {(HOSTS.inputs[0].selection.id, T0 + 5_000)}


def test_a_mirror_that_is_read_again_holds_nothing_else_and_says_what_went() -> None:
    name = HOSTS.inputs[0].selection.id
    mirror = committed(hosts("a", "b"), config(HOSTS)).mirror(HOSTS)
    mirror.dirty.clear()
    again = committed(records(write([gauge(7, at=9_000, host="c")])), config(HOSTS))
    mirror.load(again.stored)
    assert cells(HOSTS, [mirror]) == {((("host", "c"),), T0 + 9_000): 7}
    assert mirror.dirty == {(name, T0), (name, T0 + 9_000)}


def test_groups_keep_their_values_when_their_fold_numbers_them_otherwise() -> None:
    """A selection that is kept longer is folded again from further back, where another group may come first."""
    item = HOSTS.inputs[0]
    mirror = committed(hosts("b", "a"), config(HOSTS)).mirror(HOSTS)
    values = values_of(item, {item.selection.id: Combined(item.selection.id, item.selection, [mirror])})
    before = table(values)
    mirror.load(committed(records(write([gauge(2, host="a"), gauge(1, host="b")])), config(HOSTS)).stored)
    assert table(values) == before == {((("host", "b"),), T0): 1, ((("host", "a"),), T0): 2}


def test_selections_that_the_fold_does_not_compute_yet_are_not_available() -> None:
    other = view(fn="p99")
    mirror = committed(hosts("a"), config(HOSTS)).mirror(HOSTS, other)
    assert mirror.available == {HOSTS.inputs[0].selection.id}
    assert cells(other, [mirror]) == {}


def test_old_buckets_are_forgotten_by_selection() -> None:
    name = HOSTS.inputs[0].selection.id
    mirror = committed(records(write([gauge(1, at=0), gauge(1, at=5_000)])), config(HOSTS)).mirror(HOSTS)
    mirror.forget({name: T0 + 5_000, "unknown": T0 + 9_000})
    assert set(mirror.buckets(name)) == {T0 + 5_000}
