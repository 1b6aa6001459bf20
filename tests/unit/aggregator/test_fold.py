"""The fold: records of one partition in, absolute partial cells out."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator import serieslist
from services.aggregator.asked import SLACK_MS
from services.aggregator.fold import INSTANCE_MS, Fold
from services.contract.partials import COUNTER, COUNTERS, Config
from services.contract.views import View
from tests import batch_job
from tests.unit.aggregator.logs import (
    DAY,
    T0,
    Record,
    Sample,
    Store,
    cells,
    config,
    counter,
    delta,
    folded,
    gauge,
    records,
    view,
    views,
    write,
)

PLAIN = ["avg", "sum", "min", "max", "count", "last", "first", "stddev"]
VIEWS = views(
    {"metric": "load", "by": ["host"], "fn": [*PLAIN, "delta", "distinct", "p50", "p99", "p99.9"], "every": "1s"},
    {"metric": "load", "fn": PLAIN, "each": "last", "every": "2s"},
    *(
        {"metric": "load", "by": ["core"], "fn": ["max", "sum"], "each": each, "every": "10s"}
        for each in ("first", "avg", "sum", "count", "delta")
    ),
    {"metric": "load", "by": ["core"], "of": "host", "fn": ["distinct", "topk(1)", "topk(2)"], "every": "1s"},
    {"metric": "bytes", "of": "host", "fn": "topk(2)", "every": "1m"},
    {"metric": "load", "by": ["host"], "fn": [*PLAIN, "delta", "distinct", "p50"], "every": "500ms", "over": "2s"},
    {"metric": "load", "fn": ["sum", "count"], "each": "last", "every": "1s", "over": "5s"},
    {"metric": "load", "of": "host", "fn": "topk(1)", "every": "1s", "over": "4s"},
    {"metric": "bytes", "by": ["host"], "fn": ["rate", "increase"], "every": "10s", "over": "1m"},
    {"metric": "load", "fn": "count", "where": {"host": {"!=": ["a", "b"]}, "core": "!~ 1"}},
    {"metric": "load", "fn": "count", "where": {"host": "!= a"}},
    {"metric": "load", "fn": "avg", "every": "500ms", "where": {"host": ["a", "b"]}},
    {"metric": "bytes", "by": ["host"], "fn": ["rate", "increase", "sum", "count"], "every": "1m"},
    {"metric": "bytes", "fn": "increase", "every": "1s", "where": {"host": "=~ [ab]"}},
)

samples = st.tuples(
    st.sampled_from(["load", "bytes", "nobody.asks"]),
    st.fixed_dictionaries({}, optional={"host": st.sampled_from("abc"), "core": st.sampled_from("01")}),
    st.integers(0, 6_000) | st.integers(0, 400_000),
    st.integers(-1_000, 1_000).map(float) | st.floats(-1e6, 1e6),
    st.sampled_from([0, 1, 2, 3]),
)
batches = st.lists(st.lists(samples, min_size=1, max_size=12), min_size=1, max_size=8)


def log_of(written: Sequence[Sequence[Sample]]) -> list[Record]:
    return records(*(write(batch, sequence) for sequence, batch in enumerate(written)))


def asked(wanted: View, log: Sequence[Record]) -> dict[tuple[batch_job.Group, int], float | batch_job.Allowed]:
    return batch_job.cells(wanted, batch_job.samples({0: [record.value for record in log]}))


def agrees(wanted: View, store: Store, log: Sequence[Record]) -> None:
    """Bit for bit, but for quantiles, which a sketch may miss by its error."""
    got, expected = cells(wanted, [store.mirror(wanted)]), asked(wanted, log)
    assert got.keys() == expected.keys()
    for at, value in expected.items():
        assert value.allows(got[at]) if isinstance(value, batch_job.Allowed) else value == got[at], at


# What cells are


@settings(max_examples=60, deadline=None)
@given(batches, st.data())
def test_cells_are_what_a_batch_job_over_the_log_computes(written: list[list[Sample]], data: st.DataObject) -> None:
    log = log_of(written)
    store = folded(config(*VIEWS), log)
    agrees(data.draw(st.sampled_from(VIEWS)), store, log)


@settings(max_examples=30, deadline=None)
@given(batches, st.data())
def test_how_the_log_is_cut_does_not_show_in_the_cells(written: list[list[Sample]], data: st.DataObject) -> None:
    log = log_of(written)
    fold, store = Fold(config(*VIEWS), 0), Store()
    while fold.offset < len(log):
        fold.apply(log[fold.offset : fold.offset + data.draw(st.integers(1, 4))])
        if data.draw(st.booleans()):
            store.commit(fold)
    store.commit(fold)
    assert store.stored == folded(config(*VIEWS), log).stored


@settings(max_examples=30, deadline=None)
@given(batches, st.data())
def test_a_fold_that_was_stored_and_loaded_goes_on_as_if_it_had_never_stopped(
    written: list[list[Sample]], data: st.DataObject
) -> None:
    log = log_of(written)
    fold, store = Fold(config(*VIEWS), 0), Store()
    for record in log:
        fold.apply([record])
        if data.draw(st.booleans()):
            store.commit(fold)
        if data.draw(st.booleans()) and store.stored.offset >= 0:
            fold = store.load()  # what was not stored is lost, and read again
            fold.apply(log[fold.offset : record.offset + 1])
    store.commit(fold)
    assert store.stored == folded(config(*VIEWS), log).stored


def test_records_before_the_offset_are_passed_over() -> None:
    log = log_of([[gauge(1)], [gauge(2)], [gauge(4)]])
    fold = Fold(config(view(fn="sum")), 0)
    fold.apply(log[:2])
    fold.apply(log)
    assert (fold.offset, fold.tally.records) == (3, 3)


def test_a_series_of_which_nobody_asks_costs_no_cell() -> None:
    store = folded(config(view()), log_of([[gauge(1, metric="other")]]))
    assert store.stored.pages == {}
    assert store.stored.offset == 1


@pytest.mark.parametrize(
    ("samples_", "expected"),
    [
        ([gauge(1), gauge(5), gauge(3)], {"avg": 3, "sum": 3, "min": 1, "max": 5, "count": 3, "last": 3}),
        ([gauge(1, at=9), gauge(5, at=8)], {"last": 1, "sum": 1}),
        ([gauge(1, at=9), gauge(5, at=9)], {"last": 5, "sum": 5}),
        ([gauge(1, h="a"), gauge(2, h="a"), gauge(4, h="b")], {"sum": 6, "count": 3, "avg": 7 / 3}),
        ([("load", {}, 0, 1.0, 3), ("load", {}, 1, 2.0, 3)], {"sum": 3, "p50": 1}),
        ([("load", {}, 0, 1.0, 2), ("load", {}, 1, 2.0, 2)], {"sum": 3, "increase": 3, "rate": 3}),
    ],
)
def test_functions_mean_what_the_design_says(samples_: list[Sample], expected: dict[str, float]) -> None:
    for fn, value in expected.items():
        wanted = view(fn=fn, every="1s")
        got = cells(wanted, [folded(config(wanted), log_of([samples_])).mirror(wanted)])
        assert got == {((), T0): pytest.approx(value, rel=batch_job.SKETCH_ERROR if fn == "p50" else 1e-15)}, fn


# What is passed over, and counted


def test_a_record_that_was_folded_before_is_ignored() -> None:
    wanted = view(fn="count")
    fold, store = Fold(config(wanted), 0), Store()
    once, again = write([gauge(1)], sequence=4), write([gauge(1)], sequence=5)
    fold.apply(records(once, once, again, once))
    store.commit(fold)
    assert cells(wanted, [store.mirror(wanted)]) == {((), T0): 2}
    assert fold.tally.duplicates == 2


def test_a_duplicate_is_known_after_a_restart_too() -> None:
    wanted = view(fn="count")
    once = write([gauge(1)], sequence=4)
    fold = folded(config(wanted), records(once)).load()
    fold.apply(records(once, first=1))
    assert (fold.tally.duplicates, fold.offset) == (1, 2)


def test_sequences_of_another_ingestor_are_its_own() -> None:
    wanted = view(fn="count")
    log = records(write([gauge(1)], 9, instance=1), write([gauge(1)], 3, instance=2**64 - 1), write([gauge(1)], 0, instance=3))
    assert cells(wanted, [folded(config(wanted), log).mirror(wanted)]) == {((), T0): 3}


def test_silent_ingestors_are_forgotten_when_they_are_many() -> None:
    fold = Fold(config(view()), 0)
    fold.apply(records(*(write([gauge(1)], instance=i) for i in range(40))))
    fold.apply(records(write([gauge(1)], instance=99, ingest=60_000 + INSTANCE_MS + 1), first=40))
    assert set(fold.changes().state.sequences) == {99}


def test_samples_older_than_the_retention_are_counted_and_left_out() -> None:
    wanted = view(fn="count", every="1s")
    fold, store = Fold(config(wanted, retention_ms=10_000), 0), Store()
    fold.apply(records(write([gauge(1, at=50_500), gauge(1, at=49_500), gauge(1, at=-DAY)], ingest=60_000)))
    store.commit(fold)
    assert cells(wanted, [store.mirror(wanted)]) == {((), T0 + 50_000): 1}
    assert fold.tally.late == 2


def test_lateness_is_judged_by_the_ingest_time_of_the_samples_own_record() -> None:
    wanted = view(fn="count", every="1s")
    log = records(write([gauge(1, at=90_000)], 0, ingest=90_000), write([gauge(1, at=55_000)], 1, ingest=60_000))
    fold = Fold(config(wanted, retention_ms=10_000), 0)
    fold.apply(log)
    assert fold.tally.late == 0


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"", "0 bytes are too few"),
        (b"XX" + write([gauge(1)])[2:], "starts with b'XX'"),
        (b"TB\x63" + write([gauge(1)])[3:], "version 99"),
        (write([gauge(1)])[:-4], "claims"),
        (write([gauge(1)]).replace(b"load\xff", b"load\xfe"), "series key does not end in 0xFF"),
        (write([gauge(1)]).replace(b"load\xff", b"\xfeoad\xff"), "can't decode"),
        (write([gauge(math.nan)]), "not finite"),
        (write([gauge(1), gauge(-math.inf)]), "not finite"),
    ],
)
def test_a_record_that_cannot_be_read_is_counted_and_left_out(damaged: bytes, reason: str) -> None:
    wanted = view(fn="sum", each="pool")
    fold, store = Fold(config(wanted), 0), Store()
    fold.apply(records(write([gauge(1)], 0), damaged, write([gauge(2)], 1)))
    store.commit(fold)
    assert cells(wanted, [store.mirror(wanted)]) == {((), T0): 3}
    assert fold.tally.poison == 1
    assert fold.tally.last_poison.startswith("offset 1: ")
    assert reason in fold.tally.last_poison


def test_a_record_that_cannot_be_read_is_kept_for_who_tells_of_it() -> None:
    fold = Fold(config(view()), 0)
    fold.apply(records(write([gauge(1)]), b"XX", write([gauge(1)], sequence=1)))
    assert [(record.offset, record.value) for record, _ in fold.unread] == [(1, b"XX")]


def test_a_kind_that_nobody_knows_is_poison() -> None:
    """A merge that met one later could not go on."""
    fold = Fold(config(view(fn="sum")), 0)
    fold.apply(records(write([("load", {}, 0, 1.0, 9)])))
    assert fold.tally.last_poison == "offset 0: kind 9 is not known"


def test_gauges_have_no_increase_and_are_counted() -> None:
    wanted = view("bytes", fn="rate")
    fold = Fold(config(wanted), 0)
    fold.apply(log_of([[gauge(1, metric="bytes"), counter(1), delta(2)]]))
    assert fold.tally.not_counters == 1


# Time and space


@pytest.mark.parametrize("every", ["1s", "1m", "5m", "1h"])
def test_a_bucket_is_whole_for_as_long_as_some_of_it_may_be_shown(every: str) -> None:
    """The end of a bucket counts, not its start: of a bucket that is longer than the window the samples go on to come."""
    wanted = view(fn="count", every=every, window="5m")
    fold, store = Fold(config(wanted, retention_ms=300_000), 0), Store()
    for minute in range(60):
        at = minute * 60_000
        fold.apply(records(write([gauge(1, at=at)], minute, ingest=at), first=minute))
        store.commit(fold)
    length = wanted.every_ms
    got = cells(wanted, [store.mirror(wanted)])
    newest = T0 + 59 * 60_000
    shown = {bucket for _, bucket in got if bucket + length > newest - 300_000}
    assert shown
    for bucket in shown:
        assert got[(), bucket] == sum(bucket <= T0 + minute * 60_000 < bucket + length for minute in range(60))


def test_old_cells_are_dropped_where_they_are_stored_too() -> None:
    wanted = view(fn="count", every="1s")
    fold, store = Fold(config(wanted, retention_ms=10_000), 0), Store()
    fold.apply(records(write([gauge(1, at=0)], 0, ingest=0)))
    store.commit(fold)
    fold.apply(records(write([gauge(1, at=80_000)], 1, ingest=10_000 + SLACK_MS + 1_001), first=1))
    changes = store.commit(fold)
    assert [page.bucket for page in changes.gone] == [T0]
    assert list(store.stored.pages[wanted.inputs[0].selection.id]) == [(T0 + 80_000, 0)]


def test_what_a_failed_commit_would_have_dropped_the_next_one_drops() -> None:
    wanted = view(fn="count", every="1s")
    fold, store = Fold(config(wanted, retention_ms=10_000), 0), Store()
    fold.apply(records(write([gauge(1, at=0)], 0, ingest=0)))
    store.commit(fold)
    fold.apply(records(write([gauge(1, at=80_000)], 1, ingest=80_000), first=1))
    fold.changes()  # Redis did not answer: it was not stored
    store.commit(fold)
    assert list(store.stored.pages[wanted.inputs[0].selection.id]) == [(T0 + 80_000, 0)]


def test_the_clock_is_the_newest_ingest_time_and_samples_are_never_newer() -> None:
    fold = Fold(config(view()), 0)
    fold.apply(records(write([gauge(1, at=70_000)], 0, ingest=60_000), write([gauge(1, at=10_000)], 1, ingest=50_000)))
    assert (fold.clock, fold.max_time) == (T0 + 60_000, T0 + 60_000)


# How new samples are


def newest(fold: Fold, wanted: View) -> int:
    """Time of the newest sample of what a view reads, ms after T0."""
    return (fold.changes().state.sampled or {}).get(wanted.inputs[0].selection.id, 0) - T0


@pytest.mark.parametrize(
    "query",
    [
        *({"fn": fn} for fn in [*PLAIN, "delta", "p50", "distinct"]),
        {"fn": "topk(1)", "of": "host"},
        {"fn": "avg", "each": "last"},
        {"metric": "bytes", "fn": "rate"},
        {"metric": "added", "fn": "rate"},
    ],
)
def test_each_selection_knows_its_newest_sample_whatever_it_makes_of_it(query: dict[str, object]) -> None:
    wanted, other = view(**query, where={"host": "a"}), view(**query, where={"host": "b"})  # type: ignore[arg-type]
    fold = Fold(config(wanted, other), 0)
    of_both = [
        kind(float(at), at=at, host=host, metric=metric)
        for host, until in (("a", 3_000), ("b", 9_000))
        for at in range(0, until + 1_000, 1_000)
        for kind, metric in ((gauge, "load"), (counter, "bytes"), (delta, "added"))
    ]
    fold.apply(records(write(of_both, 0)))
    assert (newest(fold, wanted), newest(fold, other)) == (3_000, 9_000)


@pytest.mark.parametrize(
    ("metric", "fn", "sample"), [("load", "p50", gauge), ("load", "avg", gauge), ("bytes", "rate", counter)]
)
def test_a_sample_is_never_newer_than_it_came_and_what_was_known_never_goes_back(
    metric: str, fn: str, sample: Callable[..., Sample]
) -> None:
    wanted = view(metric, fn=fn)
    fold = Fold(config(wanted), 0)
    first = write([sample(1, at=50_000), sample(1, at=90_000, host="a"), sample(2, at=90_000)], 0, ingest=60_000)
    then = write([sample(1, at=59_000, host="b"), sample(1, at=60_000, host="b")], 1, ingest=61_000)
    last = write([sample(1, at=60_500, host="b")], 2, ingest=62_000)
    for at, (record, expected) in enumerate(((first, 60_000), (then, 60_000), (last, 60_500))):
        fold.apply(records(record, first=at))
        assert newest(fold, wanted) == expected
    again = Fold(config(wanted), 0)
    edge = write([gauge(1, metric="nobody.asks")], 0, instance=8)
    again.apply(records(edge, first, then))  # the last two at once
    assert newest(again, wanted) == 60_000, "each by its own record"


def test_samples_that_are_in_no_cell_make_nothing_newer() -> None:
    wanted, counted = view(fn="max", every="1s"), view("bytes", fn="rate")
    fold = Fold(config(wanted, counted, retention_ms=10_000), 0)
    fold.apply(records(write([gauge(1, at=5_000), counter(1, at=50_000), counter(2, at=50_000)], 0, ingest=60_000)))
    assert fold.max_time == T0 + 50_000
    assert (newest(fold, wanted), newest(fold, counted)) == (-T0, -T0), "one came too late, and the others tell no increase"


def test_only_what_is_newer_than_it_was_is_told_and_a_fold_that_is_loaded_knows_it() -> None:
    one, other = view("load", fn="p50"), view("cpu", fn="p50")
    names = [wanted.inputs[0].selection.id for wanted in (one, other)]
    fold, store = Fold(config(one, other), 0), Store()
    fold.apply(records(write([gauge(1, at=1_000), gauge(1, at=2_000, metric="cpu")], 0)))
    assert store.commit(fold).sampled == dict(zip(names, (T0 + 1_000, T0 + 2_000), strict=True))
    fold.apply(records(write([gauge(1, at=3_000)], 1), first=1))
    assert store.commit(fold).sampled == {names[0]: T0 + 3_000}
    again = store.load()
    again.apply(records(write([gauge(1, at=2_500), gauge(1, at=1_500, metric="cpu")], 2), first=2))
    assert again.changes().state.sampled == dict(zip(names, (T0 + 3_000, T0 + 2_000), strict=True))


def test_of_what_an_older_version_stored_the_newest_bucket_ends_or_the_newest_sample_of_all_is_as_late_as_can_be() -> None:
    one, other = view("load", fn="p50", every="1s"), view("cpu", fn="p50", every="1s")
    fold, store = Fold(config(one, other), 0), Store()
    fold.apply(records(write([gauge(1, at=1_200), gauge(1, at=7_300, metric="cpu")], 0)))
    store.commit(fold)
    store.stored.state.sampled = None
    again = store.load()
    assert (newest(again, one), newest(again, other)) == (2_000, 7_300)


def test_only_changed_pages_are_stored_again() -> None:
    wanted = view(fn="max", by=["host"], every="1s")
    fold, store = Fold(config(wanted), 0), Store()
    fold.apply(log_of([[gauge(1, host=f"h{i}") for i in range(100)]]))
    assert {page.page for page, _ in store.commit(fold).pages} == {0, 1, 2, 3}
    fold.apply(records(write([gauge(2, host="h40")], 1), first=1))
    changes = store.commit(fold)
    assert ([page.page for page, _ in changes.pages], changes.keys) == ([1], [])
    assert not fold.dirty


def test_dictionaries_that_are_known_whole_may_be_forgotten_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that differ in kinds or in where keys end only are others."""
    wanted = view(fn="sum", each="pool", by=["host"])
    samples_ = [[gauge(2.0**i, host="a"), ("load", {"host": "b"}, 0, 1.0, i % 3)] for i in range(12)]
    expected = folded(config(wanted), log_of(samples_)).stored
    monkeypatch.setattr(serieslist, "MAX_DICTIONARIES", 100)
    assert folded(config(wanted), log_of(samples_)).stored == expected
    assert cells(wanted, [folded(config(wanted), log_of(samples_)).mirror(wanted)]) == {
        ((("host", "a"),), T0): 4095.0, ((("host", "b"),), T0): 12.0,
    }  # fmt: skip


