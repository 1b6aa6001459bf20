"""Limits of cardinality in a fold: what is past them is pooled, and where that begins and ends, the records alone say."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator.asked import SLACK_MS
from services.aggregator.census import Census
from services.aggregator.fold import FOLLOWED_MS, Fold
from services.contract import limits
from services.contract.dashboards import parse
from services.contract.limits import OVERFLOW
from services.contract.partials import Config
from services.contract.views import View, retentions
from tests.unit.aggregator.logs import (
    DELTA,
    GAUGE,
    T0,
    Record,
    Sample,
    Store,
    cells,
    config,
    counter,
    document,
    folded,
    gauge,
    records,
    view,
    write,
)

MINUTE = 60_000
LIMIT = 3
POOL = tuple(OVERFLOW.items())


def limited(fn: str, limit: int = LIMIT, metric: str = "load", **query: object) -> View:
    asked = {"metric": metric, "fn": fn, "by": ["host"], **query}
    return next(iter(retentions(parse(document([{"id": "p", "type": "stat", "maxGroups": limit, "query": asked}])))))


COUNT, SUM, INCREASE = limited("count"), limited("sum", each="pool"), limited("increase")
TOTAL_COUNT, TOTAL_SUM, TOTAL_INCREASE = view(fn="count"), view(fn="sum", each="pool"), view(fn="increase")
ALL = [COUNT, SUM, INCREASE, TOTAL_COUNT, TOTAL_SUM, TOTAL_INCREASE]
RETENTION = 2 * MINUTE

batches = st.lists(
    st.tuples(
        st.integers(0, 5 * MINUTE),
        st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 4 * MINUTE), st.integers(-50, 50), st.sampled_from([GAUGE, DELTA])),
            min_size=1,
            max_size=6,
        ),
    ),
    min_size=1,
    max_size=12,
)


def log_of(written: Sequence[tuple[int, Sequence[tuple[int, int, int, int]]]]) -> list[Record]:
    """(ms since the record before, (host, ms before the record, value, kind) of each sample) of each record."""
    found, now = [], 0
    for sequence, (pause, samples) in enumerate(written):
        now += pause
        rows: list[Sample] = [("load", {"host": f"h{h}"}, now - ago, float(value), kind) for h, ago, value, kind in samples]
        found.append(write(rows, sequence, now))
    return records(*found)


# Overflow


@settings(max_examples=60, deadline=None)
@given(batches, st.data())
def test_what_is_pooled_does_not_depend_on_how_the_log_is_cut_or_where_a_fold_stopped(
    written: list[tuple[int, list[tuple[int, int, int, int]]]], data: st.DataObject
) -> None:
    log = log_of(written)
    asked = config(*ALL, retention_ms=RETENTION)
    fold, store = Fold(asked, 0), Store()
    while fold.offset < len(log):
        fold.apply(log[fold.offset : fold.offset + data.draw(st.integers(1, 4))])
        if data.draw(st.booleans()):
            store.commit(fold)
        if data.draw(st.booleans()) and store.stored.offset >= 0:
            fold = store.load()
    store.commit(fold)
    assert store.stored == folded(asked, log).stored


@settings(max_examples=60, deadline=None)
@given(batches)
def test_sums_and_counts_over_all_groups_are_those_without_groups(
    written: list[tuple[int, list[tuple[int, int, int, int]]]],
) -> None:
    store = folded(config(*ALL, retention_ms=RETENTION), log_of(written))
    for apart, total in ((COUNT, TOTAL_COUNT), (SUM, TOTAL_SUM), (INCREASE, TOTAL_INCREASE)):
        sums: dict[int, float] = {}
        for (_, bucket), value in cells(apart, [store.mirror(apart)]).items():
            sums[bucket] = sums.get(bucket, 0.0) + value
        assert sums == {bucket: value for (_, bucket), value in cells(total, [store.mirror(total)]).items()}


def test_the_first_groups_are_kept_apart_and_the_rest_is_pooled() -> None:
    store = folded(config(COUNT), records(write([gauge(1, host=f"h{i}") for i in (5, 1, 9, 1, 7, 3, 7)])))
    found = cells(COUNT, [store.mirror(COUNT)])
    assert found == {
        ((("host", "h5"),), T0): 1, ((("host", "h1"),), T0): 2, ((("host", "h9"),), T0): 1, (POOL, T0): 3,
    }  # fmt: skip
    (notes,) = store.stored.state.notes.values()
    assert (notes.since, Census(notes.census).count()) == (T0 + MINUTE, 2)


def test_a_selection_that_is_not_crowded_has_nothing_to_note() -> None:
    store = folded(config(COUNT), records(write([gauge(1, host=f"h{i}") for i in range(LIMIT)])))
    assert store.stored.state.notes == {}


def test_groups_that_have_no_cell_any_more_make_way_when_the_clock_enters_another_minute() -> None:
    fold, store = Fold(config(COUNT, retention_ms=MINUTE), 0), Store()
    crowd = write([gauge(1, host=f"h{i}") for i in range(6)], 0, 0)
    later = 5 * MINUTE
    edge = write([gauge(1, at=later, host="h0")], 1, later)
    again = write([gauge(1, at=later + 1, host=host) for host in ("h4", "h5")], 2, later + 1)
    for record in records(crowd, edge, again):
        fold.apply([record])
        store.commit(fold)
    bucket = T0 + later
    assert cells(COUNT, [store.mirror(COUNT)]) == {((("host", host),), bucket): 1 for host in ("h0", "h4", "h5")}
    assert store.stored.state.notes == {}
    (told,) = (entry.header.notes for entry in store.log[1:2])
    assert [notes.since for notes in told.values()] == [0]


def test_single_series_are_pooled_by_kind_past_the_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SERIES", 2)
    wanted = view(fn="sum", by=["host"])
    rows: list[Sample] = [("load", {"host": "a", "core": str(i)}, 0, float(i), i % 2 * DELTA) for i in range(6)]
    store = folded(config(wanted), records(write(rows)))
    (keys,) = store.stored.keys.values()
    assert [key[:1] for key in keys] == [b"\x00", b"\x02", b"\x00", b"\x02"]
    assert keys[2][1:] == keys[3][1:] == limits.OVERFLOW_KEY


@pytest.mark.parametrize(
    ("kept", "every", "series"), [(1_000, 1_000, 100_000), (420_000, 1_000, 9_523), (DAY := 86_400_000, 50, 2)]
)
def test_the_more_buckets_series_have_the_fewer_there_may_be(kept: int, every: int, series: int) -> None:
    assert limits.series(kept, every) == series


# Counters


def test_a_counter_that_ended_is_forgotten_an_hour_after_its_cells_were() -> None:
    wanted = view("bytes", fn="increase", every="1s")
    fold = Fold(config(wanted, retention_ms=MINUTE), 0)
    gone = MINUTE + FOLLOWED_MS + 1
    fold.apply(
        records(
            write([counter(5, host="a"), counter(5, host="b")], 0, 0), write([counter(6, at=gone, host="b")], 1, gone),
            write([counter(7, at=gone + MINUTE, host="b")], 2, gone + MINUTE),
        )
    )  # fmt: skip
    assert [last["value"] for last in fold.counters.last().values()] == [7]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, FOLLOWED_MS), st.integers(0, 5)), min_size=1, max_size=20), st.data())
def test_forgetting_counters_does_not_depend_on_when_commits_are(moves: list[tuple[int, int]], data: st.DataObject) -> None:
    asked = config(view("bytes", fn="increase", every="1h", window="1h"), retention_ms=MINUTE)
    now, written = 0, []
    for sequence, (pause, host) in enumerate(moves):
        now += pause
        written.append(write([counter(sequence, at=now, host=f"h{host}")], sequence, now))
    log = records(*written)
    fold, store = Fold(asked, 0), Store()
    for record in log:
        fold.apply([record])
        if data.draw(st.booleans()):
            store.commit(fold)
        if data.draw(st.booleans()) and store.stored.offset >= 0:
            fold = store.load()
            fold.apply(log[fold.offset : record.offset + 1])
    store.commit(fold)
    assert store.stored == folded(asked, log).stored


def test_counters_that_are_too_many_to_follow_are_said_to_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COUNTERS", 2)
    wanted = view("bytes", fn="increase", every="1s")
    rows = [counter(float(at), at=at, host=f"h{i}") for at in (0, 1_000) for i in range(5)]
    store = folded(config(wanted), records(write(rows)))
    assert cells(wanted, [store.mirror(wanted)]) == {((), T0): 2_000}
    (notes,) = store.stored.state.notes.values()
    assert Census(notes.left_out).count() == 3


# Late samples


def test_late_samples_are_counted_by_reason_and_noted_by_selection() -> None:
    short, long = view(fn="count", every="1s"), view(fn="count", every="2s")
    asked = config(short, long)
    asked.retentions[short.inputs[0].selection.id] = MINUTE
    asked.retentions[long.inputs[0].selection.id] = 3 * MINUTE
    now = 10 * MINUTE
    rows = [gauge(1, at=at) for at in (0, now - 2 * MINUTE, now - 2 * MINUTE, now)]
    fold, store = Fold(asked, 0), Store()
    fold.apply(records(write([*rows, gauge(1, at=0, metric="nobody.asks")], ingest=now)))
    store.commit(fold)
    assert fold.late_samples == {"samples": {"expired": 1, "expired_for_some": 2}}
    assert store.stored.state.late == fold.late_samples
    assert {name: notes.late for name, notes in store.stored.state.notes.items()} == {
        short.inputs[0].selection.id: 3, long.inputs[0].selection.id: 1,
    }  # fmt: skip
    assert [(late.offset, late.reason, late.batch.times.tolist()) for late in fold.late] == [
        (0, "expired", [T0]), (0, "expired_for_some", [T0 + now - 2 * MINUTE] * 2),
    ]  # fmt: skip
    assert fold.late[0].batch.keys == [b"load\xff"]


def test_a_gauge_of_which_a_rate_is_asked_is_not_late_but_no_counter() -> None:
    fold = Fold(config(view(fn="increase"), retention_ms=MINUTE), 0)
    fold.apply(records(write([gauge(1, at=-DAY)])))
    assert fold.late_samples == {}


def test_of_an_ingestor_whose_clock_is_behind_what_was_dropped_is_late() -> None:
    """Else it would depend on when old cells were dropped whether they come back."""
    wanted = view(fn="count", every="1s")
    fold, store = Fold(config(wanted, retention_ms=MINUTE), 0), Store()
    now = 10 * MINUTE
    behind = now - SLACK_MS - 5_000
    at = behind - MINUTE + 2_000
    fold.apply(records(write([gauge(1, at=now)], 0, now), write([gauge(1, at=at), gauge(1, at=at + 10_000)], 0, behind, 8)))
    store.commit(fold)
    assert cells(wanted, [store.mirror(wanted)]) == {((), T0 + now): 1, ((), T0 + at + 10_000): 1}
    assert fold.tally.late == 1


def test_late_samples_that_nobody_takes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.aggregator.fold.MAX_LATE_SAMPLES", 3)
    fold = Fold(config(view(fn="count"), retention_ms=MINUTE), 0)
    fold.apply(records(*(write([gauge(1, at=-DAY)] * 2, i) for i in range(3))))
    assert (sum(len(late.batch.series) for late in fold.late), fold.tally.late_lost, fold.tally.late) == (2, 4, 6)


# The census


@settings(max_examples=40, deadline=None)
@given(st.sets(st.binary(max_size=6), max_size=300), st.data())
def test_a_census_counts_different_keys_about_right_however_often_and_in_which_parts_they_are_seen(
    keys: set[bytes], data: st.DataObject
) -> None:
    first, second = Census(), Census()
    for key in sorted(keys):
        for census in data.draw(st.sampled_from([(first,), (second,), (first, second), (first, first)])):
            census.see(key)
    joined = first.with_(second.held()).count()
    assert abs(joined - len(keys)) <= 5 + 0.2 * len(keys)
    assert Census(first.held()).held() == first.held()


def test_a_census_of_many_is_within_a_seventh() -> None:
    census = Census()
    for number in range(50_000):
        census.see(b"%d" % number)
    assert abs(census.count() - 50_000) < 50_000 / 7


# Coarser resolutions

LEVELLED = limited("count", 1)


@settings(max_examples=60, deadline=None)
@given(batches, st.data())
def test_what_coarser_resolutions_pool_does_not_depend_on_when_they_were_computed(
    written: list[tuple[int, list[tuple[int, int, int, int]]]], data: st.DataObject
) -> None:
    (base,) = LEVELLED.inputs
    coarse = msgspec.structs.replace(base.selection, every_ms=10_000, rolled_from_ms=(1_000,))
    asked = Config(
        {item.id: item for item in (base.selection, coarse)}, {base.selection.id: RETENTION, coarse.id: 3 * RETENTION}
    )
    log = log_of(written)
    fold, store = Fold(asked, 0), Store()
    now = 0
    while fold.offset < len(log):
        fold.apply(log[fold.offset : fold.offset + data.draw(st.integers(1, 4))])
        if data.draw(st.booleans()):
            now += data.draw(st.sampled_from([0, 500, 20_000]))
            store.commit(fold, now)
        if data.draw(st.booleans()) and store.stored.offset >= 0:
            fold = store.load()
    store.commit(fold)
    expected = folded(asked, log).stored
    assert store.stored == expected
    kept = [key for key in expected.keys.get(coarse.id, []) if key != limits.OVERFLOW_KEY]
    assert len(kept) <= limits.ROLLED_GROUPS
    assert limits.ROLLED_GROUPS < 10, "the story has so many groups"
