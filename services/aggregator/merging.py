"""Merging: the shell around the views that are merged here.

It holds mirrors of the partials of all partitions, follows them by the entries of commits (those of this process are handed over, those of
others come from their logs in Redis), and commits what changed in each view. What cannot be followed is read again.
"""

import asyncio
import secrets
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis

from services.aggregator import metrics
from services.aggregator.asked import SLACK_MS
from services.aggregator.combine import Combined, values_of
from services.aggregator.mirror import Mirror
from services.aggregator.notes import view_notes
from services.aggregator.owed import FEW, STEP_S, Budget, Owed
from services.aggregator.sweeping import EXPIRE_MS
from services.aggregator.viewmerge import ViewMerge
from services.aggregator.watermark import Progress, closed_until
from services.contract.history import ViewCommit
from services.contract.partials import Entry, SelectionNotes
from services.contract.views import Selection, View
from services.transport import history, lineages, partials
from services.transport.partials import LogTail

log = structlog.get_logger()

Views = Mapping[str, tuple[View, int]]
COMPACT_MS: Final = 60_000
FORGET_MS: Final = 1_000
BEHIND_MS: Final = 10_000
"""A view is not filled while what is folded of a partition ends so long ago or longer, and there is more."""
COARSE_BUCKETS: Final = 2
"""How many buckets of a coarse view one step computes; of more, the newest first, and the others between the steps."""


