"""Mutants still fit the product: each of their texts is in it once. Whether runs find them out is `make chaos ARGS=--mutants`."""

from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, Mutant, grow
from tests.servers import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_the_product_but_for_one_text(mutant: Mutant, tmp_path: Path) -> None:
    tree = grow(mutant, tmp_path)
    paths = {path.relative_to(ROOT) for path in (ROOT / "services").rglob("*.py")}
    differ = [path for path in paths if (tree / path).read_text() != (ROOT / path).read_text()]
    assert differ == [Path("services") / mutant.file]
