import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.history import Cells, Change, Notes
from services.gateway.viewstate import Verdict, ViewState
from tests.unit.gateway.merge import Merge, table
from tests.unit.gateway.steady import steady

EVERY, WINDOW = 1_000, 60_000

values = st.dictionaries(
    st.tuples(st.integers(0, 5).map(lambda n: n * EVERY), st.integers(0, 6)),
    st.floats(allow_nan=True, allow_infinity=False, width=32),
    min_size=1,
    max_size=8,
)


def loaded(merge: Merge) -> ViewState:
    state = ViewState(EVERY, WINDOW)
    assert state.load(merge.history(), -1)
    return state


def test_a_state_without_history_is_empty() -> None:
    state = ViewState(EVERY, WINDOW)
    assert (state.epoch, state.version, state.cells(0), state.groups) == ("", 0, [], {})
    assert state.apply(Merge().write({(0, 0): 1})) is Verdict.other_epoch


def test_a_change_that_joins_on_is_applied_and_a_second_time_it_is_known() -> None:
    merge = Merge()
    merge.write({(0, 0): 1.0})
    state = loaded(merge)
    change = merge.write({(0, 0): 2.0, (1_000, 1): math.nan}, closed=1_000)
    assert state.apply(change) is Verdict.applied
    assert state.apply(change) is Verdict.known
    assert table(state.cells(0)) == {0: {0: 2.0}, 1_000: {1: None}}
    assert (state.version, state.closed, state.newest) == (2, 1_000, 1_000)
    assert state.groups == {0: {"cpu": "0"}, 1: {"cpu": "1"}}


def test_a_missing_change_shows_as_a_gap_and_nothing_of_the_next_one_is_taken() -> None:
    merge = Merge()
    merge.write({(0, 0): 1.0})
    state = loaded(merge)
    merge.write({(0, 0): 2.0})
    assert state.apply(merge.write({(0, 1): 3.0}, closed=9_000)) is Verdict.gap
    assert (table(state.cells(0)), state.version, state.closed) == ({0: {0: 1.0}}, 1, 0)
    assert state.load(merge.history(state.version), state.version)
    assert table(state.cells(0)) == merge.table()


def test_a_message_may_move_only_what_is_closed() -> None:
    merge = Merge()
    merge.write({(0, 0): 1.0})
    state = loaded(merge)
    assert state.apply(merge.close(1_000)) is Verdict.applied
    assert (state.version, state.closed) == (1, 1_000)
    assert state.apply(merge.close(500)) is Verdict.known


def test_that_a_view_is_filled_is_taken_from_a_message_of_its_own_and_from_history() -> None:
    merge = Merge()
    merge.write({(0, 0): 1.0})
    state = loaded(merge)
    assert state.apply(merge.fill(WINDOW)) is Verdict.applied
    assert state.apply(merge.fill(WINDOW)) is Verdict.known
    assert state.filled == loaded(merge).filled == WINDOW
    late = merge.fill(EVERY)
    state.apply(merge.write({(0, 0): 2.0}))
    assert state.apply(late) is Verdict.known, "it says what was"
    assert state.filled == WINDOW
    assert state.load(Merge("e2", 1).history(), -1)
    assert state.filled == 0, "another epoch has to be filled anew"


def test_how_new_the_newest_sample_is_comes_with_messages_and_from_history_and_never_goes_back() -> None:
    merge = Merge(sampled=1_200)
    merge.write({(1_000, 0): 1.0})
    state = loaded(merge)
    assert state.sampled == 1_200
    merge.sampled = 1_700
    first, read = merge.write({(1_000, 0): 2.0}), merge.history()
    merge.sampled = 3_900
    state.apply(first)
    assert state.sampled == 1_700
    state.apply(merge.write({(1_000, 1): 2.0}))
    assert state.sampled == 2_000, "no bucket shows a sample after its end"
    state.apply(merge.write({(3_000, 1): 2.0}))
    assert state.sampled == 3_900
    assert state.load(read, 0)
    assert state.sampled == 3_900, "what was read late is older"
    merge.sampled = 3_000
    state.apply(merge.write({(3_000, 0): 2.0}))
    assert state.sampled == 3_900
    assert state.load(Merge("e2", 1, sampled=100).history(), -1)
    assert state.sampled == 0, "another epoch, which has no cell yet"


