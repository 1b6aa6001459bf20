"""Keeping: one shelf of the registry, as the resources of one kind say. What should lie there is `deciding`'s to tell.

A registry that is away is written when it is back: nothing is queued, since what is missing shows by comparing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from redis.asyncio import Redis

from services.contract.claims import Kind
from services.contract.registry import Entry
from services.operator import metrics
from services.operator.deciding import Decision, Verdict, decide, delayed, undecided
from services.operator.known import Known
from services.operator.reading import Reader
from services.transport.feed import FeedErrors
from services.transport.registry import DASHBOARD_SHELF, SOURCE_SHELF, Shelf, keep, watch

log = structlog.get_logger()

SHELVES: Final[dict[Kind, Shelf]] = {"Dashboard": DASHBOARD_SHELF, "Source": SOURCE_SHELF}
BACKOFF_S: Final = (0.25, 5.0)
REWRITE_S: Final = 1.0
"""What somebody else has made of what we wrote is put right after so long, lest two that judge differently write as fast as they can."""


class Keeper:
    """mine: whether an entry's source is a resource of ours. tell: hears what is to be said of all resources, whenever something has changed."""

    def __init__(
        self, kind: Kind, known: Known, redis: Redis, mine: Callable[[str], bool], tell: Callable[[Iterable[Verdict]], None]
    ) -> None:
        self.kind: Final[Kind] = kind
        self._shelf = SHELVES[kind]
        self._known = known
        self._redis = redis
        self._mine = mine
        self._tell = tell
        self._lost_why = ""  # why it is not heard
        self._failed_why = ""  # why it was not written
        self._held: dict[str, Entry] | None = None
        self._kept: dict[str, Entry] = {}
        self._reader = Reader()
        self._wake = asyncio.Event()
        self._wrote_at = 0.0

    @property
    def away(self) -> str:
        """Why the registry does not answer; '' when it does."""
        return self._lost_why or self._failed_why

    def wake(self) -> None:
        """Something is known that was not."""
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._run())

    def status(self) -> dict[str, object]:
        held = self._held or {}
        return {
            "registry": self.away or ("read" if self._held is not None else "not read yet"),
            "names": sorted(self._kept),
            "others": {name: entry.source for name, entry in sorted(held.items()) if not self._mine(entry.source)},
        }

    async def _follow(self) -> None:
        async for entries in watch(self._redis, self._lost, self._shelf, self._returned, owner=True):
            self._held = entries
            self._is_back()
            loop = asyncio.get_running_loop()
            loop.call_later(max(self._wrote_at + REWRITE_S - loop.time(), 0.0), self._wake.set)

    def _lost(self, why: str) -> None:
        if not self._lost_why:
            log.warning("the registry does not answer", kind=self.kind, reason=why)
            self._wake.set()
        self._lost_why = why
        metrics.REGISTRY_AWAY.labels(self.kind).set(1)

    def _returned(self) -> None:
        self._is_back()
        self._wake.set()

    def _is_back(self) -> None:
        if self._lost_why:
            log.warning("the registry answers again", kind=self.kind)
        self._lost_why = ""
        metrics.REGISTRY_AWAY.labels(self.kind).set(0)

    async def _run(self) -> None:
        pause: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()
            done = await self._keep()
            pause = None if done else min((pause or BACKOFF_S[0] / 2) * 2, BACKOFF_S[1])

    async def _keep(self) -> bool:
        """Whether the registry holds what it should, as far as that is known."""
        if not self._known.listed_all(self.kind):
            return True
        resources = self._known.of(self.kind)
        if self._held is None:
            if self.away:
                self._tell(undecided(resources, self.away, self._reader))
            return True
        decision = decide(self.kind, resources, self._held, self._kept, self._mine, self._reader)
        self._kept = dict(decision.wanted)
        why, theirs = await self._write(decision)
        self._failed_why = why
        if theirs:  # what was known of the registry is not true any more
            self._held |= theirs
            self._wake.set()
            return True
        self._tell(delayed(decision, self._held, why, self._reader) if why else decision.verdicts)
        return not why

    async def _write(self, decision: Decision) -> tuple[str, dict[str, Entry]]:
        """Why the registry does not hold it, '' when it does; and what it holds of other owners though nobody knew."""
        before = {name: entry for name, entry in (self._held or {}).items() if self._mine(entry.source)}
        written = dict(before)
        why, theirs = "", dict[str, Entry]()
        try:
            theirs = await keep(self._redis, decision.wanted, written, self._shelf, self._mine)
        except FeedErrors as error:
            why = str(error) or type(error).__name__
            metrics.WRITES.labels(self.kind, "failed").inc()
        self._note(before, written)
        return why, theirs

    def _note(self, before: dict[str, Entry], written: dict[str, Entry]) -> None:
        held = self._held if self._held is not None else {}
        for name in before.keys() | written.keys():
            entry = written.get(name)
            if entry == before.get(name):
                continue
            self._wrote_at = asyncio.get_running_loop().time()
            metrics.WRITES.labels(self.kind, "removed" if entry is None else "written").inc()
            if entry is None:
                held.pop(name, None)
                log.info("removed from the registry", kind=self.kind, name=name)
            else:
                held[name] = entry
                fault = entry.fault.reason if entry.fault else None
                log.info("written to the registry", kind=self.kind, name=name, source=entry.source, fault=fault)
