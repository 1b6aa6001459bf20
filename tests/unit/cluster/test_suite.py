"""The suite's end: whatever happens, the cluster is taken down, and what is left of it is a failure."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cluster import lifecycle, sandbox, suite
from tests.cluster.plan import Plan
from tests.cluster.sandbox import Process, Sandbox

BOX = Sandbox(Plan("test-1", Path("/somewhere/test-1"), 2), Process(2**22 + 1, 1), Process(2**22 + 2, 1))


class World:
    """codes: what pytest ends with, inside and then outside."""

    def __init__(self) -> None:
        self.codes = [0, 0]
        self.left: list[str] = []
        self.done: list[str] = []

    def pytest(self, prefix: Sequence[str], words: Sequence[str], _: object = None) -> int:
        where = "inside" if prefix else "outside"
        self.done.append(f"pytest {where} {' '.join(words)}")
        return self.codes.pop(0)

    def up(self, name: str, count: int, *, tied: bool) -> Sandbox:
        self.done.append(f"up {count} tied={tied}")
        return BOX

    def down(self, plan: Plan, *, keep_logs: bool) -> None:
        self.done.append(f"down keep_logs={keep_logs}")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.delenv("TIDEBOARD_TEST_CLUSTER", raising=False)
    monkeypatch.setattr(lifecycle, "refuse_where_it_cannot_be", lambda: None)
    monkeypatch.setattr(lifecycle, "sweep", lambda: None)
    monkeypatch.setattr(lifecycle, "up", found.up)
    monkeypatch.setattr(lifecycle, "down", found.down)
    monkeypatch.setattr(sandbox, "left_behind", lambda plan: found.left)
    monkeypatch.setattr(suite, "archives", list)
    monkeypatch.setattr(suite, "_pytest", found.pytest)
    return found


def test_everything_runs_inside_and_then_outside(world: World) -> None:
    assert suite.run("", 2, []) == 0
    assert world.done == [
        "up 2 tied=True",
        "pytest inside tests/cluster --ignore=tests/cluster/outside",
        "down keep_logs=False",
        "pytest outside tests/cluster/outside",
    ]


def test_what_is_named_runs_alone(world: World) -> None:
    assert suite.run("", 1, ["tests/cluster/test_sandbox.py"]) == 0
    assert world.done == [
        "up 1 tied=True",
        "pytest inside --ignore=tests/cluster/outside tests/cluster/test_sandbox.py",
        "down keep_logs=False",
    ]


def test_a_failure_is_told_and_its_logs_are_kept(world: World) -> None:
    world.codes[0] = 1
    assert suite.run("", 2, []) == 1
    assert "down keep_logs=True" in world.done


def test_a_failure_outside_is_told(world: World) -> None:
    world.codes[1] = 3
    assert suite.run("", 2, []) == 3


def test_a_trace_is_a_failure_and_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.left = ["the cgroup /sys/fs/cgroup/cpu/tideboard-test-1"]
    assert suite.run("", 2, []) == 1
    assert "left behind: the cgroup" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_who_stops_it_leaves_no_cluster(
    world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, error: type[BaseException]
) -> None:
    monkeypatch.setattr(suite, "_pytest", lambda *_: signal.raise_signal(number))
    with pytest.raises(error):
        suite.run("", 2, [])
    assert world.done[-1] == "down keep_logs=True"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("words", [["-v", "--durations=9"], ["-k", "policy"]], ids=" ".join)
def test_words_that_name_no_test_are_told_to_both(world: World, words: list[str]) -> None:
    world.codes = [0, 5]  # none of those outside was chosen
    assert suite.run("", 2, words) == 0
    said = " ".join(words)
    assert world.done[1] == f"pytest inside tests/cluster --ignore=tests/cluster/outside {said}"
    assert world.done[3] == f"pytest outside tests/cluster/outside {said}"


def test_what_sweeps_up_after_others_does_not_run_inside_of_one_though_its_folder_is_named(world: World) -> None:
    assert suite.run("", 2, ["tests/cluster", "-v"]) == 0
    assert world.done[1:3] == ["pytest inside --ignore=tests/cluster/outside tests/cluster -v", "down keep_logs=False"]
