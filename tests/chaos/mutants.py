"""The harness tested: copies of the services, each with one guard taken out. A run of each must find what that guard guards.

First the product itself runs under the same plan, and nothing may be found. Then the mutant, and what is found must be of the kinds that it names:
one that only crashes, or does not settle, has not been found out.

The product has no switches for this: a mutant is a copy of the tree in a temporary folder with texts replaced, and a text that is not there
exactly once is an error, so that a mutant cannot silently become the product.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos.outcome import Kind, Outcome
from tests.servers import ROOT


@dataclass(frozen=True)
class Mutant:
    """file: below services/. faults: what the run does to it. by: what stands there instead. kinds: of findings, each of which must be there."""

    name: str
    file: str
    replaced: str
    by: str
    faults: tuple[str, ...]
    kinds: tuple[Kind, ...]

    def is_found_by(self, outcome: Outcome) -> bool:
        """What was not folded in time says nothing of cells: then only that it did not settle has been found."""
        return all(outcome.kinds[kind] for kind in self.kinds) and ("settle" in self.kinds or not outcome.kinds["settle"])


_COMPARED: Final = "if (held[1] or '') ~= ARGV[1] or (held[2] or '') ~= ARGV[2] or (held[3] or '') ~= ARGV[11] then"

MUTANTS: Final = (
    Mutant(
        "the compare-and-set off",
        "transport/partials.py",
        _COMPARED,
        "if false then",
        ("aggregator_sleep", "feed_failover"),
        ("cells",),
    ),
    Mutant(
        "the selections' hash and the stamp left out of it",
        "transport/partials.py",
        _COMPARED,
        "if (held[1] or '') ~= ARGV[1] then",
        ("yesterdays_dashboards",),
        ("cells",),
    ),
    Mutant(
        "an offset one too high",
        "aggregator/fold.py",
        "fold = cls(stored.config, stored.offset, stored.state)\n",
        "fold = cls(stored.config, stored.offset, stored.state)\n        fold.offset += 1\n",
        ("aggregator_restart", "aggregator_kill"),
        ("cells",),
    ),
    Mutant(
        "one published message dropped",
        "transport/history.py",
        "redis.call('PUBLISH', ARGV[at], ARGV[at + 1])",
        "if redis.call('HINCRBY', meta, 'told', 1) ~= 20 then redis.call('PUBLISH', ARGV[at], ARGV[at + 1]) end",
        ("aggregator_restart",),
        ("judge",),
    ),
    Mutant(
        "records that are in the log twice counted twice",
        "aggregator/fold.py",
        "if batch.sequence <= sequence:",
        "if False:",
        ("ingestor_kill",),
        ("cells",),
    ),
    Mutant(
        "one group too many kept apart",
        "aggregator/asked.py",
        "if key != pool and self.limit <= len(self.keys) - len(self._pools):",
        "if key != pool and self.limit < len(self.keys) - len(self._pools):",
        ("aggregator_kill",),
        ("cells",),
    ),
    Mutant(
        "counters that say since when they count taken for others",
        "aggregator/writers.py",
        "if start and start > (self.start or self.time):",
        "if False:",
        ("aggregator_kill",),
        ("cells",),
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
