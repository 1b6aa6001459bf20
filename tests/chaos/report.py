"""What runs say of themselves: some lines for each, and the table of all."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from tests.bench.report import Table
from tests.chaos.run import Outcome, Plan, run
from tests.chaos.schedule import TITLES, least

SHOWN: Final = 20


def run_and_tell(plan: Plan, every_fault: bool) -> Outcome:
    """One run to its end, told when it is over; every fault as it happens, if that is wanted."""
    outcome = asyncio.run(run(plan, _tell if every_fault else _keep))
    print(told(outcome), flush=True)
    return outcome


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _keep(_: str) -> None:
    """The story is told when something was wrong."""


def told(outcome: Outcome) -> str:
    """A run in a few lines; its story only where something was wrong."""
    said = (
        f"({outcome.duplicates} said twice, {outcome.poison} not to be read), {outcome.bad} bad samples refused; "
        f"{outcome.messages} messages heard, {outcome.gaps} gaps made up for, {outcome.returns} connections lost"
    )
    did = ", ".join(f"{TITLES[kind]}: {count}" for kind, count in sorted(outcome.faults.items()))
    wrong = f", and {len(outcome.wrong) - outcome.wrong_cells} other faults" if len(outcome.wrong) > outcome.wrong_cells else ""
    settled = f"settled after {max(0.0, outcome.settled_s):.1f} s"
    compared = f"{outcome.view_cells} cells of views and {outcome.partial_cells} partial cells compared, {settled}"
    lines = [
        f"seed {outcome.seed} on {outcome.broker}, {outcome.seconds:.0f} s, {outcome.samples} samples in {outcome.records} records",
        f"  {said}",
        f"  {did}; {outcome.lost_bytes} bytes of changes lost by failovers",
        f"  {compared}: {outcome.wrong_cells} wrong cells{wrong}",
    ]
    if outcome.wrong:
        lines += [f"  ! {text}" for text in outcome.wrong[:SHOWN]]
        lines += [f"  . {text}" for text in outcome.story]
    return "\n".join(lines)


def done(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many faults of each kind."""
    found: dict[str, int] = {}
    for outcome in outcomes:
        for kind, count in outcome.faults.items():
            found[kind] = found.get(kind, 0) + count
    return found


def too_few(outcomes: Sequence[Outcome]) -> list[str]:
    """Faults that were done less often than these runs should."""
    did = done(outcomes)
    wanted = least(outcomes[0].broker, [outcome.seed for outcome in outcomes])
    return [
        f"{TITLES[kind]}: done {did.get(kind, 0)} times, at least {n}" for kind, n in wanted.items() if did.get(kind, 0) < n
    ]


def runs_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per seed."""
    first = outcomes[0]
    text = (
        f"`make chaos SEEDS={len(outcomes)} SECONDS={first.seconds:.0f} BROKER={first.broker}`. Records of the log hold samples that came out of "
        "order, late, twice, or that cannot be read. After each run every cell of every view and every partial cell of every fold is compared with a "
        "batch job over the whole log, bit for bit, sketches bin by bin; and what two subscribers assembled with the history."
    )
    head = (
        "seed",
        "samples",
        "records",
        "faults",
        "cells of views",
        "partial cells",
        "messages",
        "settled",
        "wrong cells",
        "other faults",
    )
    rows = [
        (
            str(item.seed), f"{item.samples:,}", f"{item.records:,}", str(sum(item.faults.values())), f"{item.view_cells:,}",
            f"{item.partial_cells:,}", f"{item.messages:,}", f"{max(0.0, item.settled_s):.1f} s", str(item.wrong_cells),
            str(len(item.wrong) - item.wrong_cells),
        )
        for item in outcomes
    ]  # fmt: skip
    return Table(f"Chaos on {first.broker}", text, head, rows)


def faults_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per kind of fault, one column per seed."""
    wanted = least(outcomes[0].broker, [outcome.seed for outcome in outcomes])
    did = done(outcomes)
    head = ("fault", *(str(outcome.seed) for outcome in outcomes), "all", "at least")
    rows = [
        (TITLES[kind], *(str(outcome.faults.get(kind, 0)) for outcome in outcomes), str(did.get(kind, 0)), str(n))
        for kind, n in wanted.items()
    ]
    lost = sum(outcome.lost_bytes for outcome in outcomes)
    return Table(
        f"Faults of these runs on {outcomes[0].broker}",
        f"By seed. Failovers lost {lost:,} bytes of acknowledged changes.",
        head,
        rows,
    )
