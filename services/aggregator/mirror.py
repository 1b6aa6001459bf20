"""A mirror: the partial cells of one partition of one lineage, as a merge holds them. Pure.

It follows the partition's fold by its log entries, each of which goes from one offset to the next.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from services.aggregator.bucketed import Accumulator
from services.aggregator.packed import cells_of
from services.contract.partials import COUNTERS, Entry, SelectionNotes, Stored
from services.contract.views import Selection

Outcome = Literal["applied", "old", "gap"]
"""gap: entries are missing in between, or the fold began anew or computes something else now; read the partition again."""


class Mirror:
    """The cells of the selections that somebody here merges. generation: grows when groups may be numbered otherwise than before.

    listed: grows when groups are added to some list, too.
    """

    def __init__(self, selections: Mapping[str, Selection]) -> None:
        self.position = -1
        self.cold_after: dict[str, int] = {}  # see partials.Config
        self.digest = ""
        self.stamp = ""  # of the commit that it stands at
        self.available: frozenset[str] = frozenset()  # selections that the fold computes by now
        self.retentions: dict[str, int] = {}  # for how long it keeps their cells, ms
        self.clock = 0
        self.max_time = 0
        self.notes: dict[str, SelectionNotes] = {}
        self.dirty: set[tuple[str, int]] = set()  # (selection, bucket)
        self.generation = 0
        self.listed = 0
        self._selections = dict(selections)
        self._changes: dict[str, dict[int, int]] = {name: {} for name in selections}  # by bucket: how often it changed
        self._clear()

    def load(self, stored: Stored) -> None:
        """Hold what is stored, and nothing else; all of it, and all that was held before, counts as changed."""
        self._touch_all()
        self._clear()
        self.generation += 1
        self.listed += 1
        self.cold_after = stored.config.cold_after()
        self.position, self.digest, self.stamp = stored.offset, stored.config.digest, stored.stamp
        self.available, self.retentions = frozenset(stored.config.selections), stored.config.retentions
        self.clock, self.max_time = stored.state.clock, stored.state.max_time
        self.notes = dict(stored.state.notes)
        for name in self.cells:
            self.keys[name] = list(stored.keys.get(name, ()))
            for (bucket, page), blob in stored.pages.get(name, {}).items():
                self._unread[name].setdefault(bucket, {})[page] = blob
        self._touch_all()

    def apply(self, entry: Entry) -> Outcome:
        """Take one log entry."""
        header = entry.header
        if header.digest != self.digest or header.whole or header.from_ > self.position or header.to < header.from_:
            return "gap"
        if header.to < self.position or (header.to == self.position and header.from_ < header.to):
            return "old"
        if header.stamp and header.stamp == self.stamp:
            return "old"
        if header.from_ != self.position or (header.after and header.after != self.stamp):
            return "gap"
        for new in header.keys:
            if (keys := self.keys.get(new.selection)) is not None:
                if new.first != len(keys) and header.from_ != header.to:  # the same offset again: it may be known
                    return "gap"
                keys[new.first :] = new.keys
                self.listed += 1
        for page, blob in entry.pages:
            if page.selection != COUNTERS and page.selection in self.cells:
                self._unread[page.selection].setdefault(page.bucket, {})[page.page] = blob
                self._touch(page.selection, page.bucket)
        self.position, self.clock, self.max_time, self.stamp = header.to, header.clock, header.max_time, header.stamp
        self.notes |= header.notes
        return "applied"

    def forget(self, before: Mapping[str, int]) -> None:
        """Drop buckets that start before these times, epoch ms by selection."""
        for name, time in before.items():
            if (cells := self.cells.get(name)) is not None:
                cells.forget(time)
                unread = self._unread[name]
                for bucket in [bucket for bucket in unread if bucket < time]:
                    del unread[bucket]
                changes = self._changes[name]
                for bucket in [bucket for bucket in changes if bucket < time]:
                    del changes[bucket]

    def buckets(self, name: str) -> Iterable[int]:
        """Every bucket of a selection."""
        return {bucket for bucket, _ in self.cells[name].pages()} | self._unread[name].keys()

    def changes(self, name: str, bucket: int) -> tuple[int, int]:
        """Another value than before where a bucket of a selection may hold something else than before."""
        return self.generation, self._changes[name].get(bucket, 0)

    def content(self, name: str, bucket: int) -> Any:
        """What a bucket of a selection holds, as `Accumulator.content` gives it. PartialsError where its pages cannot be read.

        Pages are read when they are first asked for: a partition that is loaded whole costs little at once.
        """
        cells = self.cells[name]
        for page, blob in self._unread[name].pop(bucket, {}).items():
            cells.load(bucket, page, blob)
        return cells.content(bucket)

    def _clear(self) -> None:
        self.keys: dict[str, list[bytes]] = {name: [] for name in self._selections}
        self._unread: dict[str, dict[int, dict[int, bytes]]] = {name: {} for name in self._selections}  # by bucket and page
        self.cells: dict[str, Accumulator] = {name: cells_of(item) for name, item in self._selections.items()}

    def _touch_all(self) -> None:
        for name in self.cells:
            for bucket in self.buckets(name):
                self._touch(name, bucket)

    def _touch(self, name: str, bucket: int) -> None:
        self.dirty.add((name, bucket))
        self._changes[name][bucket] = self._changes[name].get(bucket, 0) + 1
