"""A mirror: the partial cells of one partition of one lineage, as a merge holds them. Pure.

It follows the partition's fold by its log entries, each of which goes from one offset to the next. Of selections that an entry says to be others
than before, and of those that are asked for later, the cells are read alone (`lacking`, `extend`): the others go on.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from services.aggregator.bucketed import Accumulator
from services.aggregator.packed import cells_of
from services.contract.partials import Config, Entry, Header, SelectionNotes, Stored
from services.contract.views import Selection

Outcome = Literal["applied", "old", "gap"]
"""gap: entries are missing in between, or the fold began anew or computes something else now; read the partition again."""


class Mirror:
    """The cells of the selections that somebody here merges."""

    def __init__(self, selections: Mapping[str, Selection]) -> None:
        self.position = -1
        self.cold_after: dict[str, int] = {}  # see partials.Config
        self.digest = ""
        self.stamp = ""  # of the commit that it stands at
        self.available: frozenset[str] = (
            frozenset()
        )  # selections that the fold computes by now, and that are here where they are merged
        self.retentions: dict[str, int] = {}  # for how long it keeps their cells, ms
        self.lacking: frozenset[str] = frozenset()  # selections that lie there and are not here
        self.untold = False  # what the fold computes is to be read anew
        self._folded: frozenset[str] = frozenset()  # what it computes, as far as that is known
        self._absent = set(selections)  # what is merged and is not here
        self.clock = 0
        self.max_time = 0
        self.notes: dict[str, SelectionNotes] = {}
        self.sampled: dict[str, int] | None = None  # see partials.FoldState
        self.dirty: set[tuple[str, int]] = set()  # (selection, bucket)
        self.generations = dict.fromkeys(
            selections, 0
        )  # by selection: grows when its groups may be numbered otherwise than before
        self.listed = 0  # grows when that happens, and when groups are added to some list
        self._selections = dict(selections)
        self._changes: dict[str, dict[int, int]] = {name: {} for name in selections}  # by bucket: how often it changed
        self.keys: dict[str, list[bytes]] = {}
        self._unread: dict[str, dict[int, dict[int, bytes]]] = {}  # by bucket and page
        self.cells: dict[str, Accumulator] = {}
        for name in selections:
            self._clear(name)

    def follow(self, selections: Mapping[str, Selection]) -> None:
        """Hold the cells of these selections from now on; those that were held before go on."""
        for name in self._selections.keys() - selections.keys():
            for held in (self.keys, self._unread, self.cells, self.generations, self._changes):
                held.pop(name, None)
        new = selections.keys() - self._selections.keys()
        self._selections = dict(selections)
        for name in new:
            self.generations[name], self._changes[name] = 0, {}
            self._clear(name)
        self._absent = (self._absent & selections.keys()) | new
        self._compare()

    def lack(self, names: Iterable[str]) -> None:
        """More of these selections is needed than is here."""
        if names := self.available & frozenset(names) & self._selections.keys():
            self._absent |= names
            self._compare()

    def lack_nothing(self) -> None:
        """Nothing lies there any more; what is here stays as it is."""
        self._folded -= self._absent
        self.untold = False
        self._compare()

    def load(self, stored: Stored) -> None:
        """Hold what is stored, and nothing else; all of it, and all that was held before, counts as changed."""
        self.position, self.digest, self.stamp = stored.offset, stored.config.digest, stored.stamp
        self.clock, self.max_time = stored.state.clock, stored.state.max_time
        self._take_over(stored, self._selections)

    def asks_for(self) -> list[str]:
        """Selections that are to be read: those that are lacking, and those that may be."""
        return sorted(self._absent if self.untold else self.lacking)

    def extend(self, stored: Stored, names: Iterable[str]) -> bool:
        """Take over these selections, as they are stored; False: that is not where this stands, read the partition again."""
        if not self.stamp or (stored.offset, stored.config.digest, stored.stamp) != (self.position, self.digest, self.stamp):
            return False
        self._take_over(stored, frozenset(names) & self._selections.keys() & stored.config.selections.keys())
        return True

    def apply(self, entry: Entry) -> Outcome:
        """Take one log entry."""
        header = entry.header
        anew = header.whole or header.digest != self.digest
        if (anew and not self._can_follow(header)) or header.from_ > self.position or header.to < header.from_:
            return "gap"
        if header.to < self.position or (header.to == self.position and header.from_ < header.to):
            return "old"
        if header.stamp and header.stamp == self.stamp:
            return "old"
        if header.from_ != self.position or (header.after and header.after != self.stamp):
            return "gap"
        reset = frozenset(header.reset)
        if not self._knows(header, reset if entry.config is None else frozenset()):
            return "gap"
        if anew:
            self._begin_anew(header, reset, entry.config)
        for new in header.keys:
            if (keys := self.keys.get(new.selection)) is not None and new.selection not in self._absent:
                keys[new.first :] = new.keys
                self.listed += 1
        for page, blob in entry.pages:
            if page.selection in self.cells and page.selection not in self._absent:
                self._unread[page.selection].setdefault(page.bucket, {})[page.page] = blob
                self._touch(page.selection, page.bucket)
        self.position, self.clock, self.max_time, self.stamp = header.to, header.clock, header.max_time, header.stamp
        self.notes |= header.notes
        self.sampled = None if header.sampled is None else (self.sampled or {}) | header.sampled
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
        return self.generations[name], self._changes[name].get(bucket, 0)

    def content(self, name: str, bucket: int) -> Any:
        """What a bucket of a selection holds, as `Accumulator.content` gives it. PartialsError where its pages cannot be read.

        Pages are read when they are first asked for: a partition that is loaded whole costs little at once.
        """
        cells = self.cells[name]
        for page, blob in self._unread[name].pop(bucket, {}).items():
            cells.load(bucket, page, blob)
        return cells.content(bucket)

    def _can_follow(self, header: Header) -> bool:
        """Whether an entry under another configuration, or with selections that began anew, goes on from just what is here."""
        return bool(header.before) and (header.before, header.after) == (self.digest, self.stamp) and bool(self.stamp)

    def _knows(self, header: Header, unread: frozenset[str]) -> bool:
        """Whether the groups that an entry adds are numbered from where they end here. Of the same offset again they may be known."""
        return header.from_ == header.to or all(
            new.first == (0 if new.selection in header.reset else len(self.keys[new.selection]))
            for new in header.keys
            if new.selection in self.keys and new.selection not in self._absent and new.selection not in unread
        )

    def _begin_anew(self, header: Header, reset: frozenset[str], config: Config | None) -> None:
        """Some selections are others than before, or the fold computes others. config: what it computes, where the entry has all of it."""
        for name in reset & self.cells.keys():
            self._touch_all(name)
            self._clear(name)
            self.generations[name] += 1
            self.listed += 1
        self.digest = header.digest
        if config is None:
            self._absent |= reset & self.cells.keys()
            self._folded -= reset
            self.untold = True
            self._compare()
        else:
            self._absent -= reset
            self._compute(config)

    def _compute(self, config: Config) -> None:
        """This is what the fold computes."""
        self._folded, self.untold = frozenset(config.selections), False
        self.retentions, self.cold_after = config.retentions, config.cold_after()
        self._compare()

    def _compare(self) -> None:
        """See what is here of what the fold computes."""
        self.lacking, self.available = self._folded & self._absent, self._folded - self._absent

    def _take_over(self, stored: Stored, names: Iterable[str]) -> None:
        """Hold what is stored of these selections, and what it says of all."""
        for name in names:
            self._touch_all(name)
            self._clear(name)
            self.generations[name] += 1
            self.listed += 1
            self.keys[name] = list(stored.keys.get(name, ()))
            for (bucket, page), blob in stored.pages.get(name, {}).items():
                self._unread[name].setdefault(bucket, {})[page] = blob
            self._touch_all(name)
        self._absent.difference_update(names)
        self.notes = dict(stored.state.notes)
        self.sampled = None if stored.state.sampled is None else dict(stored.state.sampled)
        self._compute(stored.config)

    def _clear(self, name: str) -> None:
        self.keys[name], self._unread[name], self.cells[name] = [], {}, cells_of(self._selections[name])

    def _touch_all(self, name: str) -> None:
        for bucket in self.buckets(name):
            self._touch(name, bucket)

    def _touch(self, name: str, bucket: int) -> None:
        self.dirty.add((name, bucket))
        self._changes[name][bucket] = self._changes[name].get(bucket, 0) + 1
