"""`make soak`: a gateway under a crowd that comes, behaves well and badly, and goes; its memory has to stay where it is.

python -m tests.soak [--minutes M] [--seed N] [--write]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench.page import keep
from tests.bench.report import Table
from tests.soak.run import CROWD, STAY_S, Report, soak


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="keep the table in docs/benchmarks.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        report = soak(options.minutes * 60, Path(folder), options.seed, lambda line: print(line, flush=True))
    table = _table(report)
    print(table.markdown())
    if options.write:
        keep(table)
    for fault in report.faults:
        print(fault, file=sys.stderr)
    return 1 if report.faults else 0


def _table(report: Report) -> Table:
    first, *_, last = report.memory_mib or [0.0, 0.0]
    lives = sum(report.lives.values())
    kinds = ", ".join(f"{count:,} {habit.lower()}" for habit, count in sorted(report.lives.items()))
    low, high = STAY_S
    text = (
        f"`make soak`: {report.seconds / 60:.0f} min, up to {CROWD} connections at a time that stay {low:g} to {high:g} s: {kinds}. Three dashboards whose lines change ten "
        "times a second. Memory is the resident memory of the gateway's process, from a fifth of the time on. Afterwards nothing may be left of the crowd, and nothing worse than a warning may have been logged."
    )
    row = [
        f"{lives:,}",
        f"{first:.1f} MiB",
        f"{min(report.memory_mib):.1f} to {max(report.memory_mib):.1f} MiB",
        f"{last:.1f} MiB",
        str(len(report.faults)),
    ]
    return Table("A crowd that comes and goes", text, ["connections", "memory, first", "between", "last", "faults"], [row])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
