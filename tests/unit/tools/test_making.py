"""Folders of the cache: made once, whole or not at all, and nothing is left of who was killed."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.making import whole
from tools.steps import ROOT


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_is_made_once_also_for_who_comes_meanwhile(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "program").write_text("it")

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: whole(tmp_path / "cache" / "it", make), range(4)))
    assert found == {tmp_path / "cache" / "it"}
    assert len(made) == 1
    assert (tmp_path / "cache" / "it" / "program").read_text() == "it"
    assert names(tmp_path / "cache") == {"it"}


def test_what_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        whole(tmp_path / "it", fail)
    assert names(tmp_path) == set()


KILLED = "import pathlib, sys, time; from tools.making import whole; whole(pathlib.Path(sys.argv[1]), lambda made: print(made, flush=True) or time.sleep(60))"


def test_what_one_that_was_killed_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "it")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        half = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
    assert half.is_dir()
    whole(tmp_path / "another", lambda folder: None)
    assert names(tmp_path) == {"another"}