# Starts and writers


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 200_000), st.integers(0, 50), st.sampled_from([0, 500, 60_000])), max_size=6),
        min_size=1,
        max_size=6,
    )
)
def test_counters_with_starts_and_several_writers_are_what_a_batch_job_computes(
    written: list[list[tuple[int, int, int]]],
) -> None:
    wanted = view("bytes", fn="increase", every="10s")
    log = records(
        *(write([counter(value, at=at) for at, value, _ in batch], i, starts=[start for *_, start in batch]) for i, batch in enumerate(written))
    )  # fmt: skip
    fold, store = Fold(config(wanted), 0), Store()
    for record in log:
        fold.apply([record])
        store.commit(fold)
        fold = store.load()
    agrees(wanted, store, log)
    assert store.stored == folded(config(wanted), log).stored


def test_selections_take_note_of_samples_that_another_writer_of_their_series_sent() -> None:
    asked_for, other = view("bytes", fn="increase", every="1s"), view("bytes", fn="increase", where={"host": "b"})
    values = [1000, 15, 1010, 20, 1020]
    log = log_of([[counter(value, at=i * 1_000, host="a")] for i, value in enumerate(values)])
    store = folded(config(asked_for, other), log)
    fold = store.load()
    assert {name: cells.notes.contested for name, cells in fold.cells.items()} == {
        asked_for.inputs[0].selection.id: 1, other.inputs[0].selection.id: 0,
    }  # fmt: skip


