"""Which of the cluster's tests somebody else's cluster gets: those that connect to nothing in it, as docs/test-cluster.md lists them."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.unit.deploy.exported import ROOT

TESTS: Final = sorted((ROOT / "tests" / "cluster").glob("test_*.py"))
INSIDE: Final = re.compile(r"\.(url|address)\(|\bhall\(|\bcontainers\.")
"""What asks for an address that leads somewhere inside of the cluster's network only."""


def of_the_sandbox(path: Path) -> bool:
    """Whether all tests of the file are marked so."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            return "pytest.mark.sandbox" in ast.unparse(node.value)
    return False


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_who_connects_to_services_and_pods_is_of_the_sandbox(path: Path) -> None:
    assert of_the_sandbox(path) or not INSIDE.search(path.read_text(encoding="utf-8"))


def test_the_page_lists_what_is_left() -> None:
    page = (ROOT / "docs" / "test-cluster.md").read_text(encoding="utf-8")
    section = page.partition("\n## Another cluster\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(test_\w+\.py)`", section)) == {path.name for path in TESTS if not of_the_sandbox(path)}
