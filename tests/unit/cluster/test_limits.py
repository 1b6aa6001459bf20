"""Room for a cluster: made where there is too little, put back when the last one is gone."""

import ctypes
import os
from pathlib import Path

import pytest

from tests.cluster import limits
from tests.cluster.daemons import DaemonError


@pytest.fixture
def knob(tmp_path: Path) -> Path:
    path = tmp_path / "max_user_instances"
    path.write_text("128")
    return path


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "clusters" / "inotify"


def test_where_there_is_room_nothing_is_changed(knob: Path, record: Path) -> None:
    limits.make_room(2, 0, record, knob)
    assert knob.read_text() == "128"
    assert not record.exists()


def test_room_is_made_for_all_that_is_needed(knob: Path, record: Path) -> None:
    limits.make_room(2, 120, record, knob)
    assert int(knob.read_text()) >= 120 + limits.needed(2)


def test_what_was_there_first_is_put_back_when_the_last_one_is_gone(knob: Path, record: Path) -> None:
    limits.make_room(2, 120, record, knob)
    limits.make_room(2, int(knob.read_text()), record, knob)
    raised = knob.read_text()
    limits.give_back(record, others=True, knob=knob)
    assert knob.read_text() == raised
    limits.give_back(record, others=False, knob=knob)
    assert knob.read_text() == "128"
    knob.write_text("64")  # by somebody else, later
    limits.give_back(record, others=False, knob=knob)
    assert knob.read_text() == "64"


def test_where_it_may_not_be_changed_the_shortage_is_told(knob: Path, record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(DaemonError, match=r"8 of 128 are free.*fs\.inotify\.max_user_instances"):
        limits.make_room(2, 120, record, knob)


def test_every_node_needs_some_more() -> None:
    assert limits.needed(0) < limits.needed(1) < limits.needed(2)


def test_an_instance_of_our_own_is_counted() -> None:
    descriptor = ctypes.CDLL(None).inotify_init1(0)
    assert descriptor >= 0
    try:
        assert limits.used() >= 1
    finally:
        os.close(descriptor)