# Joining


@settings(max_examples=100, deadline=None)
@given(batches, st.data())
def test_a_fold_that_others_joined_is_as_if_it_had_had_all_selections_from_the_start(
    written: list[list[Sample]], data: st.DataObject
) -> None:
    log = log_of(written)
    at = data.draw(st.integers(0, len(log)))
    cut = data.draw(st.integers(0, len(VIEWS)))
    first, second = config(*VIEWS[:cut]), config(*VIEWS[cut:])
    fold, store = Fold(first, 0), Store()
    fold.apply(log[:at])
    store.commit(fold)
    late = Fold(Config({k: v for k, v in second.selections.items() if k not in first.selections}, second.retentions), 0)
    late.apply(log[:at])
    fold.join(late, config(*VIEWS))
    fold.apply(log[at:])
    store.commit(fold)
    assert store.stored.config == config(*VIEWS)
    agrees(data.draw(st.sampled_from(VIEWS)), store, log)


def test_a_selection_that_is_kept_longer_begins_anew_and_one_that_is_not_asked_for_goes() -> None:
    short, gone = view(fn="max", every="1s"), view(fn="max", every="2s")
    name = short.inputs[0].selection.id
    log = log_of([[gauge(1, at=0)], [gauge(2, at=55_000)]])
    store = folded(config(short, gone, retention_ms=10_000), log)
    fold, longer = store.load(), Fold(config(short, retention_ms=DAY), 0)
    longer.apply(log)
    fold.join(longer, config(short, retention_ms=DAY))
    assert sorted(store.commit(fold).reset) == sorted([COUNTERS, name, gone.inputs[0].selection.id])
    assert cells(short, [store.mirror(short)]) == {((), T0): 1, ((), T0 + 55_000): 2}
    assert set(store.stored.pages) == {name}


