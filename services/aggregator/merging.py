"""Merging: the shell around the views that are merged here.

It computes what changed in the partials of all partitions, which `following` keeps up to date, and commits it, view by view. A commit that was
refused means that another owner has been here: the view's history is read again.
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
from services.aggregator.combine import Combined, Values, values_of
from services.aggregator.following import Following
from services.aggregator.notes import view_notes
from services.aggregator.owed import FEW, STEP_S, Budget, Owed
from services.aggregator.sweeping import EXPIRE_MS
from services.aggregator.viewmerge import ViewMerge
from services.aggregator.watermark import closed_until
from services.contract.history import ViewCommit, ViewHistory
from services.contract.partials import Entry, SelectionNotes
from services.contract.views import Selection, View
from services.transport import history

log = structlog.get_logger()

Views = Mapping[str, tuple[View, int]]
Histories = Mapping[str, ViewHistory | None]
COMPACT_MS: Final = 60_000
FORGET_MS: Final = 1_000
BEHIND_MS: Final = 10_000
STOPPED_MS: Final = 2_000  # no step takes so long to compute by itself
"""A view is not filled while what is folded of a partition ends so long ago or longer, and there is more."""
COARSE_BUCKETS: Final = 2
"""How many buckets of a coarse view one step computes; of more, the newest first, and the others between the steps."""


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
    """Everything that changes together when other partitions or lineages are followed."""

    following: Following
    combined: dict[str, Combined] = field(default_factory=dict)
    views: dict[str, ViewMerge] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)  # views whose selections are not folded everywhere yet
    begun: set[str] = field(default_factory=set)  # views that owe all buckets that there are, from the next step on
    owed: dict[str, Owed] = field(default_factory=dict)  # by view
    filling: set[str] = field(default_factory=set)  # views that have begun and still owe most of their past
    moment: _Moment | None = None
    listed: list[int] = field(default_factory=list)  # of each mirror, as of the last step
    forgot_at: int = 0  # epoch ms

    def combine(self, selections: Mapping[str, Selection]) -> None:
        """Follow these selections; what is combined of those that were followed before stays."""
        self.following.follow(selections)
        mirrors = self.following.mirrors
        self.combined = {name: self.combined.get(name) or Combined(name, item, mirrors) for name, item in selections.items()}

    def drop(self, view_id: str) -> None:
        del self.views[view_id]
        self.owed.pop(view_id, None)
        for views in (self.waiting, self.begun, self.filling):
            views.discard(view_id)

    def values(self, view: View) -> list[Values]:
        return [values_of(item, self.combined) for item in view.inputs]

    def past(self, merge: ViewMerge) -> dict[str, set[int]]:
        """All buckets that there are of what a view reads."""
        return {name: self.combined[name].buckets() for name in merge.selections}


class Merging:
    """The views that this process merges."""

    def __init__(self, redis: Redis, disorder_ms: int, idle_ms: int) -> None:
        self._redis = redis
        self._disorder_ms = disorder_ms
        self._idle_ms = idle_ms
        self._state: _State | None = None
        self._compacted_at = 0
        self._dropped = False  # the last step was computed and not committed

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
        partitions = lineages[-1][1]
        others = sorted(set(range(partitions)) - set(owned))
        selections = {item.selection.id: item.selection for view, _ in views.values() for item in view.inputs}
        before = self._state
        known = before.views.keys() if before else set[str]()
        await history.expire_views(self._redis, [gone for gone in known - views.keys() if gone not in shown], EXPIRE_MS)
        new = {view_id: view for view_id, (view, _) in views.items() if view_id not in known}
        await history.keep_views(self._redis, list(new))
        held = {view_id: await self._read(view) for view_id, view in new.items()}
        if before and (before.following.logs, before.following.others) == (list(lineages), others):
            self._change(before, views, selections, held)
        else:
            self._state = _begun(before, Following(self._redis, lineages, others, selections), views, selections, held)
        metrics.VIEWS.set(len(views))

    async def _read(self, view: View) -> ViewHistory | None:
        return await (history.read_hot if view.coarse else history.read_view)(self._redis, view.id)

    def _change(self, state: _State, views: Views, selections: Mapping[str, Selection], held: Histories) -> None:
        """Other views over the same partitions: those that stay go on, and so do the partials that they are made of."""
        for gone in state.views.keys() - views.keys():
            state.drop(gone)
        state.combine(selections)
        for view_id, (view, window) in views.items():
            if view_id in held:
                state.views[view_id] = _merge(state, view, window, held[view_id])
                state.waiting.add(view_id)
                continue
            merge = state.views[view_id]
            if window > merge.window_ms:
                state.begun.add(view_id)
            merge.window_ms = window

    def doubt(self) -> None:
        """Something went wrong on the way here: what was committed meanwhile nobody may have been told. Read everything again."""
        if self._state:
            self._state.following.doubt()

    async def follow(self, entries: Iterable[tuple[int, Entry | None]]) -> None:
        """Take the entries of commits of this process, and what others have committed meanwhile. None: the partition was read again."""
        if self._state:
            await self._state.following.take(entries)

    async def step(self, caught_up: Mapping[int, bool]) -> None:
        """Compute and commit what changed. caught_up: by partition, whether all of it is folded."""
        if (state := self._state) is None or not state.views:
            metrics.WATERMARK_DELAY_SECONDS.set(0)  # nothing is closed here any more, so nothing is closed late
            return
        await self._refresh(state)
        now = int(time.time() * 1000)
        if now - self._compacted_at > COMPACT_MS:
            self._compacted_at = now
            self._compact(state)
        following = state.following
        closed = closed_until(following.progress(caught_up, now), now, self._disorder_ms, self._idle_ms)
        if closed > 0:
            metrics.WATERMARK_DELAY_SECONDS.set(max(0, now - closed) / 1000)
        listed = following.listed()
        same, state.listed = listed == state.listed, listed
        for view_id, merge in state.views.items():
            if view_id not in state.waiting and not (same and merge.settled) and merge.settle():
                state.begun.add(view_id)
        _owe(state, following.take_dirty(), following.reached())
        newest = following.newest()
        moment = state.moment = _Moment(caught_up, closed, newest, following.positions(), following.noted())
        budget = Budget(time.perf_counter(), STEP_S)
        steps: list[tuple[ViewMerge, ViewCommit]] = []
        for merge, owed in _in_turn(state):
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
        for merge, owed in _in_turn(state):
            left = budget.left(time.perf_counter())
            if steps and not left:
                break
            if owed and (step := _compute(state, moment, merge, owed, owed.share(left, 1), now)) is not None:
                steps.append((merge, step))
        if steps:
            await self._commit(state, steps, now, moment.newest)

    @property
    def behind(self) -> bool:
        """Whether some view is still to be computed in part."""
        state = self._state
        return state is not None and any(owed for view_id, owed in state.owed.items() if view_id not in state.waiting)

    async def _commit(self, state: _State, steps: list[tuple[ViewMerge, ViewCommit]], now: int, newest: int) -> None:
        """Store steps whose versions were made at epoch ms `now`.

        Where the process was stopped since then, others may have published newer ones, and a feed that has lost these (a replica was promoted)
        would take ours. Readers of those would pass over them. So that step is dropped and computed again; never two in a row, for one may also be slow.
        """
        self._dropped = not self._dropped and int(time.time() * 1000) - now > STOPPED_MS
        if self._dropped:
            log.warning("stopped before a commit, everything is read again", views=len(steps))
            state.waiting.update(step.view for _, step in steps)
            self.doubt()
            return
        try:
            taken = await history.commit_all(self._redis, [step for _, step in steps])
        except BaseException:
            # Whether they were taken nobody knows: the next commit of each is refused if so, and its history is read again.
            state.waiting.update(step.view for _, step in steps)
            for merge, _ in steps:
                merge.unsure()
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
            await self._read_again(state, merge)
        if any(step.change.cells for _, step in steps):
            metrics.DELAY_SECONDS.observe(max(0, now - newest) / 1000)
        metrics.GROUPS.set(sum(merge.groups for merge in state.views.values()))
        metrics.POOLED.set(sum(merge.notes.pooled for merge in state.views.values()))
        metrics.LEFT_OUT.set(sum(merge.notes.left_out for merge in state.views.values()))

    async def _check(self, state: _State) -> None:
        """See whether what was committed of views still lies there: one that does not change would not show that the feed has lost it."""
        there = await history.heads(self._redis, list(state.views))
        # Where there is more than was written, another one merges, too: the next commit is refused if so.
        lost = [merge for merge, (_, version) in zip(state.views.values(), there, strict=True) if version < merge.held[1]]
        if lost:
            log.warning("the feed has lost what was written of views, it is read again", views=len(lost))
        for merge in lost:
            await self._read_again(state, merge)

    async def _read_again(self, state: _State, merge: ViewMerge) -> None:
        state.waiting.add(merge.view_id)
        state.views[merge.view_id] = again = _merge(state, merge.view, merge.window_ms, await self._read(merge.view))
        if merge.anew:  # and that is not committed yet: it still must be, whoever has written meanwhile
            again.begin_anew(secrets.token_hex(4))
        elif again.held[0] == merge.held[0] and again.held[1] < merge.held[1]:
            # A replica was promoted that had not got the last versions. Who read them is not told of cells that come out as they
            # were before, so that nothing they hold compares.
            log.warning("the feed has lost versions of a view", view=merge.view_id, lost=merge.held[1], there=again.held[1])
            again.begin_anew(secrets.token_hex(4))

    async def _refresh(self, state: _State) -> None:
        """Read what cannot be followed, and let views begin whose selections are there by now."""
        if state.following.doubtful:
            await self._check(state)
        changed = await state.following.refresh(_needed(state))
        ready = state.following.ready
        if changed:  # a partition may be without them for a moment, as where another aggregator has other dashboards already
            state.waiting.update(view_id for view_id, merge in state.views.items() if not merge.selections <= ready)
        for view_id in [view_id for view_id in state.waiting if state.views[view_id].selections <= ready]:
            state.waiting.discard(view_id)
            state.filling.add(view_id)
            state.begun.add(view_id)

    def _compact(self, state: _State) -> None:
        """Begin a new epoch of views whose groups have mostly come and gone. It changes their numbers, and no cell."""
        wasteful = [merge for view_id, merge in state.views.items() if view_id not in state.waiting and merge.wasteful]
        names = {name for merge in wasteful for name in merge.selections}
        mirrors = state.following.mirrors
        state.combined |= {name: Combined(name, state.combined[name].selection, mirrors) for name in names}
        for merge in state.views.values():
            if merge.selections & names:
                merge.rebind(state.values(merge.view))
        for merge in wasteful:
            log.info("groups are numbered anew", view=merge.view_id, groups=merge.groups)
            merge.begin_anew(secrets.token_hex(4))
            state.begun.add(merge.view_id)

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
        state.following.forget(before, needed)


def _begun(
    before: _State | None,
    following: Following,
    views: Views,
    selections: Mapping[str, Selection],
    held: Histories,
) -> _State:
    """Other partitions, or other logs: all partials are read anew, and views go on from where they were."""
    state = _State(following)
    state.combine(selections)
    for view_id, (view, window) in views.items():
        if before and view_id not in held:
            merge = before.views[view_id]
            merge.window_ms = window
            merge.rebind(state.values(view))
            state.views[view_id] = merge
        else:
            state.views[view_id] = _merge(state, view, window, held[view_id])
    state.waiting = set(state.views)
    return state


def _merge(state: _State, view: View, window_ms: int, held: ViewHistory | None) -> ViewMerge:
    """The view as it lies in Redis. A partition of which its last merge had read further than this process is read again."""
    if held is not None:
        state.following.behind(held.positions)
    return ViewMerge(view, window_ms, state.values(view), held, secrets.token_hex(4))


def _owe(state: _State, dirty: Mapping[str, set[int]], reached: int) -> None:
    """Note what each view has to compute now that these buckets of selections changed. reached: time of the newest sample, epoch ms."""
    for view_id, merge in state.views.items():
        if view_id in state.waiting:
            continue
        changed = dirty
        if view_id in state.begun:
            changed = {name: buckets | dirty.get(name, set()) for name, buckets in state.past(merge).items()}
        owed = state.owed.setdefault(view_id, Owed())
        owed.add(bucket for bucket in merge.affected(changed, reached) if not merge.coarse or bucket >= merge.hot)
    state.begun.clear()


def _in_turn(state: _State) -> list[tuple[ViewMerge, Owed]]:
    """The views that can be computed, those first that owe the least: live ones do not wait for one that is being filled."""
    found = [(merge, state.owed[view_id]) for view_id, merge in state.views.items() if view_id not in state.waiting]
    return sorted(found, key=lambda item: (item[0].coarse, len(item[1])))


def _compute(state: _State, moment: _Moment, merge: ViewMerge, owed: Owed, most: int, now: int) -> ViewCommit | None:
    """The step of a view that computes so many of the buckets that it owes, the newest first."""
    began = time.perf_counter()
    known = merge.filled == merge.window_ms and not moment.noted and merge.quiet
    if not owed and known and _closed(moment, merge, owed) <= merge.closed:
        return None
    buckets, hot = owed.take(most), 0
    if merge.coarse and not owed:
        hot = state.following.hot(merge.selections, moment.caught_up, now)
    notes = view_notes(merge.view, moment.noted, merge.pooling())
    whole = merge.filled != merge.window_ms and not owed
    whole = whole and state.following.holds(merge.kept_ms, moment.caught_up, now - BEHIND_MS)
    until = _closed(moment, merge, owed)
    step = merge.step(buckets, until, now, moment.newest, moment.positions, notes, hot, whole)
    owed.took(len(buckets), time.perf_counter() - began)
    return step


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
