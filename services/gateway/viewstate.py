"""One view's cells in memory: what its history said, and every change since. Pure: the hub reads, this decides.

A state is complete up to its `version`: a change that does not join on is refused, and the caller reads history after
`version`. Several dashboards may show the same state; none of them may alter it.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

import numpy as np

from services.contract.history import NO_NOTES, ROW, Cells, Change, NewGroup, Notes, Rows, ViewHistory
from services.contract.terms import Terms, begun, knows

TRIM_EVERY_MS: Final = 1_000
_LAST_GROUP: Final = int(np.iinfo(np.uint32).max)
FRESH: Final = 2  # buckets of a view that are being written at a time: the newest, and the one before while late samples come


class Verdict(Enum):
    """What became of a change."""

    applied = "applied"
    known = "known"  # it brings nothing that is not there
    gap = "gap"  # something before it is missing: read history after `version`
    other_epoch = "other_epoch"  # nothing here is comparable any more: read history whole
    forked = "forked"  # the feed has lost what is here and gone on from before it: read history whole


class ViewState:
    """every_ms: length of a bucket. window_ms: how long cells are kept. version 0: nothing is known yet, epoch is empty then."""

    __slots__ = (
        "_born",
        "_buckets",
        "_forked",
        "_fresh",
        "_grown",
        "_latest",
        "_sampled",
        "_terms",
        "_trim_at",
        "arrived",
        "changes",
        "closed",
        "epoch",
        "every_ms",
        "filled",
        "forks",
        "groups",
        "newest",
        "notes",
        "version",
        "window_ms",
        "written",
    )

    def __init__(self, every_ms: int, window_ms: int) -> None:
        self.every_ms = every_ms
        self.window_ms = window_ms
        self.forks = 0  # how often what was here turned out to be lost by the feed, and was dropped
        self.changes = 0  # how often something came: who has seen this number knows all that is told here
        self._reset("")
        self._trim_at = 0

    def _reset(self, epoch: str) -> None:
        self.epoch = epoch
        self.version = 0
        self.closed = 0
        self.newest = 0  # start of the newest bucket
        self.arrived = 0  # ingest time of the newest record in it
        self._sampled = 0  # time of the newest sample, as its merge says; 0: it does not
        self.written = 0  # cells that were written or written again, since it began
        self.notes = NO_NOTES
        self.filled = 0  # see ViewHistory
        self.groups: dict[int, dict[str, str]] = {}
        self._born: dict[int, int] = {}  # group -> a version at which it was there for sure, and not long before
        self._grown = 0  # the newest of these versions
        self._buckets: dict[int, Rows] = {}
        self._fresh: dict[int, Cells] = {}  # buckets whose cells all have the same version, as the change brought them
        self._latest: dict[int, int] = {}  # bucket -> version that touched it last, in the order of versions
        self._terms: Terms = ()
        self._forked = False  # the next history that is read whole takes the place of what is here

    @property
    def sampled(self) -> int:
        """Time of the newest sample that is shown, epoch ms, 0 for none. Where its merge does not say: when it arrived, but not after its bucket."""
        if not self.newest:
            return 0
        end = self.newest + self.every_ms
        return min(end, self._sampled or self.arrived or end)

    def load(self, history: ViewHistory, after: int, had: int = 0) -> bool:
        """Take in what was read after a version (-1: all). had: the version that was here when that began.

        False: it is not whole, and goes on from something else than what is here, so read it whole.
        """
        self.changes += 1
        other = history.epoch != self.epoch
        if other or self._lost(history, max(after, had)):
            if after >= 0:
                self._forked |= not other
                return False
            self.forks += not other
            self._reset(history.epoch)
        if history.version >= self.version:
            self._terms = history.terms
            self._see(history.sampled)
        self._add_groups(history.version, history.groups.items())
        for start, rows in history.rows.items():
            if len(rows):
                self.written += int(np.count_nonzero(rows["version"] > self.version))
                self._merge(start, rows, int(rows["version"].min()), int(rows["version"].max()))
        self._latest = dict(sorted(self._latest.items(), key=lambda item: item[1]))
        self.version = max(self.version, history.version)
        self.closed = max(self.closed, history.closed)
        self.arrived = max(self.arrived, history.newest)
        self._note(history.notes)
        self._fill(history.filled)
        return True

    def knows(self, version: int) -> bool:
        """Whether who has this version lacks exactly what changed after it. False of one that the feed has lost, and of one that is still to come."""
        return knows(self._terms, self.version, version)

    def _lost(self, history: ViewHistory, had: int) -> bool:
        """Whether the feed has lost what is here. What was heard while the history was read may be newer, but what was there before may not."""
        here = self.version if self.version <= history.version else had
        return self._forked or not knows(history.terms, history.version, here)

    def apply(self, change: Change) -> Verdict:
        """A message of the view's channel."""
        if change.epoch != self.epoch:
            return Verdict.other_epoch
        if change.prev > self.version:
            return Verdict.gap
        if change.prev < self.version < change.version:  # one history has no two versions after the same one
            self._forked = True
            return Verdict.forked
        self.changes += 1
        newer = change.version > self.version
        noted = change.notes is not None and self._note(change.notes)
        filled = change.filled != 0 and change.version >= self.version and self._fill(change.filled)
        if not newer and change.closed <= self.closed:
            return Verdict.applied if noted or filled else Verdict.known
        if newer:
            self._go_on(change)
        if change.closed > self.closed:
            self.closed = change.closed
        return Verdict.applied

    def _go_on(self, change: Change) -> None:
        """To the version of this change."""
        version = change.version
        if change.groups:
            self._add_groups(version, ((group.number, group.labels) for group in change.groups))
        for cells in change.cells:
            if cells.groups:
                self._write(cells, version)
                self.written += len(cells.groups)
        if not self._terms or self._terms[-1].first != change.first:
            self._begin_term(change)
        self.version = version
        if change.newest > self.arrived:
            self.arrived = change.newest
        self._see(change.sampled)

    def _begin_term(self, change: Change) -> None:
        """This change begins one, or is of none that is known: it was written by a version that keeps none."""
        self._terms = begun(self._terms, change.prev, change.first) if change.first == change.version else ()

    def _see(self, sampled: int) -> None:
        """Take what is said of the newest sample with a version."""
        if sampled > self._sampled or not sampled:
            self._sampled = sampled

    def _note(self, notes: Notes) -> bool:
        """Take notes that are newer; whether they are."""
        if notes.at <= self.notes.at:
            return False
        self.notes = notes
        return True

    def _fill(self, filled: int) -> bool:
        """Take what is said of how far it is filled; whether that is something new."""
        if filled in (0, self.filled):
            return False
        self.filled = filled
        return True

    def trim(self, now: int) -> None:
        """Forget what is older than the window. Cheap to call often."""
        pause = max(TRIM_EVERY_MS, self.every_ms)
        if 0 < self._trim_at - now <= pause:  # more: the clock was set back
            return
        self._trim_at = now + pause
        oldest = now - self.window_ms - self.every_ms
        for start in [start for start in self._latest if start <= oldest]:
            self._buckets.pop(start, None)
            self._fresh.pop(start, None)
            del self._latest[start]

    def starts(self) -> list[int]:
        """Every bucket, by time."""
        return sorted(self._latest)

    def rows(self, start: int) -> Rows:
        fresh = self._fresh.get(start)
        return self._buckets[start] if fresh is None else _rows(fresh, self._latest[start])

    def cells(self, since_ms: int) -> list[Cells]:
        """Everything in buckets that end after a time."""
        return [
            self._fresh.get(start) or _cells(start, self._buckets[start])
            for start in self.starts()
            if start + self.every_ms > since_ms
        ]

    def changed_after(self, version: int) -> list[Cells]:
        """The cells that a later version wrote, by time. Costs what changed, not what is there."""
        found = []
        for start in reversed(self._latest):
            if self._latest[start] <= version:
                break
            if fresh := self._fresh.get(start):
                found.append(fresh)
                continue
            rows = self._buckets[start]
            found.append(_cells(start, rows[np.asarray(rows["version"] > version)]))
        if len(found) > 1:
            found.sort(key=lambda cells: cells.start)
        return found

    def groups_after(self, version: int) -> list[NewGroup]:
        """At least the groups that are new since a version."""
        if version >= self._grown:
            return []
        return [NewGroup(number, self.groups[number]) for number, born in self._born.items() if born > version]

    def _add_groups(self, version: int, groups: Iterable[tuple[int, Mapping[str, str]]]) -> None:
        for number, labels in groups:
            if number not in self.groups:
                self._born[number] = version
                self._grown = max(self._grown, version)
                self.groups[number] = dict(labels)

    def _write(self, cells: Cells, version: int) -> None:
        """Cells of a change that is newer than all that is here. ValueError where they are none.

        As nearly always a change has the whole newest bucket, which the next one will have again: what goes out of it is what came,
        and rows are made of it once.
        """
        start, groups = cells.start, cells.groups
        fresh = self._fresh.get(start)
        again = fresh is not None and fresh.groups == groups
        if len(groups) != len(cells.values) or not (again or (min(groups) >= 0 and max(groups) <= _LAST_GROUP)):
            raise ValueError("cells of another shape, or of groups that cannot be")
        if again or (fresh is None and start not in self._latest and groups == sorted(groups)):
            self._fresh[start] = cells
            self._touch(start, version)
            if len(self._fresh) > FRESH:
                self._settle(min(self._fresh))
        else:
            self._merge(start, _rows(cells, version), version, version)

    def _settle(self, start: int) -> None:
        """Make rows of a bucket: lists of numbers take several times their memory."""
        if fresh := self._fresh.get(start):
            self._buckets[start] = _rows(fresh, self._latest[start])
            del self._fresh[start]

    def _touch(self, start: int, version: int) -> None:
        latest = self._latest.pop(start, 0)
        self._latest[start] = version if version > latest else latest
        if start > self.newest:
            self.newest = start

    def _merge(self, start: int, rows: Rows, oldest: int, newest: int) -> None:
        """oldest, newest: the versions that the rows are of."""
        self._settle(start)
        held = self._buckets.get(start)
        if held is None or (oldest >= self._latest[start] and _same_groups(held, rows)):
            self._buckets[start] = rows  # as nearly always: every group of a bucket has changed
        else:
            self._buckets[start] = _newer(held, rows)
        self._touch(start, newest)


