"""`make chaos`: runs of the engine under faults, each compared with an independent batch job over the whole log.

python -m tests.chaos [--seeds N] [--first SEED] [--seconds S] [--broker kafka|embedded] [--away S] [--jobs N] [--write] [--mutants]
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from tests.bench.page import keep
from tests.chaos.mutants import MUTANTS, Mutant, grow
from tests.chaos.outcome import Outcome
from tests.chaos.report import faults_table, mutants_table, run_and_tell, runs_table, too_few
from tests.chaos.run import Plan
from tests.chaos.schedule import TITLES

LONGEST_AWAY_S: Final = 60.0
MUTANT_SETTLE_S: Final = 45.0
MUTANT_SEEDS: Final = 3


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.mutants:
        return _mutants(options)
    seeds = range(options.first, options.first + options.seeds)
    outcomes: list[Outcome] = []
    for outcome in _side_by_side([_plan(options, seed) for seed in seeds], options):
        outcomes.append(outcome)
        if options.write:  # as far as it is, should it not get to the end
            keep(runs_table(outcomes), faults_table(outcomes))
    faults = too_few(outcomes) if options.seeds > 1 else []
    for text in faults:
        print(text, file=sys.stderr)
    return 1 if faults or any(outcome.wrong for outcome in outcomes) else 0


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    away = options.away or min(LONGEST_AWAY_S, options.seconds / 6)
    return Plan(seed, options.seconds, options.broker, away, tuple(options.only))


def _side_by_side(plans: list[Plan], options: argparse.Namespace) -> Iterator[Outcome]:
    """What each run did, in their order. Each has a process of its own where several go on at once: a run keeps one core busy."""
    if options.jobs < 2:
        yield from (run_and_tell(plan, options.tell) for plan in plans)
        return
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as processes:
        yield from processes.map(run_and_tell, plans, [options.tell] * len(plans))


def _mutants(options: argparse.Namespace) -> int:
    """The product must be green under the plan of every mutant, and every mutant found out by what it breaks."""
    tried = [_found_out(mutant, options) for mutant in MUTANTS]
    if options.write:
        keep(mutants_table(tried))
    red = [mutant.name for mutant, control, _ in tried if control.wrong]
    missed = [mutant.name for mutant, _, outcome in tried if not mutant.is_found_by(outcome)]
    for text, names in (("THE PRODUCT ITSELF IS RED", red), ("NOT FOUND OUT", missed)):
        if names:
            print(f"{text}: {', '.join(names)}", flush=True)
    if not red and not missed:
        print("the product is green under every plan, and every mutant was found out", flush=True)
    return len(red) + len(missed)


def _found_out(mutant: Mutant, options: argparse.Namespace) -> tuple[Mutant, Outcome, Outcome]:
    """What the product and the mutant did. A mutant has so many runs, of one seed after the other, until it is found out; the product has the same."""
    for seed in range(options.first, options.first + max(options.seeds, MUTANT_SEEDS)):
        plan = replace(_plan(options, seed), only=mutant.faults, settle_s=MUTANT_SETTLE_S)
        print(f"the product under the faults of: {mutant.name}", flush=True)
        control = run_and_tell(plan, options.tell)
        print(f"mutant: {mutant.name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="tideboard-mutant-") as folder:
            outcome = run_and_tell(replace(plan, tree=grow(mutant, Path(folder))), options.tell)
        if control.wrong or mutant.is_found_by(outcome):
            break
    return mutant, control, outcome


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
