"""What runs say of themselves: some lines for each, and the table of all."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from tests.bench.report import Table
from tests.chaos.mutants import Mutant
from tests.chaos.outcome import MEANINGS, Outcome
from tests.chaos.run import Plan, run
from tests.chaos.schedule import TITLES, forgets, least

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
        f"({outcome.duplicates} said twice, {outcome.poison} not to be read, {outcome.tombstones} without a value), {outcome.bad} bad samples refused, "
        f"{outcome.orders} through a source, {outcome.started} of counters with starts; "
        f"{outcome.messages} messages heard, {outcome.gaps} gaps made up for, {outcome.returns} connections lost"
    )
    did = ", ".join(f"{TITLES[kind]}: {count}" for kind, count in sorted(outcome.faults.items()))
    wrong = f", and {len(outcome.wrong) - outcome.wrong_cells} other faults" if len(outcome.wrong) > outcome.wrong_cells else ""
    settled = f"settled after {max(0.0, outcome.settled_s):.1f} s"
    compared = f"{outcome.view_cells} cells of views ({outcome.pooled_cells} pooled) and {outcome.partial_cells} partial cells compared, {settled}"
    lines = [
        f"seed {outcome.seed} on {outcome.broker}, {outcome.seconds:.0f} s, {outcome.samples} samples in {outcome.records} records",
        f"  {said}",
        f"  {did}; {outcome.lost_bytes} bytes of changes lost by failovers, Kafka away for {outcome.away_s:.1f} s at most",
        f"  {compared}: {outcome.wrong_cells} wrong cells{wrong}",
    ]
    if outcome.wrong:
        lines += [f"  ! {kind}: {count}" for kind, count in sorted(outcome.kinds.items())]
        lines += [f"  ! {finding.kind}: {finding.text}" for finding in outcome.wrong[:SHOWN]]
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
    ] + [f"{name}: none in all of these runs" for name, count in variety(outcomes).items() if not count]


def variety(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How much of what is said and shown less often there was."""
    found = {
        "records said twice": sum(item.duplicates for item in outcomes),
        "records that cannot be read": sum(item.poison for item in outcomes),
        "samples of counters with starts": sum(item.started for item in outcomes),
        "cells of groups not shown apart": sum(item.pooled_cells for item in outcomes),
    }
    if any(not forgets(item.broker, item.seed) for item in outcomes):
        found["records without a value"] = sum(item.tombstones for item in outcomes)
        found["samples through a source"] = sum(item.orders for item in outcomes)
    return found


def runs_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per seed."""
    first = outcomes[0]
    text = (
        f"`make chaos SEEDS={len(outcomes)} SECONDS={first.seconds:.0f} BROKER={first.broker}`. Records of the log hold samples that came out of "
        "order, late, twice, or that cannot be read: "
        + ", ".join(f"{count:,} {name}" for name, count in variety(outcomes).items())
        + ". "
        "After each run every cell of every view and every partial cell of every fold is compared with a "
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
    lost, away = sum(outcome.lost_bytes for outcome in outcomes), max(outcome.away_s for outcome in outcomes)
    text = f"By seed. Failovers lost {lost:,} bytes of acknowledged changes."
    if away:
        text += f" Kafka's longest absence was {away:.1f} s."
    return Table(
        f"Faults of these runs on {outcomes[0].broker}",
        text,
        head,
        rows,
    )


def mutants_table(tried: Sequence[tuple[Mutant, Outcome, Outcome]]) -> Table:
    """One row per mutant, with what the product itself did under the same plan."""
    head = (
        "mutant",
        "seed",
        "faults",
        "cells compared of the product",
        "found in the product",
        "must be found",
        "found in the mutant",
    )
    rows = [
        (
            mutant.name, str(outcome.seed), ", ".join(TITLES[kind] for kind in mutant.faults), f"{control.cells:,}", _kinds(control),
            ", ".join(mutant.kinds), _kinds(outcome),
        )
        for mutant, control, outcome in tried
    ]  # fmt: skip
    said = "; ".join(f"{kind}: {text}" for kind, text in MEANINGS.items())
    text = (
        f'`make chaos ARGS="--mutants --seconds {tried[0][1].seconds:.0f}"`. Each mutant is a copy of the services with one guard taken out. The product and the mutant run under the same '
        f"faults, seed and patience; nothing may be found in the one, and the kinds named must be found in the other. {said}."
    )
    return Table("The chaos harness tested", text, head, rows)


def _kinds(outcome: Outcome) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(outcome.kinds.items())) or "nothing"
