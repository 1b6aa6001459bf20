"""Room: the shell around the budget of memory in Redis. What is decided is `budget`'s business; here it is asked, told and made known to all aggregators."""

import time
from typing import Final

import structlog
from redis.asyncio import Redis

from services.aggregator import budget, metrics
from services.aggregator.budget import Cap, Memory
from services.aggregator.facts import Facts
from services.transport import memory

log = structlog.get_logger()

WEIGH_S: Final = 5.0


class Room:
    """budget: bytes that Redis may use, each server of a Cluster for itself; 0: as much as its own maxmemory says."""

    def __init__(self, redis: Redis, facts: Facts, budget: int) -> None:
        self.evicts = ""  # why the server may drop keys behind our back
        self._redis = redis
        self._facts = facts
        self._budget = budget
        self._memory = Memory(0, 0, "")
        self._cap = Cap()
        self._warned = ""

    async def look(self) -> None:
        """Ask how much is used, and keep coarse data as long as there is room for it. Redis errors: call again."""
        self._memory = budget.tightest([self._weigh(said) for said in await memory.ask(self._redis)])
        self._tell()
        self._cap = Cap(*await memory.read_cap(self._redis))
        members, now = self._facts.membership.members, int(time.time() * 1000)
        if members and self._facts.membership.instance == min(members):  # one decides for all
            cap = budget.next_cap(self._memory, self._cap, self._longest_ms(), now)
            if cap != self._cap:
                log.warning(
                    "coarse data is kept for another time",
                    kept_ms=cap.kept_ms,
                    used=self._memory.used,
                    budget=self._memory.budget,
                )
                await memory.write_cap(self._redis, cap.kept_ms, cap.at)
                self._cap = cap
        self._facts.keep_coarse(self._cap.kept_ms)
        metrics.COARSE_CAP_SECONDS.set(self._cap.kept_ms / 1000)

    def _weigh(self, said: memory.Said) -> Memory:
        bounds = [bound for bound in (said.limit, self._budget) if bound]
        return Memory(said.used, min(bounds, default=0), said.policy if said.limit else "")

    def status(self) -> dict[str, object]:
        return {
            "used": self._memory.used,
            "budget": self._memory.budget,
            "policy": self._memory.policy or "not said",
            "coarse_kept_ms": self._cap.kept_ms or None,
            "warning": self.evicts or self._warned or None,
        }

    def _longest_ms(self) -> int:
        views = self._facts.wanted.views.values() if self._facts.wanted else ()
        return max((kept_ms for view, kept_ms in views if view.coarse), default=0)

    def _tell(self) -> None:
        metrics.FEED_BYTES.set(self._memory.used)
        metrics.FEED_BUDGET_BYTES.set(self._memory.budget)
        evicts, warning = budget.evicts(self._memory), budget.warning(self._memory)
        if evicts and evicts != self.evicts:
            log.error("the feed is set up wrongly", reason=evicts)
        if warning and not self._warned:
            log.warning("the feed is short of memory", reason=warning)
        self.evicts, self._warned = evicts, warning
