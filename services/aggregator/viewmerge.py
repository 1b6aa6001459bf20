"""The merge of one view: from changed partials to the step that its history takes. Pure.

It holds the values that the history has, computes the buckets that changed, and makes of the difference one commit. Buckets whose
values did not change cost nothing further. `accepted` moves it on; a commit that was refused means reading the history again.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from services.aggregator import matching
from services.aggregator.asked import MIN_COMPACTED
from services.aggregator.combine import Values
from services.aggregator.rollup import pace_ms
from services.contract.expressions import parse_expression
from services.contract.history import (
    NO_NOTES,
    VERSION,
    Cells,
    Change,
    NewGroup,
    Notes,
    Rows,
    ViewCommit,
    ViewHistory,
    pack_rows,
)
from services.contract.terms import STEP, Terms, begun, free_tag, next_version
from services.contract.views import View

KEEP_MS: Final = 10_000
"""How much longer than its window a bucket stays in the history."""

NOTES_MS: Final = 1_000
ROLLED_MS: Final = 2_500
"""From when something is rolled up to when it is here, at most: a tick while nobody watches, and a commit."""

_NEVER: Final = int(np.iinfo(np.int64).max)
_NO_PLACES: Final = np.zeros(0, np.int64)

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


class ViewMerge:
    """One view that is merged here. `held` is (epoch, version) of its history, ('', 0) before the first commit."""

    def __init__(
        self, view: View, window_ms: int, inputs: Sequence[Values], history: ViewHistory | None, new_epoch: str
    ) -> None:
        self.view = view
        self.view_id = view.id
        self.window_ms = window_ms
        self.held = (history.epoch, history.version) if history else ("", 0)
        self.closed = history.closed if history else 0
        self.notes = history.notes if history else NO_NOTES
        self.groups = 0
        self._epoch = history.epoch if history else new_epoch
        self._terms: Terms = history.terms if history else ()
        self._term = 0  # version with which our term began, 0: it has not
        self._chance = zlib.crc32(new_epoch.encode())
        self._inputs = inputs
        self._decisions: list[int] = []
        self._expression = parse_expression(view.expr) if view.expr is not None else None
        self._numbers: dict[bytes, int] = {}
        self._labels: list[dict[str, str]] = []
        self._told = 0  # groups that the history knows
        self._places = [_NO_PLACES for _ in inputs]  # by input: its group -> ours, -1 where it never had a value
        self._values: dict[int, F64] = {}
        self._versions: dict[int, I64] = {}
        self._pending: dict[int, tuple[F64, I64]] = {}
        self._every = view.every_ms
        self._names = {item.selection.id for item in view.inputs}
        self.coarse = view.coarse
        self.hot = history.hot if history else 0
        self.filled = history.filled if history else 0
        self.sampled = history.sampled if history else 0
        self._reached = 0  # start of the newest bucket that a sliding window ended in, epoch ms; 0: none yet
        if history:
            self._take_over(history.groups, history.rows)
        self._first = min(self._values, default=_NEVER)  # no bucket starts before it

    @property
    def behind_ms(self) -> int:
        """How much later than the watermark a bucket is closed: what is rolled up comes after what it is made of, and is stored with a commit."""
        rolled = any(item.selection.finer is not None for item in self.view.inputs)
        return pace_ms(self._every) + ROLLED_MS if rolled else 0

    def settle(self) -> bool:
        """Decide which groups are shown apart. Whether they are others than before, so that every bucket is to be computed again."""
        decisions = [item.settle() for item in self._inputs]
        changed, self._decisions = decisions != self._decisions, decisions
        return changed

    @property
    def settled(self) -> bool:
        """Whether it was decided which groups are shown apart since the partials are read from where they are."""
        return bool(self._decisions)

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to note, and the readers know."""
        return self.notes == NO_NOTES and not any(registers or lacking for registers, lacking in self.pooling())

    def pooling(self) -> list[tuple[bytes, int]]:
        """What `combine.Values.pooling` says of each input."""
        return [item.pooling() for item in self._inputs]

    def rebind(self, inputs: Sequence[Values]) -> None:
        """Read the partials from elsewhere from now on."""
        self._inputs = inputs
        self._decisions = []
        self._places = [_NO_PLACES for _ in inputs]

    @property
    def anew(self) -> bool:
        """Whether the next commit begins another epoch than that of what lies there."""
        return bool(self.held[0]) and self._epoch != self.held[0]

    def begin_anew(self, epoch: str) -> None:
        """Number groups anew, in a new epoch. Every bucket is to be computed again."""
        self._epoch = epoch
        self._terms, self._term, self._chance = (), 0, zlib.crc32(epoch.encode())
        self._numbers, self._labels, self._told, self.groups = {}, [], 0, 0
        self._values, self._versions, self._pending = {}, {}, {}
        self._first = _NEVER
        self.hot = self.filled = 0
        self.rebind(self._inputs)

    @property
    def wasteful(self) -> bool:
        """Whether most groups have no cell any more."""
        if len(self._labels) < MIN_COMPACTED or self.coarse:  # most of what is coarse is not held here
            return False
        live = np.zeros(len(self._labels), bool)
        for values in self._values.values():
            live[: len(values)] |= ~np.isnan(values)
        return 2 * int(live.sum()) < len(live)

    @property
    def selections(self) -> set[str]:
        return {item.combined.name for item in self._inputs}

    @property
    def kept_ms(self) -> dict[str, int]:
        """By selection, for how long its cells are needed."""
        return {item.selection.id: self.window_ms + item.over_ms for item in self.view.inputs}

    def affected(self, dirty: Mapping[str, Iterable[int]], reached: int) -> set[int]:
        """The buckets whose values may have changed now that others did. dirty: buckets by selection.

        reached: time of the newest sample of the log, epoch ms. A sliding window ends in every bucket up to there, whether
        that one has samples or not.
        """
        found: set[int] = set()
        if not self.view.over_ms and dirty.keys().isdisjoint(self._names):
            return found
        last = reached // self._every * self._every
        for item in self.view.inputs:
            following = max(item.over_ms, self._every)
            done = 0
            for bucket in sorted(dirty.get(item.selection.id, ())):
                end = bucket + min(following, max(last - bucket, 0) + self._every)
                found.update(range(max(bucket, done), end, self._every))
                done = max(done, end)
        if self.view.over_ms:
            if self._reached:
                first = max(self._reached + self._every, last - self.window_ms - KEEP_MS)
                found.update(range(-(-first // self._every) * self._every, last + 1, self._every))
            self._reached = last  # it goes back where the log began anew
        return found

    def step(
        self,
        buckets: Iterable[int],
        closed: int,
        now_ms: int,
        newest: int,
        positions: Mapping[str, int],
        notes: Notes = NO_NOTES,
        hot: int = 0,
        whole: bool = False,
    ) -> ViewCommit | None:
        """What to commit now that these buckets changed; None when nothing did. closed: epoch ms, a multiple of `every`.

        hot: of a coarse view, buckets before this epoch ms are all computed and will not change any more; 0: nobody knows.
        whole: with these buckets everything is computed that the log has of the view's window.
        """
        old = now_ms - self.window_ms - KEEP_MS - self._every  # buckets that start then or before have left
        version = next_version(self.held[1], now_ms, self._term % STEP or free_tag(self._terms, self._chance))
        self._pending = {}
        cells, blobs = [], {}
        for bucket in sorted(set(buckets)):
            if bucket > old and (changed := self._compute(bucket, version)) is not None:
                cells.append(changed)
                values, versions = self._pending[bucket]
                written = np.flatnonzero(versions)
                blobs[bucket] = pack_rows(written.astype(np.uint32), versions[written], values[written])
        closed = max(closed, self.closed)
        told = self._new_notes(notes, now_ms)
        filled = self.window_ms if whole else min(self.filled, self.window_ms)
        filled = 0 if filled == self.filled else filled
        if not cells and not filled and closed == self.closed and told is None and self.held[0]:
            return None
        begins = not self.held[0]
        if begins and not cells and not filled and told is None:
            return None  # nothing has ever been computed, and nothing is to be said of that: there is no history to move
        moves = bool(cells) or begins  # else readers have this version: they would pass over new groups
        change = Change(
            v=VERSION, epoch=self._epoch, prev=self.held[1], version=version if moves else self.held[1],
            closed=closed, at=now_ms, newest=newest, groups=self._new_groups() if moves else [], cells=cells, notes=told, filled=filled,
            first=(self._term or version) if moves else 0, sampled=self._sampled(),
        )  # fmt: skip
        gone = [bucket for bucket in self._values if bucket <= old] if self._first <= old else []
        terms = self._begun(change)
        if not self.coarse:
            return ViewCommit(self.view_id, self.held, self._every, change, blobs, gone, positions, terms=terms)
        return ViewCommit(self.view_id, self.held, self._every, change, blobs, [], positions, hot, max(old, 0), terms)

    def _begun(self, change: Change) -> Terms | None:
        """The terms of the history where this change begins ours. In another epoch than that of what lies there nothing before it counts."""
        if self._term or not change.first:
            return None
        return begun(self._terms, self.held[1] if change.epoch == self.held[0] else 0, change.first)

    def unsure(self) -> None:
        """Whether the last step was taken nobody knows. If so, and the feed loses it, what comes next must not seem to go on from it: it begins another term."""
        self._term = 0

    def accepted(self, step: ViewCommit) -> None:
        """The step was taken."""
        self._term = step.change.first or self._term
        self._terms = self._terms if step.terms is None else step.terms
        self.held = (step.change.epoch, step.change.version)
        self.closed = step.change.closed
        self.notes = self.notes if step.change.notes is None else step.change.notes
        self.filled = step.change.filled or self.filled
        self.sampled = max(self.sampled, step.change.sampled)
        self._told += len(step.change.groups)
        for bucket, (values, versions) in self._pending.items():
            self._values[bucket], self._versions[bucket] = values, versions
        for bucket in step.gone:
            self._values.pop(bucket, None)
            self._versions.pop(bucket, None)
        for bucket in [bucket for bucket in self._values if bucket < step.hot or bucket <= step.old]:
            del self._values[bucket], self._versions[bucket]
        self.hot = max(self.hot, step.hot)
        self._first = min(self._values if step.gone or self.coarse else (self._first, *self._pending), default=_NEVER)
        self._pending = {}

    def _sampled(self) -> int:
        """Time of the newest sample of all inputs, 0 where some partition does not say."""
        found = [item.combined.sampled() for item in self._inputs]
        return max((self.sampled, *(time for time in found if time))) if None not in found else 0

    def _new_groups(self) -> list[NewGroup]:
        """Those that the history does not know yet."""
        return [NewGroup(number, self._labels[number]) for number in range(self._told, len(self._labels))]

    def _new_notes(self, notes: Notes, now_ms: int) -> Notes | None:
        """The notes where they are others than those of the history; at most once a second, since late samples may come with every record."""
        if notes.pooled and not notes.since:  # pooled here, and by no partition
            notes = msgspec.structs.replace(notes, since=self.notes.since or now_ms)
        changed = msgspec.structs.replace(notes, at=self.notes.at) != self.notes and now_ms - self.notes.at >= NOTES_MS
        return msgspec.structs.replace(notes, at=now_ms) if changed else None

    def _compute(self, bucket: int, version: int) -> Cells | None:
        """The cells of a bucket that are not what the history has."""
        values = self._evaluate(bucket)
        held = _grown(self._values.get(bucket), len(values), np.nan)
        versions = _grown(self._versions.get(bucket), len(values), 0)
        changed = np.flatnonzero(~((values == held) | (np.isnan(values) & np.isnan(held))))
        if not len(changed):
            return None
        versions[changed] = version
        self._pending[bucket] = values, versions
        listed = [None if value != value else value for value in values[changed].tolist()]
        return Cells(bucket, changed.tolist(), listed)

    def _evaluate(self, bucket: int) -> F64:
        columns = [item.of(bucket) for item in self._inputs]
        self._places = [
            self._placing(place, item, column) for place, item, column in zip(self._places, self._inputs, columns, strict=True)
        ]
        self.groups = len(self._labels)
        spread = [_placed(column, place, self.groups) for column, place in zip(columns, self._places, strict=True)]
        if self._expression is None:
            return spread[0]
        named = {item.name: column for item, column in zip(self.view.inputs, spread, strict=True)}
        return self._expression.evaluate(named)

    def _placing(self, place: I64, item: Values, column: F64) -> I64:
        """Our numbers of an input's groups; one gets a number when it has its first value."""
        place = np.concatenate((place, np.full(len(column) - len(place), -1)))
        for group in np.flatnonzero((place < 0) & ~np.isnan(column)).tolist():
            place[group] = self._number(item.keys[group])
        return place

    def _number(self, key: bytes) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._labels)
            self._labels.append(matching.group_labels(key))
        return found

    def _take_over(self, groups: Mapping[int, dict[str, str]], rows: Mapping[int, Rows]) -> None:
        for number in range(max(groups, default=-1) + 1):
            labels = groups.get(number, {})
            self._numbers[matching.labels_key(labels, tuple(labels))] = number
            self._labels.append(labels)
        self._told = self.groups = len(self._labels)
        for bucket, held in rows.items():
            size = max(self.groups, 1 + max(held["group"].tolist(), default=-1))
            values, versions = np.full(size, np.nan), np.zeros(size, np.int64)
            values[held["group"]], versions[held["group"]] = held["value"], held["version"]
            self._values[bucket], self._versions[bucket] = values, versions


def _grown(held: npt.NDArray[Any] | None, size: int, fill: float) -> npt.NDArray[Any]:
    """A copy with room for `size` groups."""
    if held is None:
        return np.full(size, fill, np.int64 if fill == 0 else np.float64)
    return np.concatenate((held, np.full(max(0, size - len(held)), fill, held.dtype)))


def _placed(column: F64, place: I64, size: int) -> F64:
    values = np.full(size, np.nan)
    held = place >= 0
    values[place[held]] = column[held]
    return values
