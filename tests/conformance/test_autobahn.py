"""Every case of the Autobahn list has a test of ours, and pytest runs it."""

import subprocess
import sys

import pytest

from tests.conformance.autobahn import COUNTS, COVERED
from tests.servers import ROOT

FOLDER = "tests/conformance/"


@pytest.fixture(scope="module")
def collected() -> dict[str, set[str]]:
    """What pytest runs in this folder when nothing is chosen: test -> its ids."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", FOLDER]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tests: dict[str, set[str]] = {}
    for line in found.splitlines():
        if line.startswith(FOLDER):
            test, _, id_ = line.removeprefix(FOLDER).partition("[")
            tests.setdefault(test, set()).add(id_.removesuffix("]"))
    return tests


def test_every_case_is_covered_and_none_is_made_up() -> None:
    cases = {f"{group}.{n}" for group, count in COUNTS.items() for n in range(1, count + 1)}
    assert len(cases) == 517
    assert COVERED.keys() == cases


def test_what_covers_a_case_is_run(collected: dict[str, set[str]]) -> None:
    lost = {
        case: (test, id_)
        for case, (test, id_) in COVERED.items()
        if not any(id_ == run or run.startswith(f"{id_}-") or run.endswith(f"-{id_}") for run in collected.get(test, ()))
    }
    assert lost == {}


def test_nothing_in_this_folder_is_left_out_when_it_runs() -> None:
    """A mark that skips a test would make the table a lie."""
    for module in (ROOT / FOLDER).glob("test_*.py"):
        text = module.read_text()
        assert module.name == "test_autobahn.py" or not any(word in text for word in ("mark.skip", "pytest.skip", "xfail")), (
            module.name
        )