def test_where_an_older_version_merges_samples_are_as_new_as_their_arrival_until_it_is_said_again() -> None:
    merge = Merge(sampled=3_100)
    merge.write({(3_000, 0): 1.0})
    state = loaded(merge)
    merge.sampled = 0
    state.apply(msgspec.structs.replace(merge.write({(3_000, 0): 2.0}), newest=3_600))
    assert state.sampled == 3_600
    assert state.load(replace(merge.history(), newest=3_700), 0)
    assert state.sampled == 3_700
    merge.sampled = 3_200
    state.apply(msgspec.structs.replace(merge.write({(3_000, 0): 3.0}), newest=3_800))
    assert state.sampled == 3_200


def test_what_was_read_late_does_not_undo_what_was_heard_since() -> None:
    merge = Merge()
    merge.write({(0, 0): 1.0})
    state = loaded(merge)
    read = merge.history(0)
    state.apply(merge.write({(0, 0): 2.0}))
    assert state.load(read, 0)
    assert table(state.cells(0)) == {0: {0: 2.0}}
    assert state.version == 2


def test_another_epoch_has_to_be_read_whole_and_takes_the_place_of_the_old_one() -> None:
    merge = Merge()
    merge.write({(0, 0): 1.0, (0, 1): 1.0})
    state = loaded(merge)
    other = Merge(epoch="e2", version=7)
    assert state.apply(other.write({(1_000, 0): 5.0})) is Verdict.other_epoch
    assert table(state.cells(0)) == merge.table(), "the old values stay until the new ones are there"
    assert not state.load(other.history(3), 3)
    assert state.load(other.history(), -1)
    assert table(state.cells(0)) == other.table()
    assert (state.epoch, state.groups) == ("e2", {0: {"cpu": "0"}})


def test_cells_older_than_the_window_are_forgotten() -> None:
    merge = Merge()
    merge.write({(at * EVERY, 0): at for at in range(100)})
    state = loaded(merge)
    state.trim(100_000)
    assert state.starts()[0] == 40_000
    assert [cells.start for cells in state.changed_after(0)] == state.starts()
    assert state.cells(90_500)[0].start == 90_000, "the bucket in which a shorter window begins is there"


def test_trimming_costs_nothing_when_it_was_done_just_now() -> None:
    merge = Merge()
    merge.write({(0, 0): 1.0})
    state = loaded(merge)
    state.trim(10_000)
    state.apply(merge.write({(1_000, 0): 1.0}))
    state.trim(10_900)
    assert state.starts() == [0, 1_000]


@pytest.mark.parametrize(
    "cells",
    [Cells(0, [0, 1], [1.0]), Cells(0, [-1, 1], [1.0, 1.0]), Cells(0, [0, 2**40], [1.0, 1.0])],
    ids=["a value too few", "a group below", "a group above"],
)
def test_cells_that_cannot_be_are_refused_and_the_others_stay(cells: Cells) -> None:
    merge = Merge()
    state = loaded(merge)
    for _ in range(2):
        state.apply(merge.write({(0, 0): 1.0, (0, 1): 2.0}))
    before = table(state.cells(0))
    with pytest.raises(ValueError, match="cells"):
        state.apply(msgspec.structs.replace(merge.write({(0, 0): 5.0}), cells=[cells]))
    assert table(state.cells(0)) == before
    assert table(state.changed_after(0)) == before


def test_a_bucket_that_was_forgotten_while_it_was_written_begins_empty() -> None:
    merge = Merge()
    state = loaded(merge)
    state.apply(merge.write({(0, 0): 1.0, (0, 1): 1.0}))
    state.trim(100_000)
    state.apply(merge.write({(0, 1): 2.0}))
    assert table(state.cells(0)) == {0: {1: 2.0}}


@steady()
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([(0, 1, 2), (0, 1), (2, 1, 0)])), min_size=1, max_size=20))
def test_buckets_that_are_written_whole_again_and_again_are_what_was_written_last(
    writes: list[tuple[int, tuple[int, ...]]],
) -> None:
    merge = Merge()
    state = loaded(merge)
    for number, (bucket, groups) in enumerate(writes):
        state.apply(merge.write({(bucket * EVERY, group): float(number) for group in groups}))
    assert table(state.cells(0)) == merge.table()
    for version in range(len(writes)):
        assert table(state.changed_after(version)) == merge.table(version)
    for start in state.starts():
        rows = state.rows(start)
        found = {int(group): float(value) for group, value in zip(rows["group"], rows["value"], strict=True)}
        assert found == merge.table()[start]


