"""The harness tested: copies of the services, each with one guard taken out. A run of each must find something wrong.

The product has no switches for this: a mutant is a copy of the tree in a temporary folder with texts replaced, and a text that is not there
exactly once is an error, so that a mutant cannot silently become the product.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers import ROOT


@dataclass(frozen=True)
class Mutant:
    """file: below services/. faults: what the run does to it."""

    name: str
    file: str
    replaced: str
    by: str
    faults: tuple[str, ...]


_COMPARED: Final = "if (held[1] or '') ~= ARGV[1] or (held[2] or '') ~= ARGV[2] or (held[3] or '') ~= ARGV[11] then"

MUTANTS: Final = (
    Mutant(
        "the compare-and-set off",
        "transport/partials.py",
        _COMPARED,
        "if false then",
        ("aggregator_sleep", "feed_failover"),
    ),
    Mutant(
        "the selections' hash and the stamp left out of it",
        "transport/partials.py",
        _COMPARED,
        "if (held[1] or '') ~= ARGV[1] then",
        ("yesterdays_dashboards",),
    ),
    Mutant(
        "an offset one too high",
        "aggregator/folding.py",
        "self._reader.assign({partition: slot.fold.offset for partition, slot in self.slots.items()})",
        "self._reader.assign({partition: slot.fold.offset + 1 for partition, slot in self.slots.items()})",
        ("aggregator_restart", "aggregator_kill"),
    ),
    Mutant(
        "one published message dropped",
        "transport/history.py",
        "redis.call('PUBLISH', ARGV[at], ARGV[at + 1])",
        "if redis.call('HINCRBY', meta, 'told', 1) ~= 20 then redis.call('PUBLISH', ARGV[at], ARGV[at + 1]) end",
        ("aggregator_restart",),
    ),
)


def grow(mutant: Mutant, folder: Path) -> Path:
    """The mutant's tree: the services with its text replaced."""
    tree = folder / "mutant"
    shutil.copytree(ROOT / "services", tree / "services", ignore=shutil.ignore_patterns("__pycache__"))
    path = tree / "services" / mutant.file
    text = path.read_text()
    assert text.count(mutant.replaced) == 1, f"{mutant.name}: {mutant.file} has its text {text.count(mutant.replaced)} times"
    path.write_text(text.replace(mutant.replaced, mutant.by))
    return tree