def test_a_counter_that_nobody_asked_for_meanwhile_goes_on_from_its_newest_sample() -> None:
    """It is known from when its selection was last asked for, and better known to the fold that read the past again."""
    wanted = view("bytes", fn="increase", every="1s")
    log = log_of([[counter(10, at=0)], [counter(500, at=1_000)], [counter(1_000, at=2_000)], [counter(1_007, at=3_000)]])
    fold, store = Fold(config(wanted), 0), Store()
    fold.apply(log[:1])
    fold.join(Fold(Config({}, {}), 1), Config({}, {}))  # nobody asks
    fold.apply(log[1:3])
    late = Fold(config(wanted), 1)
    late.apply(log[1:3])
    fold.join(late, config(wanted))
    fold.apply(log[3:])
    store.commit(fold)
    assert cells(wanted, [store.mirror(wanted)]) == {((), T0 + 1_000): 500, ((), T0 + 2_000): 7}


def test_counters_of_which_nobody_asks_any_more_are_dropped() -> None:
    rate, other = view("bytes", fn="rate"), view("more", fn="rate")
    fold, store = Fold(config(rate, other), 0), Store()
    fold.apply(log_of([[counter(1), counter(1, metric="more")]]))
    store.commit(fold)
    fold.join(Fold(Config({}, {}), 1), config(other))
    store.commit(fold)
    assert list(store.load().counters.last()) == [b"more\xff"]