def _rows(cells: Cells, version: int) -> Rows:
    rows = np.empty(len(cells.groups), ROW)
    rows["group"], rows["version"] = cells.groups, version
    rows["value"] = np.array(cells.values, np.float64)  # None becomes NaN
    return rows if cells.groups == sorted(cells.groups) else _sorted(rows)


def _same_groups(one: Rows, other: Rows) -> bool:
    return len(one) == len(other) and one["group"].tobytes() == other["group"].tobytes()


def _sorted(rows: Rows) -> Rows:
    order = np.argsort(rows["group"], kind="stable")
    return rows[order]


def _newer(held: Rows, rows: Rows) -> Rows:
    """Both together; of a group that is in both, the row with the higher version. Both are in the order of groups and stay as they are."""
    at = np.searchsorted(held["group"], rows["group"])
    there = np.zeros(len(rows), bool)
    inside = at < len(held)
    there[inside] = held["group"][at[inside]] == rows["group"][inside]
    merged = held.copy()
    both, newer = at[there], rows[there]
    wins = np.asarray(newer["version"] >= held["version"][both])
    merged[both[wins]] = newer[wins]
    if there.all():
        return merged
    return _sorted(np.concatenate((merged, rows[~there])))


def _cells(start: int, rows: Rows) -> Cells:
    """NaN stays NaN: the encoder writes null."""
    return Cells(start, rows["group"].tolist(), rows["value"].tolist())
