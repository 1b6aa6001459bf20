"""Sees that changes of views do not get here although the subscription lives, and has it made anew.

One server sends what is published to its subscribers itself, and a connection that lives has missed nothing. The servers of a Redis Cluster hand it on
to each other, and what is lost between them, or does not reach one that the others have lost, nobody tells. The next change of a view
would show it; this finds out what no change follows. Idle where there is one server.
"""

import asyncio
from itertools import islice
from typing import Final

import structlog
from redis.asyncio import Redis

from services.gateway.views import Views
from services.transport.feed import FeedErrors
from services.transport.feed_connection import cluster_of
from services.transport.history import heads

log = structlog.get_logger()

EVERY_S: Final = 1.0
ON_ITS_WAY_S: Final = 1.0
"""A change that is not here so long after it was found in the history does not come."""
AT_ONCE: Final = 200
"""So many views are looked at in turn."""


class Relay:
    def __init__(self, redis: Redis, views: Views) -> None:
        self._redis = redis
        self._views = views
        self._looked = 0

    async def run(self) -> None:
        """Until cancelled."""
        while cluster_of(self._redis) is not None:
            await asyncio.sleep(EVERY_S)
            try:
                await self._look()
            except FeedErrors:  # whoever needs it says so
                continue

    async def _look(self) -> None:
        if not (views := self._turn()):
            return
        there = {view: version for view, (_, version) in zip(views, await heads(self._redis, views), strict=True)}
        await asyncio.sleep(ON_ITS_WAY_S)
        if missed := self._views.behind(there):
            log.warning("changes of views do not get here, the subscription is made anew", views=len(missed))
            self._views.hear_anew()

    def _turn(self) -> list[str]:
        """The views whose turn it is."""
        first = self._looked if self._looked < len(self._views) else 0
        found = list(islice(self._views, first, first + AT_ONCE))
        self._looked = first + len(found)
        return found
