"""Where the fold's time goes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from services.aggregator import fold, lanes
from services.aggregator.accumulators import Moments
from services.aggregator.fold import Fold
from services.aggregator.lanes import Routes
from services.aggregator.late import Lateness
from services.aggregator.serieslist import SeriesList
from services.aggregator.sketches import Sketches
from tests.bench import workload
from tests.bench.report import Table
from tests.bench.workload import Record

FETCH: Final = {500: 32, 5_000: 8}  # records that a fetch of 1 MiB gives
ROUNDS: Final = 5
ROWS: Final = "add to rows: count, sum, min, max, last"
PARTS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("decode the records", fold, "decode"),
    ("look up the dictionaries", SeriesList, "numbers"),
    ("judge lateness", Lateness, "judge"),
    ("find selections and groups", Routes, "of"),
    ("find buckets", lanes, "spots"),
    ("find rows, mark pages", Moments, "add"),
    ("sketches: codes, sort, count", Sketches, "add"),
)


class Clock:
    """CPU time by part; of parts within parts only what is their own."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = {}
        self._stack: list[str] = []
        self._since = 0

    def enter(self, part: str) -> None:
        self._turn()
        self._stack.append(part)

    def leave(self) -> None:
        self._turn()
        self._stack.pop()

    def _turn(self) -> None:
        now = time.process_time_ns()
        if self._stack:
            self.spent[self._stack[-1]] = self.spent.get(self._stack[-1], 0) + now - self._since
        self._since = now

    def around(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self.enter(part)
            try:
                return work(*arguments, **named)
            finally:
                self.leave()

        return timed


def measure() -> Table:
    columns = {per_record: _parts(per_record) for per_record in FETCH}
    names = [*(name for name, _, _ in PARTS), ROWS, "everything else"]
    rows = [
        [name, *(f"{column[name]:.0f} ns ({column[name] / sum(column.values()):.0%})" for column in columns.values())]
        for name in names
    ]
    rows.append(["**together**", *(f"**{sum(column.values()):.0f} ns**" for column in columns.values())])
    text = (
        "CPU time for a sample in the fold, given records as a fetch of 1 MiB gives them, as in the engine's bench; measured by a clock around each part, which"
        f" itself costs some nanoseconds. The least of {ROUNDS} rounds of each part."
    )
    return Table("Where the fold's time goes", text, ["part", *(f"{per_record:,} in a record" for per_record in FETCH)], rows)


def _parts(per_record: int) -> dict[str, float]:
    records = workload.columnar(1_000_000 // per_record, per_record)
    rounds = [_round(records, FETCH[per_record]) for _ in range(ROUNDS)]
    measured = (len(records) - len(records) // 4) * per_record
    return {name: min(found.get(name, 0) for found in rounds) / measured for name in rounds[0]}


def _round(records: Sequence[Record], piece: int) -> dict[str, int]:
    state = Fold(workload.asked().config, 0)
    warm = len(records) // 4
    state.apply(records[:warm])
    clock = Clock()
    with _timed(clock):
        clock.enter("everything else")
        for at in range(warm, len(records), piece):
            state.apply(records[at : at + piece])
        clock.leave()
    return clock.spent


@contextmanager
def _timed(clock: Clock) -> Iterator[None]:
    with ExitStack() as held:
        for name, owner, attribute in PARTS:
            held.enter_context(patch.object(owner, attribute, clock.around(name, getattr(owner, attribute))))
        layout = replace(Moments.layout, add=clock.around(ROWS, Moments.layout.add))
        held.enter_context(patch.object(Moments, "layout", layout))
        yield
