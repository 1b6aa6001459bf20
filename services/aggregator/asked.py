"""Asked: one selection in one partition, its groups and its cells. Pure.

How samples get there is `lanes`' business, which records count and what a commit holds is `fold`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.aggregator import matching
from services.aggregator.accumulators import accumulator
from services.aggregator.bucketed import Accumulator
from services.contract.views import Selection

SLACK_MS: Final = 60_000
"""How much longer than their retention cells are kept, for ingestors whose clocks or queues differ."""

MIN_COMPACTED: Final = 128
"""With fewer groups than this, dead ones are not worth the trouble."""


@dataclass(slots=True)
class Tally:
    """What happened to samples and records, since the process began."""

    samples: int = 0
    records: int = 0
    duplicates: int = 0
    late: int = 0
    poison: int = 0
    not_counters: int = 0
    disordered: int = 0
    last_poison: str = ""


class SelectionCells:
    """One selection's cells and groups."""

    def __init__(self, selection: Selection, retention_ms: int) -> None:
        self.selection = selection
        self.retention_ms = retention_ms
        self.match = matching.matcher(selection.where)
        self.cells: Accumulator = accumulator(selection.accumulator)
        self.keys: list[bytes] = []
        self.stored_keys = 0
        self._numbers: dict[bytes, int] = {}

    @property
    def counts(self) -> bool:
        return self.selection.accumulator == "increase"

    def number(self, key: bytes) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.keys)
            self.keys.append(key)
        return found

    def place(self, kind: int, key: bytes, labels: Mapping[str, str]) -> int | None:
        """The group of a series that was just seen for the first time, None where it does not match."""
        return self.number(matching.group_key(self.selection, kind, key, labels)) if self.match(labels) else None

    def compact(self) -> bool:
        """Forget groups that have no cell any more, where most have none; the others are numbered anew. Whether it was done."""
        if len(self.keys) < MIN_COMPACTED or 2 * len(live := self.cells.live()) > len(self.keys):
            return False
        self.cells.keep(live)
        self.keys = [self.keys[group] for group in live.tolist()]
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self.stored_keys = 0
        return True

    def oldest(self, clock: int) -> int:
        """Buckets that start before this epoch ms have ended so long ago that nobody is shown them."""
        return clock - self.retention_ms - SLACK_MS - self.selection.every_ms
