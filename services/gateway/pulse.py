"""Tells aggregators what is watched here, and hears whether they live. Idle while nobody watches."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis

from services.contract.names import AGGREGATOR_BEATS, WATCHED, WATCHED_CHANNEL
from services.contract.views import Beat
from services.gateway.health import Health
from services.gateway.views import Views
from services.transport.feed import FeedErrors

log = structlog.get_logger()

EVERY_S: Final = 0.4
WATCHED_FOR_MS: Final = 5_000
FORGET_MS: Final = 60_000
_BEAT: Final = msgspec.json.Decoder(Beat)


class Pulse:
    """on_feed hears why the feed is away, or nothing when it answers."""

    def __init__(
        self, redis: Redis, views: Views, health: Health, clock: Callable[[], int], on_feed: Callable[[str], None]
    ) -> None:
        self._redis = redis
        self._views = views
        self._health = health
        self._clock = clock
        self._on_feed = on_feed
        self._begun = asyncio.Event()
        views.on_begun = self._begun.set

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not len(self._views):
                await self._begun.wait()
                self._health.watch_again(self._clock())
            self._begun.clear()
            begun = list(self._views.begun)
            try:
                await self._beat(begun)
                self._views.begun.difference_update(begun)
            except FeedErrors as error:
                self._on_feed(str(error) or type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._begun.wait()

    async def _beat(self, begun: list[str]) -> None:
        now = self._clock()
        async with self._redis.pipeline(transaction=False) as pipe:
            if len(self._views):
                pipe.zadd(WATCHED, dict.fromkeys(self._views, now + WATCHED_FOR_MS), gt=True)
            pipe.zremrangebyscore(WATCHED, "-inf", now - FORGET_MS)
            if begun:
                pipe.publish(WATCHED_CHANNEL, " ".join(begun))
            pipe.hgetall(AGGREGATOR_BEATS)
            answers = await pipe.execute()
        self._on_feed("")
        self._health.beats(_beats(answers[-1]), self._clock())


def _beats(found: dict[bytes, bytes]) -> dict[str, Beat]:
    beats = {}
    for instance, text in found.items():
        try:
            beats[instance.decode()] = _BEAT.decode(text)
        except msgspec.DecodeError as error:
            log.warning("an aggregator's beat cannot be read", instance=instance, reason=str(error))
    return beats
