"""Daemons by their numbers: started, seen, ended, and what they said last."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.daemons import DaemonError, Daemons, runs
from tests.cluster.plan import Plan
from tests.cluster.sandbox import Process

SLEEPS = [sys.executable, "-c", "print('begun', flush=True); import signal; signal.pause()"]


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    plan = Plan("mine", tmp_path, 0)
    plan.logs.mkdir()
    found = Daemons(plan)
    yield found
    if found.alive("sleeper"):
        found.end("sleeper", signal.SIGKILL)


def test_a_daemon_runs_until_it_is_ended(daemons: Daemons) -> None:
    daemons.start("sleeper", SLEEPS)
    assert daemons.alive("sleeper")
    daemons.check("sleeper")
    daemons.end("sleeper")
    assert not daemons.alive("sleeper")


def test_another_process_finds_it_by_its_recorded_number(daemons: Daemons, tmp_path: Path) -> None:
    daemons.start("sleeper", SLEEPS)
    other = Daemons(Plan("mine", tmp_path, 0))
    assert other.pid("sleeper") == daemons.pid("sleeper")
    assert other.alive("sleeper")


def test_one_that_has_ended_is_told_with_its_last_words(daemons: Daemons) -> None:
    daemons.start("sleeper", [sys.executable, "-c", "import sys; sys.exit('no such flag')"])
    os.waitid(os.P_PID, daemons.pid("sleeper"), os.WEXITED | os.WNOWAIT)
    with pytest.raises(DaemonError, match="no such flag"):
        daemons.check("sleeper")


def test_one_that_was_never_started_does_not_run(daemons: Daemons) -> None:
    assert not daemons.alive("stranger")


def test_no_setting_of_ours_reaches_a_daemon(daemons: Daemons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("KUBECONFIG", "/somebody/elses")
    daemons.start("sleeper", [sys.executable, "-c", "import os; print(sorted(os.environ))"])
    os.waitid(os.P_PID, daemons.pid("sleeper"), os.WEXITED | os.WNOWAIT)
    said = daemons.last_words("sleeper")
    assert "HTTPS_PROXY" not in said
    assert "KUBECONFIG" not in said


def test_a_process_with_the_same_number_is_not_the_same_process() -> None:
    own = Process.of(os.getpid())
    assert own.alive
    assert not Process(own.pid, own.start + 1).alive


def test_what_has_ended_is_buried_by_asking() -> None:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not runs(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