@steady()
@given(st.lists(values, max_size=12), st.integers(0, 14), st.data())
def test_what_changed_after_any_version_is_exactly_what_later_versions_wrote(
    writes: list[dict[tuple[int, int], float]], version: int, data: st.DataObject
) -> None:
    merge, state = Merge(), ViewState(EVERY, WINDOW)
    read_at = data.draw(st.integers(0, len(writes)))
    for at, write in enumerate(writes):
        change = merge.write(write)
        if at == read_at:
            assert state.load(merge.history(), -1)
        elif at > read_at:
            assert state.apply(change) is Verdict.applied
    if state.version:
        assert table(state.changed_after(version)) == merge.table(version)
        new = {group.number for group in state.groups_after(version)}
        assert new >= {group for group, born in merge.groups.items() if born > version}
        assert new <= set(merge.groups)


deliveries = st.lists(
    st.one_of(
        st.tuples(st.just("write"), values, st.integers(0, 6_000)),
        st.tuples(st.just("close"), st.integers(0, 6_000)),
        st.tuples(st.just("epoch")),
        st.tuples(st.just("deliver"), st.integers(0, 30)),
        st.tuples(st.just("lose"), st.integers(0, 30)),
        st.tuples(st.just("repeat"), st.integers(0, 30)),
        st.tuples(st.just("slow read")),
    ),
    max_size=40,
)


@steady(300)
@given(deliveries)
def test_whatever_is_lost_repeated_or_late_the_state_is_the_truth_once_the_last_change_was_heard(
    steps: list[tuple[object, ...]],
) -> None:
    """The messages of a channel in any order, with a reader that does as the verdicts say, against the merge's own table."""
    merge, state = Merge(), ViewState(EVERY, WINDOW)
    on_their_way: list[Change] = []
    delivered: list[Change] = []
    epochs = 1

    def read(history_of: Merge) -> None:
        after = state.version if history_of.epoch == state.epoch else -1
        assert state.load(history_of.history(after), after)

    def hear(change: Change) -> None:
        delivered.append(change)
        before = state.version
        verdict = state.apply(change)
        assert state.version >= before
        if verdict in (Verdict.gap, Verdict.other_epoch):
            read(merge)

    read(merge)
    for step in steps:
        match step:
            case ("write", dict() as write, int() as closed):
                on_their_way.append(merge.write(write, closed))
            case ("close", int() as closed):
                on_their_way.append(merge.close(closed))
            case ("epoch",):
                epochs += 1
                merge = Merge(epoch=f"e{epochs}", version=merge.version + 1_000)
            case ("deliver", int() as which) if on_their_way:
                hear(on_their_way.pop(which % len(on_their_way)))
            case ("lose", int() as which) if on_their_way:
                on_their_way.pop(which % len(on_their_way))
            case ("repeat", int() as which) if delivered:
                hear(delivered[which % len(delivered)])
            case ("slow read",):
                old, after = merge.history(state.version), state.version
                if on_their_way:
                    hear(on_their_way.pop())
                if old.epoch == state.epoch:
                    assert state.load(old, after)
    hear(merge.write({(0, 0): 1.0}, closed=7_000))
    assert (state.epoch, state.version, state.closed) == (merge.epoch, merge.version, merge.closed)
    assert table(state.cells(-EVERY)) == merge.table()
    assert set(state.groups) == set(merge.groups)


@pytest.mark.parametrize("order", [[3, 1, 2], [2, 1], [1, 3, 2]])
def test_groups_in_any_order_are_kept_apart(order: list[int]) -> None:
    merge = Merge()
    state = ViewState(EVERY, WINDOW)
    state.load(merge.history(), -1)
    change = merge.write({(0, group): group * 1.5 for group in order})
    merge2 = merge.write({(0, 0): 0.0, (0, order[0]): -1.0})
    assert state.apply(change) is Verdict.applied
    assert state.apply(merge2) is Verdict.applied
    assert table(state.cells(0)) == merge.table()


def test_notes_come_with_the_history_or_by_themselves_and_older_ones_change_nothing() -> None:
    merge, state = Merge(), ViewState(EVERY, WINDOW)
    merge.write({(0, 0): 1.0})
    merge.note(Notes(at=5, late=1))
    state.load(merge.history(), -1)
    assert state.notes == Notes(at=5, late=1)
    assert state.apply(merge.note(Notes(at=9, late=3))) is Verdict.applied
    assert state.apply(merge.note(Notes(at=7, late=2))) is Verdict.known
    assert state.notes.late == 3
    assert state.apply(merge.note(Notes(at=12))) is Verdict.applied
    assert state.notes == Notes(at=12)