def test_what_lay_there_of_another_log_is_dropped_though_another_fold_joins_before_the_first_commit() -> None:
    short, long = view(fn="max", every="1s"), view(fn="max", every="2s")
    store = folded(config(short), log_of([[gauge(1, at=0)], [gauge(2, at=5_000)]]))
    log = log_of([[gauge(3, at=9_000)]])
    fold, other = Fold.instead(store.stored, config(short), 0), Fold(config(long), 0)
    fold.apply(log)
    other.apply(log)
    fold.join(other, config(short, long))
    store.commit(fold)
    assert cells(short, [store.mirror(short)]) == {((), T0 + 9_000): 3}
    assert store.stored.pages == folded(config(short, long), log).stored.pages


def test_folds_at_different_offsets_do_not_join() -> None:
    with pytest.raises(ValueError, match="offsets 0 and 3"):
        Fold(config(view()), 0).join(Fold(config(view()), 3), config(view()))


def test_seeds_of_an_earlier_log_are_stored_with_the_first_commit() -> None:
    wanted = view("bytes", fn="increase", every="1s")
    fold, store = Fold(config(wanted), 0), Store()
    fold.counters.seed(b"bytes\xff", np.array([(T0 - 1_000, 40.0, 0, 0, 0.0)], COUNTER)[0])
    store.commit(fold)
    fold = store.load()
    fold.apply(log_of([[counter(50, at=0)]]))
    store.commit(fold)
    assert cells(wanted, [store.mirror(wanted)]) == {((), T0 - 1_000): 10}
