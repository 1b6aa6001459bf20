"""The history of views at every version that it had, for as long as somebody records it: what viewers are compared with."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.contract.history import Change, decode_change
from services.contract.names import view_channel
from services.transport.feed import connect
from services.transport.history import read_view
from services.transport.settings import RedisSettings
from tests.audience.viewer import Cells
from tests.chaos.follower import Follower

_AWAY_S: Final = 0.25


class Truth:
    """at: the cells of a view by version. Whoever records from before a view's first version misses none, as long as Redis is there.

    away: how often Redis was not; of the versions meanwhile only the last one is known.
    """

    def __init__(self, views: Iterable[str]) -> None:
        self.away = 0
        self.at: dict[str, dict[int, Cells]] = {view: {0: {}} for view in views}
        self._followers = {view: Follower() for view in self.at}

    def newest(self, view: str) -> int:
        return self._followers[view].version

    def labels(self, view: str, group: int) -> Mapping[str, str]:
        return self._followers[view].labels[group]

    def forget(self, view: str, before: int) -> None:
        """Versions that nobody has any more."""
        for version in [version for version in self.at[view] if version < before]:
            del self.at[view][version]

    def hear(self, view: str, change: Change) -> bool:
        """False: it does not join on, and the history is to be read instead."""
        follower = self._followers[view]
        if (
            not follower.version and not change.prev
        ):  # the first version is all there is; the history may have gone on when it is read
            follower.epoch = change.epoch
        verdict = follower.take(change)
        if verdict == "applied":
            self._keep(view)
        return verdict in ("applied", "known")

    async def record(self, redis: Redis, begun: asyncio.Event) -> None:
        """Until cancelled. begun: from then on nothing is missed."""
        while True:
            try:
                await self._listen(redis, begun)
            except RedisError:
                if not begun.is_set():
                    raise
                self.away += 1
                await asyncio.sleep(_AWAY_S)

    async def _listen(self, redis: Redis, begun: asyncio.Event) -> None:
        channels = {view_channel(view).encode(): view for view in self.at}
        async with redis.pubsub() as ear:
            await ear.subscribe(*channels)
            for _ in channels:
                await ear.get_message(timeout=5)
            for view in self.at:
                await self._read(redis, view)
            begun.set()
            async for message in ear.listen():
                view = channels[message["channel"]]
                if not self.hear(view, decode_change(message["data"])):
                    await self._read(redis, view)

    async def _read(self, redis: Redis, view: str) -> None:
        self._followers[view].read(await read_view(redis, view), -1)
        self._keep(view)

    def _keep(self, view: str) -> None:
        follower = self._followers[view]
        self.at[view][follower.version] = dict(follower.cells)


@contextlib.asynccontextmanager
async def recording(settings: RedisSettings, views: Iterable[str]) -> AsyncIterator[Truth]:
    truth, redis, begun = Truth(views), connect(settings), asyncio.Event()
    task = asyncio.create_task(truth.record(redis, begun))
    try:
        await asyncio.wait({task, asyncio.create_task(begun.wait())}, return_when=asyncio.FIRST_COMPLETED)
        yield truth
    finally:
        task.cancel()
        await asyncio.wait([task])
        await redis.aclose()
    if not task.cancelled():
        task.result()
