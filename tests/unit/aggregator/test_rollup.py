"""Roll-ups: coarse cells are what the finer ones of the same log add up to, whenever they were computed."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator.asked import LOOKBACK_MS, SLACK_MS
from services.aggregator.fold import Fold
from services.aggregator.rollup import SETTLED, _RollUp
from services.aggregator.wanted import Wanted, wanted
from services.contract.levels import kept
from services.contract.partials import Config
from services.contract.registry import VERSION, Entry
from services.contract.views import View
from tests import batch_job
from tests.unit.aggregator.logs import T0, Record, Sample, Store, cells, counter, delta, document, gauge, write

LEVELS = [{"every": "2s", "for": "30s"}, {"every": "10s", "for": "2m"}, {"every": "40s", "for": "5m"}]
KEPT_MS = {1_000: 20_000, 2_000: 30_000, 10_000: 120_000, 40_000: 300_000}
QUERIES: list[dict[str, Any]] = [
    {"metric": "load", "by": ["host"], "fn": ["avg", "sum", "min", "max", "count", "last", "p50", "p99"], "each": "pool"},
    {"metric": "load", "fn": ["avg", "sum", "count"], "each": "last"},
    {"metric": "bytes", "by": ["host"], "fn": ["rate", "increase"]},
    {"metric": "bytes", "fn": "sum"},
]


def entry(*queries: dict[str, Any], window: str = "20s", levels: Any = None) -> Entry:
    panels = [{"id": f"p{i}", "type": "stat", "query": {"every": "1s", **query}} for i, query in enumerate(queries)]
    made: Any = document(panels, window)
    made["spec"]["resolutions"] = LEVELS if levels is None else levels
    return Entry(VERSION, "test", "r", made, "test")


def asked(*queries: dict[str, Any]) -> Wanted:
    """Seconds are kept for 20 s, not for the 15 min that dashboards get, so that short logs show what is dropped."""
    found = wanted({"test": entry(*queries)})
    for name, item in found.config.selections.items():
        found.config.retentions[name] = KEPT_MS[item.every_ms]
    return found


def view(found: Wanted, every_ms: int) -> View:
    return next(view for view, _ in found.views.values() if view.every_ms == every_ms)


def log(parts: Sequence[Sequence[Sample]], step_ms: int = 1_000) -> list[Record]:
    """Records, each ingested a step after the one before and holding samples of about that time."""
    return [
        Record(i, write([_moved(item, i * step_ms) for item in part], i, i * step_ms + 1_000)) for i, part in enumerate(parts)
    ]


def _moved(sample: Sample, by: int) -> Sample:
    metric, labels, at, value, kind = sample
    return metric, labels, at + by, value, kind


_values = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
_hosts = st.sampled_from(["a", "b", "c"])
_times = st.integers(-6_000, 999)
_samples = st.one_of(
    st.builds(lambda value, at, host: gauge(value, at, host=host), _values, _times, _hosts),
    st.builds(lambda value, at, host: counter(abs(value), at, host=host), _values, _times, _hosts),
    st.builds(lambda value, at, host: delta(abs(value), at, host=host), _values, _times, _hosts),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_samples, max_size=6), min_size=1, max_size=90), st.data())
def test_every_level_is_what_a_batch_job_computes_however_the_log_was_cut(
    parts: list[list[Sample]], data: st.DataObject
) -> None:
    """Bit for bit, through commits at any record, crashes at any commit, and computations at any time."""
    found, records = asked(*QUERIES), log(parts, data.draw(st.sampled_from([1_000, 4_000])))
    fold, store = Fold(found.config, 0), Store()
    at = 0
    while at < len(records):
        step = data.draw(st.integers(1, 30))
        fold.apply(records[at : at + step])
        at += step
        match data.draw(st.sampled_from(["nothing", "commit", "commit", "crash"])):
            case "commit":
                now = data.draw(st.one_of(st.none(), st.integers(0, 100).map(lambda s: T0 + s * 1_000)))
                store.commit(fold, now)
            case "crash" if store.log:
                fold = store.load()
                at = fold.offset
    store.commit(fold)
    taken = batch_job.samples({0: [record.value for record in records]})
    for wanted_view, _ in found.views.values():
        mirror = store.mirror(wanted_view)
        got, expected = cells(wanted_view, [mirror]), batch_job.cells(wanted_view, taken, found.config.retentions)
        oldest = fold.cells[wanted_view.inputs[0].selection.id].oldest(fold.clock)
        for cell in {cell for cell in got.keys() | expected.keys() if cell[1] >= oldest}:
            value = expected.get(cell)
            if isinstance(value, batch_job.Quantile):
                assert value.allows(got[cell])
            else:
                assert got.get(cell) == value, (wanted_view, cell)


def test_levels_reach_further_back_than_what_they_are_made_of() -> None:
    """Four minutes of log: seconds are kept for 80 s, and each level for longer."""
    found = asked(QUERIES[0] | {"fn": "sum"})
    fold, store = Fold(found.config, 0), Store()
    for record in log([[gauge(1.0, 0, host="a")]] * 240):
        fold.apply([record])
        store.commit(fold, fold.clock)
    store.commit(fold)
    reach = {}
    for every_ms in (1_000, 2_000, 10_000, 40_000):
        level = view(found, every_ms)
        values = cells(level, [store.mirror(level)])
        reach[every_ms] = min(bucket for _, bucket in values) - T0
        assert {value * 1_000 for (_, bucket), value in values.items() if bucket < T0 + 200_000} == {every_ms}
    assert reach[1_000] > reach[2_000] > reach[10_000] > reach[40_000] == 0


def test_only_what_may_still_change_is_held_and_all_of_it_is_stored() -> None:
    found = asked(*QUERIES)
    records = log([[gauge(float(i), 0, host="a"), counter(float(i), 0, host="b")] for i in range(150)], 4_000)
    fold, store = Fold(found.config, 0), Store()
    for record in records:
        fold.apply([record])
        store.commit(fold, fold.clock)
    store.commit(fold)
    held = {
        every_ms: len(set(fold.cells[view(found, every_ms).inputs[0].selection.id].cells.pages()))
        for every_ms in (10_000, 40_000)
    }
    assert held[10_000] <= 17
    assert held[40_000] <= 5
    straight = Store()
    direct = Fold(found.config, 0)
    direct.apply(records)
    straight.commit(direct)
    assert store.stored.pages == straight.stored.pages
    assert len(store.stored.pages[view(found, 40_000).inputs[0].selection.id]) > 8


def test_what_was_stored_by_an_earlier_process_is_dropped_in_its_time() -> None:
    found = asked(QUERIES[0] | {"fn": "count"})
    records = log([[gauge(1.0, 0, host="a")]] * 150, 4_000)
    fold, store = Fold(found.config, 0), Store()
    fold.apply(records)
    store.commit(fold)
    loaded = store.load()
    loaded.apply([Record(150, write([gauge(1.0, 900_000, host="a")], 150, 900_000))])
    store.commit(loaded)
    for every_ms in (2_000, 10_000, 40_000):
        item = loaded.cells[view(found, every_ms).inputs[0].selection.id]
        assert min(bucket for bucket, _ in store.stored.pages[item.selection.id]) >= item.oldest(loaded.clock)


def test_a_late_sample_corrects_every_level_while_its_second_is_kept() -> None:
    found = asked(QUERIES[0] | {"fn": "count"})
    fold, store = Fold(found.config, 0), Store()
    fold.apply(log([[gauge(1.0, 0, host="a")]] * 60))
    store.commit(fold)
    fold.apply([Record(60, write([gauge(1.0, 41_000, host="a"), gauge(1.0, 3_000, host="a")], 60, 61_000))])
    store.commit(fold)
    counts = {
        every_ms: cells(view(found, every_ms), [store.mirror(view(found, every_ms))]) for every_ms in (2_000, 10_000, 40_000)
    }
    host = (("host", "a"),)
    assert counts[2_000][host, T0 + 40_000] == 3
    assert counts[10_000][host, T0 + 40_000] == 11
    assert counts[40_000][host, T0 + 40_000] == 21
    assert counts[40_000][host, T0] == 40, "a second that is out of its 20 s: too late for all levels"


def test_an_open_bucket_is_computed_a_few_times_and_not_with_every_record() -> None:
    found = asked(QUERIES[0] | {"fn": "count"})
    fold, store = Fold(found.config, 0), Store()
    coarse = view(found, 40_000).inputs[0].selection.id
    written = 0
    for record in log([[gauge(1.0, 0, host="a")]] * 40, 250):
        fold.apply([record])
        changes = store.commit(fold, fold.clock)
        written += sum(page.selection == coarse for page, _ in changes.pages)
    assert 2 <= written <= 4, "ten seconds of a bucket of forty, of which each four are computed once"


def test_coarse_cells_have_the_newest_sample_that_was_rolled_up() -> None:
    found = asked(QUERIES[0] | {"fn": "p50"})
    fold, store = Fold(found.config, 0), Store()
    fine, coarse = (view(found, every).inputs[0].selection.id for every in (1_000, 40_000))
    one, other = log([[gauge(1.0, 500, host="a")], [gauge(1.0, 700, host="a")]], 1_000)
    fold.apply([one])
    store.commit(fold)
    first = fold.cells[fine].newest
    fold.apply([other])
    changes = store.commit(fold, 0)  # which is not yet the time
    assert first and fold.cells[coarse].newest == first < fold.cells[fine].newest
    assert changes.sampled == {fine: fold.cells[fine].newest}
    changes = store.commit(fold)
    assert changes.sampled[coarse] == fold.cells[coarse].newest == fold.cells[fine].newest


def test_a_fold_without_news_says_when_something_is_still_to_be_rolled_up() -> None:
    found = asked(QUERIES[0] | {"fn": "count"})
    fold, store = Fold(found.config, 0), Store()
    fold.apply(log([[gauge(1.0, 0, host="a")]]))
    store.commit(fold, 0)
    fold.apply([Record(1, write([gauge(2.0, 0, host="a")], 1, 1_000))])
    store.commit(fold, 0)
    assert fold.due(fold.clock)
    changes = store.commit(fold, fold.clock)
    assert (changes.from_, changes.to) == (2, 2)
    assert {page.selection for page, _ in changes.pages} == {
        item.inputs[0].selection.id for item, _ in found.views.values() if item.every_ms > 1_000
    }
    assert not fold.due(fold.clock + 60_000)


def test_a_mirror_takes_what_was_rolled_up_without_a_new_record() -> None:
    found = asked(QUERIES[0] | {"fn": "count"})
    level = view(found, 10_000)
    fold, store = Fold(found.config, 0), Store()
    fold.apply(log([[gauge(1.0, 0, host="a")]]))
    store.commit(fold, 0)
    fold.apply([Record(1, write([gauge(2.0, 0, host="a")], 1, 1_000))])
    store.commit(fold, 0)
    mirror = store.mirror(level)
    store.commit(fold, fold.clock)
    assert mirror.apply(store.log[-1]) == "applied"
    assert cells(level, [mirror]) == {((("host", "a"),), T0): 2.0}


def test_buckets_before_a_log_that_was_cut_are_absent_and_not_partial() -> None:
    found = asked(QUERIES[0] | {"fn": "count"})
    fold, store = Fold(found.config, 500), Store()
    fold.cut()
    records = log([[gauge(1.0, 0, host="a")]] * 600)
    fold.apply([Record(500 + record.offset, record.value) for record in records])
    store.commit(fold)
    first = T0 + 1_000 + LOOKBACK_MS
    level = view(found, 40_000)
    values = cells(level, [store.mirror(level)])
    assert min(bucket for _, bucket in values) == -(-first // 40_000) * 40_000
    assert {value for (_, bucket), value in values.items() if bucket < T0 + 560_000} == {40.0}


def test_a_record_that_is_far_behind_does_not_bring_back_what_was_dropped() -> None:
    found = asked(QUERIES[0] | {"fn": "count"})
    records = log([[gauge(1.0, 0, host="a")]] * 200)
    behind = Record(200, write([gauge(1.0, 1_000, host="a")], 0, 1_000, instance=8))
    for cuts in ([(0, 201)], [(0, 200), (200, 201)]):
        fold, store = Fold(found.config, 0), Store()
        for first, last in cuts:
            fold.apply([*records, behind][first:last])
            store.commit(fold)
        assert fold.tally.late == 1
        level = view(found, 40_000)
        assert cells(level, [store.mirror(level)])[(("host", "a"),), T0] == 40.0


def test_finer_cells_stay_until_no_coarser_bucket_needs_them() -> None:
    found = asked(QUERIES[0] | {"fn": "count"})
    fold = Fold(found.config, 0)
    for every_ms, coarser in ((1_000, 2_000), (2_000, 10_000), (10_000, 40_000)):
        item = fold.cells[view(found, every_ms).inputs[0].selection.id]
        clock = T0 + 12_345_678
        assert item.oldest(clock) % coarser == 0
        assert 0 <= clock - item.retention_ms - SLACK_MS - every_ms - item.oldest(clock) < coarser


def test_a_catching_fold_of_levels_and_what_they_are_made_of_joins_the_live_one() -> None:
    found = asked(*QUERIES)
    records = log([[gauge(float(i), 0, host="a"), counter(float(i), 0, host="b")] for i in range(200)])
    direct, straight = Fold(found.config, 0), Store()
    direct.apply(records)
    straight.commit(direct)
    own = {name: item for name, item in found.config.selections.items() if item.finer is None}
    live = Fold(type(found.config)(own, {name: found.config.retentions[name] for name in own}), 0)
    live.apply(records)
    store = Store()
    store.commit(live)
    catching = Fold(found.config, 0)
    for record in records:
        catching.apply([record])
        catching.sweep()
    live.join(catching, found.config)
    store.commit(live)
    assert store.stored.pages == straight.stored.pages


@pytest.mark.parametrize(
    ("packed", "joined", "stored"), [(150, 150, 150), (150, 155, 160), (100, 190, 200), (0, 10, 200), (117, 119, 122)]
)
def test_what_was_packed_before_a_fold_joins_is_stored_as_it_is_then(packed: int, joined: int, stored: int) -> None:
    """Edges of minutes, at which old buckets go, lie between; and some samples are late by seconds."""
    found = asked(*QUERIES)
    parts = [[gauge(float(i), -(i % 4) * 1_000, host=f"h{i % 40}"), counter(float(i), 0, host="b")] for i in range(200)]
    records = log(parts)
    direct, straight = Fold(found.config, 0), Store()
    live, store = Fold(Config({}, {}), 0), Store()
    catching = Fold(found.config, 0)
    direct.apply(records[:stored])
    straight.commit(direct)
    live.apply(records[:joined])
    store.commit(live)
    for record in records[:joined]:
        if record.offset == packed:
            list(catching.prepare(3))
        catching.apply([record])
        catching.sweep()
    if packed == joined:
        assert list(catching.prepare(3))
    live.join(catching, found.config)
    live.apply(records[joined:stored])
    live.changes()  # whose commit did not arrive
    store.commit(live)
    assert store.stored.pages == straight.stored.pages
    assert store.stored.keys == straight.stored.keys
    for fold, place in ((direct, straight), (live, store)):
        fold.apply(records[stored:])
        place.commit(fold)
    assert store.stored.pages == straight.stored.pages


def test_live_views_have_their_turn_while_what_changed_is_rolled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = 0
    compute = _RollUp._compute

    def counted(self: _RollUp, bucket: int) -> None:
        nonlocal computed
        computed += 1
        compute(self, bucket)

    monkeypatch.setattr(_RollUp, "_compute", counted)
    fold = Fold(wanted({"test": entry({"metric": "load", "fn": "avg"}, window="5m")}).config, 0)
    for record in log([[gauge(float(i))] for i in range(90)]):
        fold.apply([record])
        fold.sweep()
    computed, before, at_once = 0, 0, []
    for _ in fold.prepare(3):
        at_once.append(computed - before)
        before = computed
    assert computed > 3 * SETTLED
    assert max(at_once) == SETTLED


@pytest.mark.parametrize("polls", [1, 7, 200])
def test_a_loaded_fold_computes_again_what_it_still_holds_whole(polls: int) -> None:
    """The process ended before the last seconds were rolled up."""
    found = asked(*QUERIES)
    records = log([[gauge(float(i), 0, host="a"), counter(float(i), 0, host="b")] for i in range(200)])
    fold, store = Fold(found.config, 0), Store()
    for at in range(0, 200, polls):
        fold.apply(records[at : at + polls])
        store.commit(fold, 0)
    loaded = store.load()
    store.commit(loaded)
    direct, straight = Fold(found.config, 0), Store()
    direct.apply(records)
    straight.commit(direct)
    assert store.stored.pages == straight.stored.pages


def test_one_dashboard_that_keeps_seconds_for_long_makes_all_levels_above_them_last() -> None:
    query = {"metric": "load", "fn": "max"}
    long, short = entry(query, window="20m", levels=[]), entry(query, levels=[{"every": "10s", "for": "1m"}])
    found = wanted({"a": long, "b": short})
    by_every = {found.config.selections[name].every_ms: kept_ms for name, kept_ms in found.config.retentions.items()}
    assert (by_every[1_000], by_every[10_000]) == (1_200_000, 1_201_000)
    dashboard = short.dashboard()
    assert dashboard is not None
    assert {item.every_ms: for_ms for item, for_ms in kept(dashboard).items()}[10_000] == 901_000