@dataclass(slots=True)
class _Followed:
    """One partition of one lineage. moved_at: when its newest sample last changed, by this process's clock."""

    mirror: Mirror
    moved_at: int = 0
    max_time: int = 0
    fresh: bool = True  # to be read before the next step
    over: bool = False  # nothing is added to it any more
    since: dict[str, int] = field(default_factory=dict)  # by coarse selection, from which bucket on its cells are held


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the mirrors stood for at the last step."""

    caught_up: Mapping[int, bool]
    closed: int
    newest: int
    positions: Mapping[str, int]
    noted: Sequence[Mapping[str, SelectionNotes]]


@dataclass(slots=True)
class _State:
    """Everything that changes together when other views, partitions or lineages are followed."""

    lineage: str
    followed: dict[tuple[str, int], _Followed]
    combined: dict[str, Combined]
    views: dict[str, ViewMerge] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)  # views whose selections are not folded everywhere yet
    dirty: set[tuple[str, int]] = field(default_factory=set)  # (selection, bucket), beside what the mirrors say
    owed: dict[str, Owed] = field(default_factory=dict)  # by view
    filling: set[str] = field(default_factory=set)  # views that have begun and still owe most of their past
    moment: _Moment | None = None
    listed: list[int] = field(default_factory=list)  # of each mirror, as of the last step
    forgot_at: int = 0  # epoch ms


class Merging:
    """The views that this process merges."""

    def __init__(self, redis: Redis, disorder_ms: int, idle_ms: int) -> None:
        self._redis = redis
        self._disorder_ms = disorder_ms
        self._idle_ms = idle_ms
        self._state: _State | None = None
        self._tail: LogTail | None = None
        self._tailing = False
        self._compacted_at = 0

    @property
    def views(self) -> int:
        return len(self._state.views) if self._state else 0

    def notes(self) -> list[dict[str, object]]:
        """What is noted of the views that are merged here, for a person."""
        found: list[dict[str, object]] = []
        for view_id, merge in self._state.views.items() if self._state else ():
            if merge.notes.late or merge.notes.pooled or merge.notes.left_out:
                first = merge.view.inputs[0]
                found.append(
                    {"view": view_id, "metric": first.selection.metric, "by": first.by, **msgspec.structs.asdict(merge.notes)}
                )
        return found

    async def want(
        self, lineages: Sequence[tuple[str, int]], owned: Iterable[int], views: Views, shown: Container[str]
    ) -> None:
        """Merge these views from now on. lineages: (name, partitions), the present one last. Redis errors: call again.

        shown: the views of all dashboards. One that is merged elsewhere from now on is left alone, one that nobody shows expires.
        """
        before, (lineage, partitions) = self._state, lineages[-1]
        selections = {item.selection.id: item.selection for view, _ in views.values() for item in view.inputs}
        mirrors = {(name, p): _Followed(Mirror(selections)) for name, count in lineages for p in range(count)}
        combined = _combine(selections, [item.mirror for item in mirrors.values()])
        state = _State(lineage, mirrors, combined)
        for view_id, (view, window) in views.items():
            if before and view_id in before.views:
                merge = before.views[view_id]
                merge.window_ms = window
                merge.rebind([values_of(item, combined) for item in view.inputs])
            else:
                await history.keep_view(self._redis, view_id)
                merge = await self._read_view(view, window, state)
            state.views[view_id] = merge
        state.waiting = set(state.views)
        others = set(range(partitions)) - set(owned)
        self._tail, self._tailing = LogTail(self._redis, lineage, sorted(others)) if others else None, False
        for gone in before.views if before else ():
            if gone not in shown:
                await history.expire_view(self._redis, gone, EXPIRE_MS)
        self._state = state
        metrics.VIEWS.set(len(views))

    def doubt(self) -> None:
        """Something went wrong on the way here: what was committed meanwhile nobody may have been told. Read everything again."""
        self._tailing = False
        for item in self._state.followed.values() if self._state else ():
            item.fresh = True

    async def follow(self, entries: Iterable[tuple[int, Entry | None]]) -> None:
        """Take the entries of commits of this process, and what others have committed meanwhile. None: the partition was read again."""
        if (state := self._state) is None:
            return
        found = list(entries)
        if self._tail is not None:
            if not self._tailing:
                await self._tail.start()
                self._tailing = True
            found += await self._tail.read()
        for partition, entry in found:
            item = state.followed[state.lineage, partition]
            item.fresh = item.fresh or entry is None or item.mirror.apply(entry) == "gap"

    async def step(self, caught_up: Mapping[int, bool]) -> None:
        """Compute and commit what changed. caught_up: by partition, whether all of it is folded."""
        if (state := self._state) is None or not state.views:
            return
        await self._refresh(state)
        now = int(time.time() * 1000)
        if now - self._compacted_at > COMPACT_MS:
            self._compacted_at = now
            self._compact(state)
        closed = closed_until(self._progress(state, caught_up, now), now, self._disorder_ms, self._idle_ms)
        if closed > 0:
            metrics.WATERMARK_DELAY_SECONDS.set(max(0, now - closed) / 1000)
        listed = [item.mirror.listed for item in state.followed.values()]
        same, state.listed = listed == state.listed, listed
        for view_id, merge in state.views.items():
            if view_id not in state.waiting and not (same and merge.settled) and merge.settle():
                for name in merge.selections:
                    state.dirty.update((name, bucket) for bucket in state.combined[name].buckets())
        dirty = _take_dirty(state)
        reached = max((item.mirror.max_time for item in state.followed.values()), default=0)
        newest = max((item.mirror.clock for key, item in state.followed.items() if key[0] == state.lineage), default=0)
        positions = {f"{name}:{p}": item.mirror.position for (name, p), item in state.followed.items()}
        noted = [item.mirror.notes for item in state.followed.values() if item.mirror.notes]
        moment = state.moment = _Moment(caught_up, closed, newest, positions, noted)
        budget = Budget(time.perf_counter(), STEP_S)
        steps: list[tuple[ViewMerge, ViewCommit]] = []
        for merge, owed in self._in_turn(state, dirty, reached):
            if merge.view_id in state.filling and len(owed) > FEW:
                continue
            state.filling.discard(merge.view_id)
            most = COARSE_BUCKETS if merge.coarse else owed.share(budget.left(time.perf_counter()))
            if (step := _compute(state, moment, merge, owed, most, now)) is not None:
                steps.append((merge, step))
                await asyncio.sleep(0)  # leases, beats and whoever reads are served in between
        if steps:
            await self._commit(state, steps, now, newest)
        self._forget(state, now)

    async def go_on(self, seconds: float) -> None:
        """Compute and commit a portion of what the last step left; seconds: how long it may compute, about."""
        if (state := self._state) is None or (moment := state.moment) is None:
            return
        now = int(time.time() * 1000)
        budget = Budget(time.perf_counter(), seconds)
        steps: list[tuple[ViewMerge, ViewCommit]] = []
        for merge, owed in self._in_turn(state):
            left = budget.left(time.perf_counter())
            if steps and not left:
                break
            if owed and (step := _compute(state, moment, merge, owed, owed.share(left, 1), now)) is not None:
                steps.append((merge, step))
        if steps:
            await self._commit(state, steps, now, moment.newest)

    def _in_turn(
        self, state: _State, dirty: Mapping[str, set[int]] | None = None, reached: int = 0
    ) -> list[tuple[ViewMerge, Owed]]:
        """The views that can be computed, those first that owe the least: live ones do not wait for one that is being filled."""
        found = []
        for view_id, merge in state.views.items():
            if view_id not in state.waiting:
                owed = state.owed.setdefault(view_id, Owed())
                if dirty is not None:
                    owed.add(bucket for bucket in merge.affected(dirty, reached) if not merge.coarse or bucket >= merge.hot)
                found.append((merge, owed))
        return sorted(found, key=lambda item: (item[0].coarse, len(item[1])))

    @property
    def behind(self) -> bool:
        """Whether some view is still to be computed in part."""
        state = self._state
        return state is not None and any(owed for view_id, owed in state.owed.items() if view_id not in state.waiting)

    async def _commit(self, state: _State, steps: list[tuple[ViewMerge, ViewCommit]], now: int, newest: int) -> None:
        try:
            taken = await history.commit_all(self._redis, [step for _, step in steps])
        except BaseException:
            # Whether they were taken nobody knows: the next commit of each is refused if so, and its history is read again.
            state.waiting.update(step.view for _, step in steps)
            raise
        refused = []
        for (merge, step), accepted in zip(steps, taken, strict=True):
            if accepted:
                merge.accepted(step)
                metrics.VIEW_COMMITS.labels("stored").inc()
                metrics.CELLS.inc(sum(len(cells.groups) for cells in step.change.cells))
            else:
                refused.append(merge)
        for merge in refused:
            log.warning("view refused, its history is read again", view=merge.view_id)
            metrics.VIEW_COMMITS.labels("refused").inc()
            state.waiting.add(merge.view_id)
            state.views[merge.view_id] = again = await self._read_view(merge.view, merge.window_ms, state)
            if again.held[0] == merge.held[0] and again.held[1] < merge.held[1]:
                # A replica was promoted that had not got the last versions. Who read them is not told of cells that come out as they
                # were before, so that nothing they hold compares.
                log.warning("the feed has lost versions of a view", view=merge.view_id, lost=merge.held[1], there=again.held[1])
                again.begin_anew(secrets.token_hex(4))
        if any(step.change.cells for _, step in steps):
            metrics.DELAY_SECONDS.observe(max(0, now - newest) / 1000)
        metrics.GROUPS.set(sum(merge.groups for merge in state.views.values()))
        metrics.POOLED.set(sum(merge.notes.pooled for merge in state.views.values()))
        metrics.LEFT_OUT.set(sum(merge.notes.left_out for merge in state.views.values()))

    async def _refresh(self, state: _State) -> None:
        """Read what cannot be followed, and let views begin whose selections are there by now."""
        needed = _needed(state)
        await self._look_back(state)
        for (lineage, partition), item in state.followed.items():
            if item.fresh or any(first < item.since.get(name, 0) for name, first in needed.items()):
                stored = await partials.load(self._redis, lineage, partition, since=needed)
                if stored is not None:
                    item.mirror.load(stored)
                    item.since = dict(needed)
                item.fresh = stored is None and lineage == state.lineage
        present = [item.mirror.available for (lineage, _), item in state.followed.items() if lineage == state.lineage]
        ready = frozenset.intersection(*present) if present else frozenset()
        for view_id in [view_id for view_id in state.waiting if state.views[view_id].selections <= ready]:
            state.waiting.discard(view_id)
            state.filling.add(view_id)
            for name in state.views[view_id].selections:
                state.dirty.update((name, bucket) for bucket in state.combined[name].buckets())

    async def _look_back(self, state: _State) -> None:
        """Read logs that are over again where the last of them was stored meanwhile; once they are closed nothing changes any more."""
        for lineage in {name for name, _ in state.followed if name != state.lineage}:
            open_ = {p: item for (name, p), item in state.followed.items() if name == lineage and not item.over}
            for item, stamp in zip(open_.values(), await lineages.stamps(self._redis, lineage, open_), strict=True):
                item.fresh |= stamp != item.mirror.stamp
                item.over = lineages.closed(stamp) or (not stamp and item.mirror.position >= 0)

    def _compact(self, state: _State) -> None:
        """Begin a new epoch of views whose groups have mostly come and gone. It changes their numbers, and no cell."""
        wasteful = [merge for view_id, merge in state.views.items() if view_id not in state.waiting and merge.wasteful]
        names = {name for merge in wasteful for name in merge.selections}
        mirrors = [item.mirror for item in state.followed.values()]
        state.combined |= {name: Combined(name, state.combined[name].selection, mirrors) for name in names}
        for merge in state.views.values():
            if merge.selections & names:
                merge.rebind([values_of(item, state.combined) for item in merge.view.inputs])
        for merge in wasteful:
            log.info("groups are numbered anew", view=merge.view_id, groups=merge.groups)
            merge.begin_anew(secrets.token_hex(4))
            state.dirty.update((name, bucket) for name in merge.selections for bucket in state.combined[name].buckets())

    def _progress(self, state: _State, caught_up: Mapping[int, bool], now: int) -> list[Progress]:
        found = []
        for (lineage, partition), item in state.followed.items():
            if lineage == state.lineage:
                if item.mirror.max_time != item.max_time:
                    item.max_time, item.moved_at = item.mirror.max_time, now
                found.append(Progress(item.max_time, item.moved_at, caught_up.get(partition, False)))
        return found

    async def _read_view(self, view: View, window_ms: int, state: _State) -> ViewMerge:
        """The view as it lies in Redis. A partition of which its last merge had read further than this process is read again."""
        held = await (history.read_hot if view.coarse else history.read_view)(self._redis, view.id)
        for (lineage, partition), item in state.followed.items():
            item.fresh |= held is not None and held.positions.get(f"{lineage}:{partition}", -1) > item.mirror.position
        inputs = [values_of(item, state.combined) for item in view.inputs]
        return ViewMerge(view, window_ms, inputs, held, secrets.token_hex(4))

    def _forget(self, state: _State, now: int) -> None:
        """Drop what nobody looks at any more, once in a while."""
        if now - state.forgot_at < FORGET_MS:
            return
        state.forgot_at = now
        before: dict[str, int] = {}
        for merge in state.views.values():
            for name in merge.selections:
                before[name] = min(
                    before.get(name, now), now - merge.window_ms - merge.view.over_ms - merge.view.every_ms - SLACK_MS
                )
        needed = _needed(state)
        for name, first in needed.items():
            before[name] = max(first, before[name])
        for item in state.followed.values():
            item.mirror.forget(before)
            item.since = {name: max(first, item.since.get(name, 0)) for name, first in needed.items()}


def _compute(state: _State, moment: _Moment, merge: ViewMerge, owed: Owed, most: int, now: int) -> ViewCommit | None:
    """The step of a view that computes so many of the buckets that it owes, the newest first."""
    began = time.perf_counter()
    known = merge.filled == merge.window_ms and not moment.noted and merge.quiet
    if not owed and known and _closed(moment, merge, owed) <= merge.closed:
        return None
    buckets, hot = owed.take(most), 0
    if merge.coarse and not owed:
        hot = _hot(state, merge, moment.caught_up, now)
    notes = view_notes(merge.view, moment.noted, merge.pooling())
    whole = merge.filled != merge.window_ms and not owed and _is_there(state, moment, merge, now)
    until = _closed(moment, merge, owed)
    step = merge.step(buckets, until, now, moment.newest, moment.positions, notes, hot, whole)
    owed.took(len(buckets), time.perf_counter() - began)
    return step


def _is_there(state: _State, moment: _Moment, merge: ViewMerge, now: int) -> bool:
    """Whether all of a view's window is folded, in all partitions."""
    for (lineage, partition), item in state.followed.items():
        if lineage == state.lineage:
            if not moment.caught_up.get(partition) and item.mirror.clock < now - BEHIND_MS:
                return False
            kept = item.mirror.retentions
            if any(kept.get(one.selection.id, 0) < merge.window_ms + one.over_ms for one in merge.view.inputs):
                return False
    return True


