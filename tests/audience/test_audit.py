"""The audit of viewers: what it passes, and that nothing wrong passes."""

import json
from typing import Any

from services.contract.history import Cells as CellsOfBucket
from services.contract.history import Change
from tests.audience.audit import audit, holes
from tests.audience.truth import Truth
from tests.audience.viewer import Cells, Viewer, understand

VIEW = "v"
HISTORY: dict[str, dict[int, Cells]] = {
    VIEW: {10: {(1_000, 0): 1.0}, 11: {(1_000, 0): 1.0, (2_000, 0): 2.0}, 12: {(1_000, 0): 1.5, (2_000, 0): 2.0}, 13: {(2_000, 0): 2.0}}
}  # fmt: skip


def snapshot(version: int, *cells: list[Any]) -> bytes:
    views = [{"id": VIEW, "cells": cells}]
    return json.dumps({"type": "snapshot", "epoch": "e", "versions": {VIEW: version}, "views": views}).encode()


def delta(from_: int, to: int, *cells: list[Any], epoch: str = "e") -> bytes:
    return json.dumps({"type": "delta", "epoch": epoch, "views": [[0, from_, to, 0, [], cells]]}).encode()


BEGIN = snapshot(10, [1_000, [0], [1.0]])
TO_11 = delta(10, 11, [2_000, [0], [2.0]])
TO_12 = delta(11, 12, [1_000, [0], [1.5]])
TO_13 = delta(12, 13, [1_000, [0], [None]])


def watched(*frames: bytes, **mutations: int) -> Viewer:
    viewer = Viewer(**mutations)  # type: ignore[arg-type]
    for frame in frames:
        viewer.take(understand(frame))
    return viewer


def faults(viewer: Viewer) -> list[str]:
    return audit([viewer], HISTORY)


def test_who_reads_every_frame_is_right_at_every_version() -> None:
    frames = [BEGIN, TO_11, TO_12, TO_13]
    for read in range(1, 5):
        assert faults(watched(*frames[:read])) == []


def test_frames_twice_and_frames_of_before_do_no_harm() -> None:
    assert faults(watched(BEGIN, TO_11, TO_11, TO_12, TO_11, delta(10, 12, [1_000, [0], [1.5]], [2_000, [0], [2.0]]))) == []


def test_frames_of_another_epoch_and_signs_of_life_change_nothing() -> None:
    viewer = watched(BEGIN, delta(10, 11, [2_000, [0], [9.0]], epoch="other"), delta(0, 0, epoch=""))
    assert (viewer.versions, faults(viewer)) == ({VIEW: 10}, [])


def test_a_lost_frame_is_a_hole() -> None:
    assert any("goes from 11 on, and the viewer has 10" in fault for fault in faults(watched(BEGIN, TO_11, TO_12, lose=1)))


def test_lost_cells_are_seen_though_the_versions_are_right() -> None:
    viewer = watched(BEGIN, TO_11, TO_12, forge=1)
    assert viewer.versions == {VIEW: 12}
    assert any("cell (2000, 0): None instead of 2.0" in fault for fault in faults(viewer))


def test_a_cell_too_many_and_a_wrong_value_are_seen() -> None:
    assert any("9.0 instead of 2.0" in fault for fault in faults(watched(BEGIN, delta(10, 11, [2_000, [0], [9.0]]))))
    assert any("instead of None" in fault for fault in faults(watched(BEGIN, delta(10, 13, [2_000, [0], [2.0]]))))


def test_a_version_that_never_was_and_a_missing_view_are_seen() -> None:
    assert any("which the history never was" in fault for fault in faults(watched(snapshot(99))))
    assert any("instead of ['v']" in fault for fault in faults(watched()))


def test_a_gap_in_a_line_is_seen() -> None:
    cells: Cells = {(1_000, 0): 1.0, (2_000, 0): 1.0, (1_000, 1): 1.0, (3_000, 1): 1.0}
    assert holes(VIEW, cells, 1_000) == ["view v, group 1: nothing between 1000 and 3000"]


def test_errors_are_faults() -> None:
    refused = json.dumps({"type": "error", "code": "unknown_dashboard", "reason": "there is none"}).encode()
    assert any("unknown_dashboard" in fault for fault in faults(watched(BEGIN, refused)))


def change(prev: int, version: int, value: float, epoch: str = "e") -> Change:
    return Change(1, epoch, prev, version, 0, 0, 0, [], [CellsOfBucket(1_000, [0], [value])])


def test_the_truth_has_every_version_from_a_views_first_one_on() -> None:
    truth = Truth([VIEW])
    assert truth.hear(VIEW, change(0, 10, 1.0))
    assert truth.hear(VIEW, change(10, 11, 2.0))
    assert truth.at[VIEW] == {0: {}, 10: {(1_000, 0): 1.0}, 11: {(1_000, 0): 2.0}}


def test_the_truth_asks_for_the_history_where_it_has_missed_something() -> None:
    truth = Truth([VIEW])
    assert not truth.hear(VIEW, change(9, 10, 1.0))
    assert truth.hear(VIEW, change(0, 10, 1.0))
    assert not truth.hear(VIEW, change(11, 12, 1.0))
    assert not truth.hear(VIEW, change(0, 10, 1.0, epoch="another"))
