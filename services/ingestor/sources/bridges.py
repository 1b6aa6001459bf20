"""Bridges: the sources that the registry names, each with a bridge while this ingestor runs; and the lease by which ingestors share them.

Needs Redis, which the HTTP door does not: whatever happens here is told in the status and tried again.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Mapping
from typing import Final

import structlog
from redis.asyncio import Redis

from services.contract.names import INGESTORS_CHANNEL
from services.contract.registry import Entry
from services.contract.sources import Source, held
from services.ingestor.columns import TimeLimits
from services.ingestor.settings import IngestorSettings
from services.ingestor.sources.bridge import Bridge, Share
from services.ingestor.sources.outlet import Outlet
from services.transport import registry
from services.transport.feed import FeedErrors, Subscription
from services.transport.membership import INGESTOR_ROLL, RENEW_S, Membership
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

RETRY_S: Final = 0.5
FINISH_S: Final = 2.0
AGAIN_S: Final = 5.0  # after an error of our own
OFF: Final = "sources are not read here: TIDEBOARD_INGESTOR_SOURCES is false"


class Bridges:
    """All sources as this ingestor reads them. `run` until cancelled; then `stop`."""

    def __init__(self, settings: IngestorSettings, kafka: KafkaSettings, redis: Redis) -> None:
        self._settings = settings
        self._kafka = kafka
        self._redis = redis
        self._limits = TimeLimits(settings.future_ms, settings.past_ms)
        instance = f"{socket.gethostname()}-{secrets.token_hex(4)}"  # a new one at every start: two may run on one host
        self._membership = Membership(redis, instance, settings.lease_ms, INGESTOR_ROLL)
        self._outlet = Outlet(kafka)
        self._bridges: dict[str, Bridge] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[str, tuple[asyncio.Task[None], Bridge]] = {}
        self._entries: Mapping[str, Entry] = {}
        self._feed = "not reached yet"
        self._others = asyncio.Event()

    async def run(self) -> None:
        log.info("sources are read here", instance=self._membership.instance)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._hold_lease())
            tasks.create_task(self._listen())

    async def stop(self) -> None:
        await asyncio.gather(*map(self._finish, list(self._ending)), *map(self._end, list(self._bridges)))
        with contextlib.suppress(*FeedErrors):
            await self._membership.leave()
        await self._outlet.stop()
        await self._redis.aclose()

    async def hold(self) -> None:
        await self._outlet.hold()

    def resume(self) -> None:
        self._outlet.resume()

    def status(self) -> dict[str, object]:
        broken = {name: entry.fault for name, entry in self._entries.items() if entry.fault or held(entry) is None}
        return {
            "instance": self._membership.instance,
            "members": sorted(self._membership.members),
            "feed": self._feed or "ok",
            "sources": {name: bridge.status() for name, bridge in sorted(self._bridges.items())},
            "broken": {
                name: {"path": fault.path, "reason": fault.reason} if fault else {"reason": "this version cannot read it"}
                for name, fault in sorted(broken.items())
            },
        }

    # What is to be read

    async def _follow(self) -> None:
        async for entries in registry.watch(self._redis, self._away, registry.SOURCE_SHELF):
            self._feed = ""
            self._entries = entries
            wanted = {name: source for name, entry in entries.items() if (source := held(entry)) is not None}
            ended = [name for name, bridge in self._bridges.items() if wanted.get(name) != bridge.source]
            await asyncio.gather(*(self._end(name) for name in ended))
            for name, source in wanted.items():
                if name not in self._bridges:
                    self._begin(source)

    def _begin(self, source: Source) -> None:
        share = Share(self._membership.instance, lambda: self._membership.members)
        bridge = Bridge(source, share, self._redis, self._kafka, self._outlet, self._limits, self._settings.dead_letters)
        log.info("a source is read", source=source.name, topic=source.topic, format=source.format)
        self._bridges[source.name] = bridge
        self._tasks[source.name] = asyncio.create_task(self._keep(bridge))

    async def _keep(self, bridge: Bridge) -> None:
        """An error of ours in one source stops neither the others nor the HTTP door."""
        while True:
            try:
                await bridge.run()
                return
            except Exception as error:
                bridge.fault = f"failed: {error!r}"
                log.exception("a source failed", source=bridge.source.name)
            await asyncio.sleep(AGAIN_S)

    async def _end(self, name: str) -> None:
        self._ending[name] = self._tasks.pop(name), self._bridges.pop(name)
        await self._finish(name)

    async def _finish(self, name: str) -> None:
        """Again, where whoever did it was cancelled on the way."""
        task, bridge = self._ending[name]
        bridge.finish()
        await asyncio.wait([task], timeout=FINISH_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bridge.stop()
        del self._ending[name]
        log.info("a source is no longer read", source=name)

    # Who else reads

    async def _hold_lease(self) -> None:
        while True:
            self._others.clear()
            try:
                await self._membership.renew()
                self._feed = ""
            except FeedErrors as error:
                self._away(str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._others.wait()

    async def _listen(self) -> None:
        subscription = Subscription(self._redis, _Bell(self._others))
        subscription.add(INGESTORS_CHANNEL)
        await subscription.run()

    def _away(self, reason: str) -> None:
        if not self._feed:
            log.warning("sources: the feed does not answer", reason=reason)
        self._feed = reason


class _Bell:
    """Rings when another ingestor comes or leaves."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def subscribed(self, channel: str) -> None:
        """Nothing was missed that the renewal once a second would not find."""

    def received(self, channel: str, data: bytes) -> None:
        self._event.set()

    def lost(self, reason: str) -> None:
        """The subscription comes back by itself."""
