"""Asked: one selection in one partition, its groups and its cells. Pure.

How samples get there is `lanes`' business, which records count and what a commit holds is `fold`'s.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from services.aggregator import matching
from services.aggregator.bucketed import Accumulator, PageAt
from services.aggregator.census import Census
from services.aggregator.matching import overflow_of
from services.aggregator.packed import Packed, cells_of, pages_between
from services.contract import limits, partials
from services.contract.dashboards import MAX_KEPT
from services.contract.partials import PAGE, SelectionNotes
from services.contract.views import BY_SERIES, Selection

NO_NOTES: Final = SelectionNotes()
SLACK_MS: Final = partials.SLACK_MS

LOOKBACK_MS: Final = 420_000
"""How far before the first bucket of interest the log is read: counters look back five minutes, clocks and queues differ."""

MIN_COMPACTED: Final = 128
"""With fewer groups than this, dead ones are not worth the trouble."""
MAX_RELEASED: Final = 256
CROWDED_SHARE: Final = 10
"""Where groups wait for a place, every tenth place that is free is worth it."""


@dataclass(slots=True)
class Tally:
    """What happened to samples and records, since the process began."""

    samples: int = 0
    records: int = 0
    duplicates: int = 0
    late: int = 0
    late_lost: int = 0  # of these, those that nobody could take in time
    poison: int = 0
    not_counters: int = 0
    disordered: int = 0
    contested: int = 0  # samples that were passed over for another writer's
    last_poison: str = ""


class SelectionCells:
    """One selection's cells and groups."""

    def __init__(self, selection: Selection, retention_ms: int, notes: SelectionNotes = NO_NOTES) -> None:
        self.selection = selection
        self.counts = selection.accumulator == "increase"
        self.retention_ms = retention_ms
        self.match = matching.matcher(selection.where)
        self.cells: Accumulator = cells_of(selection)
        self.keys: list[bytes] = []
        self.stored_keys = 0
        self._numbers: dict[bytes, int] = {}
        self.coarser_ms: tuple[int, ...] = ()  # lengths of the buckets that are rolled up from these
        self.dropped_to = 0  # buckets that start before this epoch ms were dropped; 0: nothing is stored yet
        self.released = False  # some cells are stored that are not held here
        self.whole_from = 0  # buckets that start at or after this epoch ms have all of their samples
        self.newest = 0  # time of the newest sample in its cells, but never later than its ingest time as the fold judges it, epoch ms; 0: none
        self._pools: dict[bytes, int] = {}  # overflow groups: key -> number
        self._notes = notes
        self._told: SelectionNotes | None = (
            None  # all notes as they are, None where they may have changed since they were asked for
        )
        self._census, self._left_out = Census(notes.census), Census(notes.left_out)

    @property
    def retention_ms(self) -> int:
        """How long its cells are kept."""
        return self._retention_ms

    @retention_ms.setter
    def retention_ms(self, retention_ms: int) -> None:
        self._retention_ms = retention_ms
        self.limit = self._limit()

    def _limit(self) -> int:
        """How many groups are kept apart, 0 for no limit."""
        if self.selection.accumulator in BY_SERIES:
            return limits.series(self.retention_ms + 2 * SLACK_MS + self.selection.every_ms, self.selection.every_ms)
        return limits.rolled(self.selection.limit) if self.selection.finer is not None else self.selection.limit

    @property
    def notes(self) -> SelectionNotes:
        if self._told is None:
            self._told = msgspec.structs.replace(self._notes, census=self._census.held(), left_out=self._left_out.held())
        return self._told

    def number(self, key: bytes, ingest: int = 0) -> int:
        """The number of a group; past the limit, that of the overflow group. ingest: epoch ms at which it was seen."""
        found = self._numbers.get(key)
        if found is not None:
            return found
        if not self.limit:
            return self._append(key)
        pool = overflow_of(self.selection, key)
        if key != pool and self.limit <= len(self.keys) - len(self._pools):
            self._census.see(key)
            self._told = None
            if not self._notes.since:
                self._notes = msgspec.structs.replace(self._notes, since=ingest)
            if (found := self._numbers.get(pool)) is not None:
                return found
            key = pool
        found = self._append(key)
        if key == pool:
            self._pools[key] = found
        return found

    def load(self, keys: Iterable[bytes]) -> None:
        """Take over the groups that were stored, in their order; only before the first sample. Whether they fit the limit was decided then."""
        for key in keys:
            number = self._append(key)
            if self.limit and key == overflow_of(self.selection, key):
                self._pools[key] = number
        self.stored_keys = len(self.keys)

    def _append(self, key: bytes) -> int:
        self._numbers[key] = len(self.keys)
        self.keys.append(key)
        return len(self.keys) - 1

    def saw(self, newest: int) -> None:
        """There are samples in its cells that are as new as this, epoch ms."""
        self.newest = max(self.newest, newest)

    def was_late(self, samples: int, ingest: int) -> None:
        """So many samples came when their bucket was no longer kept."""
        held, self._told = self._notes, None
        self._notes = msgspec.structs.replace(held, late=held.late + samples, late_at=max(held.late_at, ingest))

    def was_contested(self, samples: int) -> None:
        """So many samples of counters were passed over because another writer of their series is followed."""
        self._told = None
        self._notes = msgspec.structs.replace(self._notes, contested=self._notes.contested + samples)

    def leave_out(self, key: bytes) -> None:
        """A counter cannot be followed, since there are too many."""
        self._left_out.see(key)
        self._told = None

    def place(self, kind: int, key: bytes, labels: Mapping[str, str], ingest: int) -> int | None:
        """The group of a series that was just seen for the first time, None where it does not match."""
        if not self.match(labels) or (self.selection.of and self.selection.of not in labels):
            return None
        return self.number(matching.group_key(self.selection, kind, key, labels), ingest)

    def compact(self) -> bool:
        """Forget groups that have no cell any more, where that is worth it; the others are numbered anew. Whether it was done.

        It makes place for groups that were pooled, so it is done at edges of the log only, which do not depend on when commits are.
        """
        if self.released or (self.selection.finer is not None and len(self.keys) <= MAX_RELEASED):
            return False  # whether so few are released already depends on commits
        if len(self.keys) < MIN_COMPACTED and not self._pools:
            return False
        live = self.cells.live()
        dead = len(self.keys) - len(live)
        pools = len(self._pools)
        ended = pools > 0 and not set(self._pools.values()) <= set(live.tolist())
        if not ended and dead * CROWDED_SHARE < self.limit if pools else dead * 2 < len(self.keys):
            return False
        if not dead:
            return False
        self.cells.keep(live)
        self.keys = [self.keys[group] for group in live.tolist()]
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self._pools = {key: self._numbers[key] for key in self._pools if key in self._numbers}
        self._census, self._told = Census(), None
        if not self._pools:
            self._notes = msgspec.structs.replace(self._notes, since=0)
        self.stored_keys = 0
        return True

    def forget_left_out(self) -> None:
        """There is place for counters again: who is left out is seen anew."""
        self._left_out, self._told = Census(), None

    def oldest(self, clock: int) -> int:
        """Buckets that start before this epoch ms have ended so long ago that nobody is shown them, and no coarser one needs them."""
        oldest = clock - self.retention_ms - SLACK_MS - self.selection.every_ms
        return min((oldest // every * every for every in self.coarser_ms), default=oldest)

    def forget(self, clock: int) -> list[PageAt]:
        """Drop what is too old; the pages that it had."""
        before = self.oldest(clock)
        gone = self.cells.forget(before)
        if self.selection.finer is not None and self.dropped_to:  # most of it is only stored by now
            every = self.selection.every_ms
            until = min(
                before,
                self.dropped_to + max(self.retention_ms, MAX_KEPT * every) + 2 * SLACK_MS + 2 * max((every, *self.coarser_ms)),
            )
            gone = list({*gone, *pages_between(self.dropped_to, until, every, len(self.keys), PAGE)})
        self.dropped_to = before
        self.whole_from = max(self.whole_from, before)
        return gone

    def release(self, before: int) -> None:
        """Hold buckets that start before this epoch ms no longer, where they are rolled up: they are stored, and do not change any more.

        Of many groups all is held, since those that come and go are to be forgotten, which changes every page.
        """
        if isinstance(self.cells, Packed) and len(self.keys) <= MAX_RELEASED:
            self.cells.release(before)
            self.whole_from = max(self.whole_from, before)
            self.released = True

    @property
    def crowded(self) -> bool:
        """Whether what is held no longer is to be held again."""
        return self.released and len(self.keys) > MAX_RELEASED

    def refill(self, pages: Mapping[PageAt, bytes]) -> None:
        """Hold again what is stored."""
        if isinstance(self.cells, Packed):
            for (bucket, page), blob in pages.items():
                self.cells.refill(bucket, page, blob)
        self.released = False
