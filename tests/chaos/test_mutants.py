"""Mutants still fit the product: each of their texts is in it once. Whether runs find them out is `make chaos ARGS=--mutants`."""

from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, Mutant, grow
from tests.chaos.outcome import MEANINGS, Outcome
from tests.servers import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_the_product_but_for_one_text(mutant: Mutant, tmp_path: Path) -> None:
    tree = grow(mutant, tmp_path)
    paths = {path.relative_to(ROOT) for path in (ROOT / "services").rglob("*.py")}
    differ = [path for path in paths if (tree / path).read_text() != (ROOT / path).read_text()]
    assert differ == [Path("services") / mutant.file]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_that_only_crashes_is_not_found_out(mutant: Mutant) -> None:
    outcome = Outcome(1, "kafka", 1.0)
    for kind in MEANINGS.keys() - set(mutant.kinds):
        outcome.found(kind, ["something"])
    assert outcome.wrong
    assert not mutant.is_found_by(outcome)
    outcome.wrong.clear()
    for kind in mutant.kinds:
        outcome.found(kind, ["something"])
    assert mutant.is_found_by(outcome)
    outcome.found("settle", ["partition 1 is folded up to 1, the log ends at 415"])
    assert not mutant.is_found_by(outcome)


def test_what_the_batch_job_doubts_of_itself_is_no_wrong_cell() -> None:
    outcome = Outcome(1, "kafka", 1.0)
    outcome.found("job", ["the sketch says 1, the samples 2"])
    outcome.found("cells", ["a", "b", "a"])
    assert (outcome.wrong_cells, len(outcome.wrong)) == (2, 3)
