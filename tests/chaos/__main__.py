"""`make chaos`: runs of the engine under faults, each compared with an independent batch job over the whole log.

python -m tests.chaos [--seeds N] [--first SEED] [--seconds S] [--broker kafka|embedded] [--away S] [--jobs N] [--write] [--mutants]
"""

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from tests.bench.__main__ import PAGE, _sections
from tests.chaos.mutants import MUTANTS, grow
from tests.chaos.report import faults_table, run_and_tell, runs_table, too_few
from tests.chaos.run import Outcome, Plan
from tests.chaos.schedule import TITLES

LONGEST_AWAY_S: Final = 60.0


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.mutants:
        return _mutants(options)
    seeds = range(options.first, options.first + options.seeds)
    outcomes = _side_by_side([_plan(options, seed) for seed in seeds], options)
    if options.write:
        _write(outcomes)
    faults = too_few(outcomes) if options.seeds > 1 else []
    for text in faults:
        print(text, file=sys.stderr)
    return 1 if faults or any(outcome.wrong for outcome in outcomes) else 0


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    away = options.away or min(LONGEST_AWAY_S, options.seconds / 6)
    return Plan(seed, options.seconds, options.broker, away, tuple(options.only))


def _side_by_side(plans: list[Plan], options: argparse.Namespace) -> list[Outcome]:
    """Each run in a process of its own where several go on at once: a run keeps one core busy."""
    if options.jobs < 2:
        return [run_and_tell(plan, options.tell) for plan in plans]
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as processes:
        return list(processes.map(run_and_tell, plans, [options.tell] * len(plans)))


def _write(outcomes: list[Outcome]) -> None:
    sections = _sections(PAGE.read_text())
    for table in (runs_table(outcomes), faults_table(outcomes)):
        sections[table.title] = table.markdown()
    head = PAGE.read_text().partition("\n## ")[0].rstrip()
    PAGE.write_text(f"{head}\n\n" + "\n".join(sections.values()))


def _mutants(options: argparse.Namespace) -> int:
    """Every mutant must be found out."""
    missed = []
    for mutant in MUTANTS:
        print(f"mutant: {mutant.name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="tideboard-mutant-") as folder:
            plan = replace(_plan(options, options.first), only=mutant.faults, settle_s=20, tree=grow(mutant, Path(folder)))
            if not run_and_tell(plan, options.tell).wrong:
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
    parser.add_argument("--jobs", type=int, default=1, help="how many runs go on at the same time")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/benchmarks.md")
    parser.add_argument("--tell", action="store_true", help="tell every fault as it happens")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
