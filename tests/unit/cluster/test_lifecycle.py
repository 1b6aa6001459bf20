"""Where a cluster cannot be, one sentence says so, and nothing is begun."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cluster import lifecycle, suite
from tests.cluster.daemons import DaemonError, runs
from tests.cluster.plan import Plan
from tools import verbs
from tools.steps import ROOT


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that could have one."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")


@pytest.mark.usefixtures("able")
def test_linux_and_root_and_the_programs_are_enough() -> None:
    lifecycle.refuse_where_it_cannot_be()


@pytest.mark.usefixtures("able")
def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DaemonError, match="needs Linux"):
        lifecycle.refuse_where_it_cannot_be()


@pytest.mark.usefixtures("able")
def test_another_user_than_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(DaemonError, match="needs root"):
        lifecycle.refuse_where_it_cannot_be()


@pytest.mark.usefixtures("able")
def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None if program == "ipset" else f"/bin/{program}")
    with pytest.raises(DaemonError, match="needs ipset:"):
        lifecycle.refuse_where_it_cannot_be()


def test_the_verb_sets_nothing_up_where_it_is_in_vain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.delenv("TIDEBOARD_TEST_CLUSTER", raising=False)
    monkeypatch.setattr("tools.machine.set_up", lambda *_: pytest.fail("something is set up"))
    assert verbs.main(["test-cluster"]) != 0
    assert capsys.readouterr().err.count("\n") == 1


def test_another_cluster_is_tested_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setenv("TIDEBOARD_TEST_CLUSTER", "external")
    monkeypatch.setattr(lifecycle, "up", lambda *_, **__: pytest.fail("a cluster is started"))

    def pytest_ends_with_five(prefix: Sequence[str], words: Sequence[str]) -> int:
        asked.append([*prefix, *words])
        return 5

    monkeypatch.setattr(suite, "_pytest", pytest_ends_with_five)
    assert suite.run("", 2, ["-k", "something"]) == 5
    assert asked == [["tests/cluster", "--ignore=tests/cluster/outside", "-k", "something"]]


def test_a_cluster_that_does_not_run_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DaemonError, match="there is no cluster nobody"):
        lifecycle.found("nobody")
    home = lifecycle.home_of("dead")
    home.mkdir(parents=True)
    (home / "plan.json").write_text(Plan("dead", home, 1).written())
    with pytest.raises(DaemonError, match="does not run"):
        lifecycle.found("dead")
    assert lifecycle.running() == []


FILLS = """
import pathlib, sys
from tests.cluster import lifecycle
with lifecycle._claimed(pathlib.Path(sys.argv[1])):
    (pathlib.Path(sys.argv[1]) / "plan.json").touch()
    print("begun", flush=True)
    input()
"""


def test_what_was_killed_before_there_was_a_sandbox_is_swept_and_not_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    home = lifecycle.home_of("lost")
    beside = lifecycle.home_of("lost-2")
    with (
        begun([sys.executable, "-c", FILLS, str(home)]) as starter,
        begun(sandbox_of(home)) as lost,
        begun(sandbox_of(beside)) as other,
    ):
        lifecycle.sweep()
        assert home.exists(), "its starter still cares for it"
        with pytest.raises(DaemonError, match="there is a cluster lost already"), lifecycle._claimed(home):
            pass
        starter.kill()
        starter.wait()
        lifecycle.sweep()
        assert not home.exists()
        assert [runs(process.pid) for process in (lost, other)] == [False, True]


def sandbox_of(home: Path) -> list[str]:
    """Called as the first process of a sandbox is."""
    return [sys.executable, "-c", "print('begun', flush=True); input()", "-m", "tests.cluster.machine", str(home), "1"]


@contextlib.contextmanager
def begun(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it has begun."""
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        yield process
