"""`make chaos`: runs of the engine under faults, each compared with an independent batch job over the whole log.

python -m tests.chaos [--seeds N] [--first SEED] [--seconds S] [--broker kafka|embedded] [--away S] [--write] [--mutants]
"""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.chaos.mutants import MUTANTS, grow
from tests.chaos.report import told, too_few
from tests.chaos.run import Outcome, Plan, run
from tests.chaos.schedule import TITLES

LONGEST_AWAY_S: Final = 60.0


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.mutants:
        return _mutants(options)
    outcomes = [_run(_plan(options, seed), options) for seed in range(options.first, options.first + options.seeds)]
    faults = too_few(outcomes) if options.seeds > 1 else []
    for text in faults:
        print(text, file=sys.stderr)
    return 1 if faults or any(outcome.wrong for outcome in outcomes) else 0


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    away = options.away or min(LONGEST_AWAY_S, options.seconds / 6)
    return Plan(seed, options.seconds, options.broker, away, tuple(options.only))


def _run(plan: Plan, options: argparse.Namespace) -> Outcome:
    outcome = asyncio.run(run(plan, _tell if options.tell else _quiet))
    print(told(outcome), flush=True)
    return outcome


def _mutants(options: argparse.Namespace) -> int:
    """Every mutant must be found out."""
    missed = []
    for mutant in MUTANTS:
        print(f"mutant: {mutant.name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="tideboard-mutant-") as folder:
            plan = replace(_plan(options, options.first), only=mutant.faults, settle_s=20, tree=grow(mutant, Path(folder)))
            if not _run(plan, options).wrong:
                missed.append(mutant.name)
    print("every mutant was found out" if not missed else f"NOT FOUND OUT: {', '.join(missed)}", flush=True)
    return len(missed)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break the engine, and compare every cell.")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seconds", type=float, default=60, help="how long things are broken in each run")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument(
        "--away", type=float, default=None, help="how long Kafka may be away, in seconds; a sixth of the run by default"
    )
    parser.add_argument(
        "--only", nargs="*", default=(), choices=TITLES, metavar="KIND", help=f"only these faults: {', '.join(TITLES)}"
    )
    parser.add_argument("--mutants", action="store_true", help="test the harness: break the engine, it must be found out")
    parser.add_argument("--tell", action="store_true", help="tell every fault as it happens")
    return parser.parse_args(arguments)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _quiet(_: str) -> None:
    """The story is told when something was wrong."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
