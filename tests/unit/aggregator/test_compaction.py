"""Groups that come and go (processes, pods) are forgotten when most of them have no cell any more; no cell changes by it."""

import copy

import pytest

from services.aggregator.asked import MIN_COMPACTED
from services.aggregator.combine import Combined, values_of
from services.aggregator.fold import Fold
from services.aggregator.viewmerge import ViewMerge
from services.contract.views import View
from tests.unit.aggregator.logs import (
    COUNTER,
    DISTRIBUTION,
    GAUGE,
    T0,
    Sample,
    Store,
    cells,
    config,
    records,
    view,
    write,
)

MINUTE = 60_000
MANY = 2 * MIN_COMPACTED + 1
KINDS = {"avg": GAUGE, "sum": GAUGE, "p50": DISTRIBUTION, "increase": COUNTER}
LATER = 10 * MINUTE


def came_and_went(kind: int) -> list[bytes]:
    """Many hosts in one minute, and ten minutes later only three of them and a new one."""
    crowd: list[Sample] = [("load", {"host": f"h{i}"}, at, float(i + at), kind) for i in range(MANY) for at in (0, 500)]
    few: list[Sample] = [
        ("load", {"host": host}, LATER + at, 1.0 + at, kind) for host in ("h1", "h70", "h200", "new") for at in (0, 500)
    ]
    return [write(crowd, 0, MINUTE), write(few, 1, LATER + MINUTE // 2)]


@pytest.mark.parametrize("fn", KINDS)
def test_a_fold_forgets_groups_without_cells_and_no_cell_changes(fn: str) -> None:
    wanted = view(fn=fn, by=["host"], window="1m")
    fold, store = Fold(config(wanted, retention_ms=MINUTE), 0), Store()
    for record in records(*came_and_went(KINDS[fn])):
        fold.apply([record])
        store.commit(fold)
    (held,) = fold.cells.values()
    assert len(held.keys) == 4
    (name,) = fold.cells
    assert store.stored.keys[name] == held.keys
    late = write([("load", {"host": "h200"}, LATER + 900, 9000.0, KINDS[fn])], 2, LATER + MINUTE // 2)
    plain = Fold(config(wanted, retention_ms=MINUTE), 0)  # never committed, so never compacted
    plain.apply(records(*came_and_went(KINDS[fn])))
    uncompacted = Store()
    plain.apply(records(late, first=2))
    uncompacted.commit(plain)
    expected = cells(wanted, [uncompacted.mirror(wanted)])
    loaded = store.load()
    for other, place in ((fold, store), (loaded, Store(copy.deepcopy(store.stored)))):
        other.apply(records(late, first=2))
        place.commit(other)
        found = cells(wanted, [place.mirror(wanted)])
        assert found == {at: value for at, value in expected.items() if at[1] >= T0 + LATER - MINUTE}
        assert len({group for group, _ in found}) == 4


def test_a_few_dead_groups_are_not_worth_the_trouble() -> None:
    wanted = view(by=["host"], window="1m")
    fold, store = Fold(config(wanted, retention_ms=MINUTE), 0), Store()
    crowd = write([("load", {"host": f"h{i}"}, 0, 1.0, GAUGE) for i in range(MIN_COMPACTED - 1)], 0, MINUTE)
    one = write([("load", {"host": "h0"}, LATER, 1.0, GAUGE)], 1, LATER)
    for record in records(crowd, one):
        fold.apply([record])
        assert store.commit(fold).reset == []


def merging(wanted: View, store: Store, now: int) -> ViewMerge:
    item = wanted.inputs[0]
    combined = Combined(item.selection.id, item.selection, [store.mirror(wanted)])
    merge = ViewMerge(wanted, MINUTE, [values_of(item, {item.selection.id: combined})], None, "e1")
    step = merge.step(combined.buckets(), 0, now, now, {})
    assert step is not None
    merge.accepted(step)
    return merge


def test_a_view_whose_groups_have_mostly_gone_numbers_the_others_anew_in_another_epoch() -> None:
    wanted = view(fn="max", by=["host"], window="1m")
    fold, store = Fold(config(wanted, retention_ms=MINUTE), 0), Store()
    crowd, few = records(*came_and_went(GAUGE))
    fold.apply([crowd])
    store.commit(fold)
    merge = merging(wanted, store, T0 + 1_000)
    assert (merge.groups, merge.wasteful) == (MANY, False)
    fold.apply([few])
    store.commit(fold)
    item = wanted.inputs[0]
    combined = Combined(item.selection.id, item.selection, [store.mirror(wanted)])
    merge.rebind([values_of(item, {item.selection.id: combined})])
    now = T0 + LATER + 1_000
    step = merge.step(combined.buckets(), 0, now, now, {})
    assert step is not None
    merge.accepted(step)
    assert merge.wasteful
    before = merge.held

    merge.begin_anew("e2")
    step = merge.step(combined.buckets(), 0, now + 1, now, {})
    assert step is not None
    assert (step.held, step.change.epoch, step.change.prev) == (before, "e2", before[1])
    assert step.change.version > before[1]
    assert sorted(group.labels["host"] for group in step.change.groups) == ["h1", "h200", "h70", "new"]
    assert [group.number for group in step.change.groups] == [0, 1, 2, 3]
    assert {value for change in step.change.cells for value in change.values} == {501.0}
    merge.accepted(step)
    assert (merge.held, merge.groups, merge.wasteful) == (("e2", step.change.version), 4, False)
