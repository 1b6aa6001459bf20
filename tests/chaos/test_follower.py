"""The subscriber by the documented protocol, and the judge of a channel."""

import msgspec
import numpy as np

from services.contract.history import ROW, Cells, Change, NewGroup, ViewHistory
from services.contract.terms import Term, Terms
from tests.chaos.follower import Follower, Judge, difference


def change(prev: int, version: int, cells: dict[int, float | None] | None = None, epoch: str = "e") -> Change:
    """One message. cells: bucket -> value of group 0."""
    columns = [Cells(bucket, [0], [value]) for bucket, value in (cells or {}).items()]
    groups = [NewGroup(0, {"a": "b"})] if version > prev else []
    return Change(1, epoch, prev, version, 0, 0, 0, groups, columns)


def history(version: int, cells: dict[int, float], epoch: str = "e", terms: Terms = ()) -> ViewHistory:
    rows = {bucket: np.array([(0, version, value)], ROW) for bucket, value in cells.items()}
    return ViewHistory(epoch, version, 0, 0, {0: {"a": "b"}}, rows, {}, terms=terms)


def test_a_follower_applies_what_joins_on_and_asks_for_history_at_a_gap() -> None:
    follower = Follower()
    assert follower.take(change(0, 5, {10: 1.0})) == "epoch"
    assert follower.read(history(5, {10: 1.0}), -1)
    assert follower.take(change(5, 6, {20: 2.0})) == "applied"
    assert follower.take(change(5, 6, {20: 9.0})) == "known"
    assert follower.take(change(7, 8, {30: 3.0})) == "gap"
    assert follower.read(history(8, {30: 3.0}), 6)
    assert difference(follower, history(8, {10: 1.0, 20: 2.0, 30: 3.0}), 0) == []


def test_a_cell_without_a_value_is_no_cell() -> None:
    follower = Follower()
    follower.read(history(5, {10: 1.0}), -1)
    follower.take(change(5, 6, {10: None}))
    assert difference(follower, history(6, {10: float("nan")}), 0) == []


def test_a_history_of_another_epoch_or_from_before_is_read_whole() -> None:
    follower = Follower()
    follower.read(history(5, {10: 1.0}), -1)
    assert not follower.read(history(7, {}, "other"), 5)
    assert not follower.read(history(4, {}), 5)
    assert follower.read(history(4, {20: 2.0}), -1)
    assert difference(follower, history(4, {20: 2.0}), 0) == []


def test_what_was_lost_is_not_gone_on_from() -> None:
    follower = Follower()
    follower.read(history(5_001, {10: 1.0}), -1)
    assert follower.take(change(4_001, 7_002, {20: 2.0})) == "forked"
    assert not follower.read(history(7_002, {20: 2.0}, terms=(Term(1_001, 4_001), Term(7_002))), follower.after)
    assert follower.read(history(7_002, {20: 2.0}), -1)
    assert difference(follower, history(7_002, {20: 2.0}), 0) == []


def test_what_differs_is_told_but_for_what_has_left_the_window() -> None:
    follower = Follower()
    follower.read(history(5, {10: 1.0, 20: 2.0}), -1)
    assert difference(follower, history(5, {20: 2.0}), oldest=10) == []
    assert len(difference(follower, history(5, {20: 2.0}), oldest=9)) == 1
    assert len(difference(follower, history(5, {10: 1.0, 20: 3.0}), oldest=0)) == 1
    assert len(difference(follower, history(6, {10: 1.0, 20: 2.0}), oldest=0)) == 1


def judged(*heard: Change | None) -> list[str]:
    """None: another connection."""
    judge = Judge("v")
    for item in heard:
        judge.connected() if item is None else judge.hear(item)
    return judge.faults


def test_a_chain_without_a_hole_is_right_and_so_is_one_that_a_lost_connection_broke() -> None:
    assert judged(change(0, 5), change(5, 6), change(6, 6), change(6, 9)) == []
    assert judged(change(0, 5), None, change(7, 9)) == []
    assert judged(change(0, 5), change(0, 6, epoch="other"), change(6, 7, epoch="other")) == []


def test_what_moves_no_version_tells_of_no_group() -> None:
    told = Change(1, "e", 5, 5, 0, 0, 0, [NewGroup(1, {"a": "c"})], [])
    assert judged(change(0, 5), told) == ["view v: tells of new groups and stays at 5"]


def test_versions_grow_within_an_epoch_and_another_one_may_begin_below_the_last() -> None:
    assert judged(change(0, 9), change(0, 6, epoch="other"), change(6, 7, epoch="other")) == []
    assert judged(change(0, 9), change(0, 6, epoch="other"), None, change(9, 12)) == []
    assert "published before" in judged(change(0, 9), change(0, 6, epoch="other"), None, change(7, 8))[0]


def test_a_message_that_is_missing_on_one_connection_is_found() -> None:
    assert "is missing" in judged(change(0, 5), change(6, 7))[0]


def test_a_newest_sample_that_gets_older_is_found_where_it_is_said() -> None:
    chain = [change(0, 5), change(5, 6), change(6, 6)]
    for first, second, third, faults in ((7, 7, 8, 0), (7, 0, 8, 0), (0, 8, 8, 0), (7, 6, 7, 1), (7, 8, 7, 1)):
        heard = [msgspec.structs.replace(item, sampled=at) for item, at in zip(chain, (first, second, third), strict=True)]
        assert len(judged(*heard)) == faults
        assert judged(*(step for item in heard for step in (item, None))) == []


def test_a_version_that_comes_back_is_found() -> None:
    assert "published before" in judged(change(0, 5), None, change(3, 4))[0]
    assert "back to" in judged(change(6, 5))[0]


def test_cells_that_change_without_a_version_are_found() -> None:
    assert "changes cells" in judged(change(5, 5, {10: 1.0}))[0]
