"""Following: the shell around the mirrors of all partitions, of the present log and of those before it.

They go on by the entries of commits: those of this process are handed over, those of others come from their logs in Redis. What is lacking is read
alone where it joins on, and what cannot be followed is read whole. What views are made of it is `merging`'s business.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from services.aggregator.asked import SLACK_MS
from services.aggregator.mirror import Mirror
from services.aggregator.watermark import Progress
from services.contract.partials import Entry, SelectionNotes
from services.contract.views import Selection
from services.transport import lineages, partials
from services.transport.partials import LogTail


@dataclass(slots=True)
class Followed:
    """One partition of one lineage. moved_at: when its newest sample last changed, by this process's clock."""

    mirror: Mirror
    moved_at: int = 0
    max_time: int = 0
    fresh: bool = True  # to be read before the next step
    over: bool = False  # nothing is added to it any more
    since: dict[str, int] = field(default_factory=dict)  # by coarse selection, from which bucket on its cells are held


class Following:
    """logs: (lineage, partitions), the present one last. others: partitions of it that are folded elsewhere."""

    def __init__(
        self, redis: Redis, logs: Sequence[tuple[str, int]], others: Sequence[int], selections: Mapping[str, Selection]
    ) -> None:
        self.logs = list(logs)
        self.others = list(others)
        self.ready: frozenset[str] = frozenset()  # selections that are folded and held in every partition of the present log
        self._redis = redis
        self._lineage = logs[-1][0]
        self._followed = {(name, p): Followed(Mirror(selections)) for name, count in logs for p in range(count)}
        self._present = [item for (name, _), item in self._followed.items() if name == self._lineage]
        self._available: list[frozenset[str]] = []
        self._tail = LogTail(redis, self._lineage, self.others) if others else None
        self._tailing = False

    @property
    def mirrors(self) -> list[Mirror]:
        return [item.mirror for item in self._followed.values()]

    def follow(self, selections: Mapping[str, Selection]) -> None:
        """Hold these selections from now on."""
        for item in self._followed.values():
            item.mirror.follow(selections)
            item.since = {name: first for name, first in item.since.items() if name in selections}

    def doubt(self) -> None:
        """Read everything again."""
        self._tailing = False
        for item in self._followed.values():
            item.fresh = True

    def behind(self, positions: Mapping[str, int]) -> None:
        """Read again what does not reach these positions, by '<lineage>:<partition>'."""
        for (lineage, partition), item in self._followed.items():
            item.fresh |= positions.get(f"{lineage}:{partition}", -1) > item.mirror.position

    async def take(self, entries: Iterable[tuple[int, Entry | None]]) -> None:
        """The entries of commits of this process, and what others have committed meanwhile. None: the partition was read again."""
        found = list(entries)
        if self._tail is not None:
            if not self._tailing:
                await self._tail.start()
                self._tailing = True
            found += await self._tail.read()
        for partition, entry in found:
            item = self._followed[self._lineage, partition]
            item.fresh = item.fresh or entry is None or item.mirror.apply(entry) == "gap"

    async def refresh(self, needed: Mapping[str, int]) -> bool:
        """Read what cannot be followed; whether other selections are ready than before. needed: by coarse selection, from which bucket on it is."""
        await self._look_back()
        for (lineage, partition), item in self._followed.items():
            short = {name for name, first in needed.items() if first < item.since.get(name, 0)}
            item.mirror.lack(short)
            if not item.fresh and (item.mirror.lacking or item.mirror.untold):
                await self._extend(lineage, partition, item, needed)
            if item.fresh:
                await self._load(lineage, partition, item, needed)
        available = [item.mirror.available for item in self._present]
        if len(available) == len(self._available) and all(a is b for a, b in zip(available, self._available, strict=True)):
            return False
        self._available, before = available, self.ready
        self.ready = frozenset.intersection(*available) if available else frozenset()
        return self.ready != before

    @property
    def doubtful(self) -> bool:
        """Whether something is to be read whole: a feed that lost it may have lost views, too."""
        return any(item.fresh for item in self._present)

    def take_dirty(self) -> dict[str, set[int]]:
        """Which buckets changed since the last time, by selection."""
        found: dict[str, set[int]] = {}
        for item in self._followed.values():
            for name, bucket in item.mirror.dirty:
                found.setdefault(name, set()).add(bucket)
            item.mirror.dirty.clear()
        return found

    def listed(self) -> list[int]:
        """Of each mirror a number that grows when groups are added or numbered otherwise."""
        return [item.mirror.listed for item in self._followed.values()]

    def positions(self) -> dict[str, int]:
        """How far each partition is followed, by '<lineage>:<partition>'."""
        return {f"{name}:{p}": item.mirror.position for (name, p), item in self._followed.items()}

    def reached(self) -> int:
        """Time of the newest sample, epoch ms."""
        return max((item.mirror.max_time for item in self._followed.values()), default=0)

    def newest(self) -> int:
        """Ingest time of the newest record of the present log, epoch ms."""
        return max((item.mirror.clock for item in self._present), default=0)

    def noted(self) -> list[Mapping[str, SelectionNotes]]:
        return [item.mirror.notes for item in self._followed.values() if item.mirror.notes]

    def progress(self, caught_up: Mapping[int, bool], now: int) -> list[Progress]:
        """Of each partition of the present log."""
        found = []
        for partition, item in enumerate(self._present):
            if item.mirror.max_time != item.max_time:
                item.max_time, item.moved_at = item.mirror.max_time, now
            found.append(Progress(item.max_time, item.moved_at, caught_up.get(partition, False)))
        return found

    def holds(self, kept_ms: Mapping[str, int], caught_up: Mapping[int, bool], since: int) -> bool:
        """Whether all partitions are folded as far back as these selections are to be kept, and as far on as the log goes or to this epoch ms."""
        return all(
            (caught_up.get(partition, False) or item.mirror.clock >= since)
            and all(item.mirror.retentions.get(name, 0) >= ms for name, ms in kept_ms.items())
            for partition, item in enumerate(self._present)
        )

    def hot(self, names: Iterable[str], caught_up: Mapping[int, bool], now: int) -> int:
        """Epoch ms before which no partition writes a bucket of these coarse selections any more. One that is caught up will only see records of now."""
        names, found = list(names), []
        for partition, item in enumerate(self._present):
            clock = now - SLACK_MS if caught_up.get(partition) else item.mirror.clock
            cold_after = item.mirror.cold_after
            found += [clock - cold_after[name] if name in cold_after else 0 for name in names]
        return max(0, min(found, default=0))

    def forget(self, before: Mapping[str, int], needed: Mapping[str, int]) -> None:
        """Drop buckets that start before these times, epoch ms by selection."""
        for item in self._followed.values():
            item.mirror.forget(before)
            item.since = {name: max(first, item.since.get(name, 0)) for name, first in needed.items()}

    async def _extend(self, lineage: str, partition: int, item: Followed, needed: Mapping[str, int]) -> None:
        names = item.mirror.asks_for()
        stored = await partials.load(self._redis, lineage, partition, names, needed)
        if stored is None or not item.mirror.extend(stored, names):
            item.fresh = True
        else:
            item.since |= {name: needed[name] for name in names if name in needed}

    async def _load(self, lineage: str, partition: int, item: Followed, needed: Mapping[str, int]) -> None:
        stored = await partials.load(self._redis, lineage, partition, since=needed)
        if stored is not None:
            item.mirror.load(stored)
            item.since = dict(needed)
        else:
            item.mirror.lack_nothing()
        item.fresh = stored is None and lineage == self._lineage

    async def _look_back(self) -> None:
        """Read logs that are over again where the last of them was stored meanwhile; once they are closed nothing changes any more."""
        for lineage in {name for name, _ in self._followed if name != self._lineage}:
            open_ = {p: item for (name, p), item in self._followed.items() if name == lineage and not item.over}
            for item, stamp in zip(open_.values(), await lineages.stamps(self._redis, lineage, open_), strict=True):
                item.fresh |= stamp != item.mirror.stamp
                item.over = lineages.closed(stamp) or (not stamp and item.mirror.position >= 0)