def _closed(moment: _Moment, merge: ViewMerge, owed: Owed) -> int:
    """Until when the buckets of a view are closed, epoch ms."""
    every = merge.view.every_ms
    return (owed.closed(moment.closed) - merge.behind_ms) // every * every


def _needed(state: _State) -> dict[str, int]:
    """By coarse selection, from which bucket on (epoch ms) its cells are looked at: those that may still change or are still to be computed."""
    found: dict[str, int] = {}
    for merge in state.views.values():
        if merge.coarse:
            first = max(0, merge.hot - merge.view.over_ms)
            for name in merge.selections:
                found[name] = min(first, found.get(name, first))
    return found


def _hot(state: _State, merge: ViewMerge, caught_up: Mapping[int, bool], now: int) -> int:
    """Epoch ms before which no partition writes a bucket of this view any more. One that is caught up will only see records of now."""
    found = []
    for (lineage, partition), item in state.followed.items():
        if lineage == state.lineage:
            clock = now - SLACK_MS if caught_up.get(partition) else item.mirror.clock
            cold_after = item.mirror.cold_after
            found += [clock - cold_after[name] if name in cold_after else 0 for name in merge.selections]
    return max(0, min(found, default=0))


def _combine(selections: Mapping[str, Selection], mirrors: Sequence[Mirror]) -> dict[str, Combined]:
    return {name: Combined(name, selection, mirrors) for name, selection in selections.items()}


def _take_dirty(state: _State) -> dict[str, set[int]]:
    """Which buckets changed, by selection."""
    found: dict[str, set[int]] = {}
    for dirty in (state.dirty, *(item.mirror.dirty for item in state.followed.values())):
        for name, bucket in dirty:
            found.setdefault(name, set()).add(bucket)
        dirty.clear()
    return found
