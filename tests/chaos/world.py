"""The world of one run: servers, our processes, producers and subscribers, and who owns the dashboards."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from services.contract.names import view_key
from services.contract.registry import Entry
from services.local.embedded import free_port
from services.transport import registry
from services.transport.feed import FeedErrors, connect
from services.transport.lineage import read_lineage
from services.transport.log_wire import LogError
from services.transport.settings import KafkaSettings, RedisSettings
from tests.chaos import wanted
from tests.chaos.checking import Records, behind, log_ends, read_log
from tests.chaos.outsiders import SOURCE, TOPIC, Outsider, difference
from tests.chaos.parts import Part
from tests.chaos.points import Points
from tests.chaos.producers import Pause, Said, Writer, post_on
from tests.chaos.reference import all_samples
from tests.chaos.schedule import Broker as BrokerName
from tests.chaos.schedule import forgets
from tests.chaos.servers import Feed, answering
from tests.chaos.subscriber import Subscriber, watch
from tests.kafka.server import Kafka
from tests.servers import Broker, connects

LEASE_MS: Final = 3_000
PATIENCE_S: Final = 60.0
MOST: Final = 4
"""Aggregators at once."""


class World:
    """tree: the folder that holds the services under test. folder: for data and logs, empty at the start."""

    def __init__(self, seed: int, broker: BrokerName, tree: Path, folder: Path) -> None:
        self.chance = random.Random(f"world {seed}")
        self.seed = seed
        self.kind = broker
        self.folder = folder
        self.feed = Feed(folder)
        (folder / "kafka").mkdir(parents=True)
        self.log: Kafka | Broker = Kafka(folder / "kafka") if broker == "kafka" else Broker()
        self.entries: list[Entry] = list(wanted.BASE)
        self.over: list[tuple[str, Records]] = []  # logs that are over: lineage and all that they held
        self.pause, self.said = Pause(), Said()
        self.grown = False  # whether our topic got more partitions
        self.instances = 0
        self._tree = tree
        self._tasks: list[asyncio.Task[None]] = []
        self._port = free_port()
        self.ingestor = self._part("ingestor", "ingestor", {"TIDEBOARD_INGESTOR_PORT": str(self._port)})
        self.aggregators = [self._aggregator() for _ in range(self.chance.randrange(2, 4))]
        self.subscribers: list[Subscriber] = []

    @property
    def kafka(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.log.bootstrap, fetch_wait_ms=50 if self.kind == "embedded" else 500)

    async def start(self) -> None:
        """Everything, until samples are taken."""
        self.log.launch()
        await self.feed.start()
        self.redis = connect(RedisSettings(url=self.feed.url))
        await answering(self.log, PATIENCE_S)
        for part in (self.ingestor, *self.aggregators):
            part.start()
        await self._taking()
        views = wanted.views([*wanted.BASE, *wanted.OTHERS])
        for careless in (0.0, 0.05):
            subscriber = Subscriber(self.redis, self.feed.door.port, self.chance, careless)
            subscriber.follow(*(view for i, view in enumerate(views) if not careless or i % 3 == 0))
            self.subscribers.append(subscriber)
            self._go(subscriber.run())
        self._go(self._own_dashboards())
        self._watching = self._go(watch(self.redis, views, self.chance))
        producers = [Points(random.Random(f"points {self.seed} {i}"), base=i * 10_000_000) for i in range(3)]
        outsiders = [Outsider(self.log.bootstrap, random.Random(f"outsider {self.seed}"), self.pause, self.said)]
        self._producing = [
            *(self._go(outsider.run()) for outsider in outsiders if self.has_source),
            self._go(post_on(producers[0], self._port, self.pause, self.said, 15, 15)),
            self._go(post_on(producers[1], self._port, self.pause, self.said, 8, 30)),
            self._go(Writer(producers[2], self.kafka, self.pause, self.said).run(15, 15)),
        ]

    @property
    def has_source(self) -> bool:
        """Whether others write, too: not to a broker that forgets what they wrote."""
        return not forgets(self.kind, self.seed)

    async def brought(self, patience_s: float) -> list[str]:
        """Wait until what others wrote has been brought here; what is still lacking after all this time, or is here twice."""
        if not self.has_source:
            return []
        until = time.monotonic() + patience_s
        while True:
            outside, log = await read_log(self.log.bootstrap, TOPIC), await read_log(self.log.bootstrap)
            found = difference(outside, all_samples([log]), self.grown)
            if not found or time.monotonic() > until:
                return found
            await asyncio.sleep(0.5)

    async def heal(self) -> None:
        """End every fault, and let producers finish."""
        self.feed.door.delay_s = 0.0
        self.feed.door.thaw()
        if self.log._process is None:
            self.log.launch()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.log.pid, signal.SIGCONT)
        await answering(self.log, PATIENCE_S)
        for part in (self.ingestor, *self.aggregators):
            part.wake()
            if not part.running:
                part.start()
        self.pause.end()
        await asyncio.wait(self._producing, timeout=PATIENCE_S)

    async def stop(self) -> None:
        """Leave nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for part in (self.ingestor, *self.aggregators):
            part.wake()
            part.kill()
        await self.feed.stop()
        if self.log._process is not None:
            os.kill(self.log.pid, signal.SIGCONT)
        self.log.kill()
        if hasattr(self, "redis"):
            await self.redis.aclose()

    def awake(self) -> list[Part]:
        return [part for part in self.aggregators if part.running]

    def add_aggregator(self) -> None:
        part = self._aggregator()
        self.aggregators.append(part)
        part.start()

    async def lineage(self) -> str:
        """The name of the log."""
        until = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(LogError):
                if name := await read_lineage(self.kafka):
                    return name
            assert time.monotonic() < until, "the log has no name"
            await asyncio.sleep(0.2)

    async def whole_log(self) -> tuple[str, Records]:
        """The present log, as soon as nothing is added to it any more."""
        records = await read_log(self.log.bootstrap)
        while True:
            await asyncio.sleep(0.3)
            again = await read_log(self.log.bootstrap)
            if again == records:
                return await self.lineage(), records
            records = again

    async def folded(self, patience_s: float) -> bool:
        """Wait until everything in the log is folded for the dashboards of now; whether it came to that."""
        until = time.monotonic() + patience_s
        while await self._lacking():
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.1)
        return True

    async def settled(self, patience_s: float, steady_s: float) -> str:
        """Wait until everything is folded and no view has moved for a while; what is still lacking after all this time."""
        until = time.monotonic() + patience_s
        versions, since = None, time.monotonic()
        while True:
            now = await self._versions()
            if (lacking := await self._lacking()) or now != versions:
                versions, since = now, time.monotonic()
            if time.monotonic() - since > steady_s:
                return ""
            if time.monotonic() > until:
                return lacking or "views go on to change"
            await asyncio.sleep(0.2)

    async def _lacking(self) -> str:
        """What the folds still have to do."""
        try:
            lineage = await read_lineage(self.kafka)
            ends = await log_ends(self.kafka)
            return await behind(self.redis, lineage or "", ends, wanted.config(self.entries))
        except (*FeedErrors, LogError) as error:
            return str(error) or type(error).__name__

    async def _versions(self) -> list[object]:
        with contextlib.suppress(*FeedErrors):
            async with self.redis.pipeline(transaction=False) as pipe:
                for view in wanted.views(self.entries):
                    pipe.hmget(view_key(view, "meta"), ["epoch", "version"])
                return list(await pipe.execute())
        return []

    def crashed(self) -> list[str]:
        """Parts that ended by themselves."""
        parts = [(part, part.ended()) for part in (self.ingestor, *self.aggregators)]
        return [f"{part.name} ended by itself with {code}" for part, code in parts if code is not None]

    async def _taking(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while not await asyncio.to_thread(connects, self._port):
            assert time.monotonic() < until, "the ingestor does not listen"
            await asyncio.sleep(0.05)

    async def _own_dashboards(self) -> None:
        """Write the dashboards, and again whenever the registry does not have them: as the owner of the YAML does."""
        while True:
            with contextlib.suppress(*FeedErrors):
                await _register(self.redis, self.entries, registry.DASHBOARD_SHELF)
                await _register(self.redis, [SOURCE], registry.SOURCE_SHELF)
            await asyncio.sleep(0.2)

    def _aggregator(self) -> Part:
        self.instances += 1
        name = f"aggregator-{self.instances}"
        ticks = {
            "TIDEBOARD_AGGREGATOR_INSTANCE": name,
            "TIDEBOARD_AGGREGATOR_LEASE_MS": str(LEASE_MS),
            "TIDEBOARD_AGGREGATOR_TICK_MS": "100",
            "TIDEBOARD_AGGREGATOR_IDLE_TICK_MS": "1000",
        }
        return self._part("aggregator", name, ticks)

    def _part(self, target: str, name: str, environ: dict[str, str]) -> Part:
        roads = {
            "KAFKA_BOOTSTRAP_SERVERS": self.log.bootstrap,
            "REDIS_URL": self.feed.url,
            "TIDEBOARD_KAFKA_FETCH_WAIT_MS": str(self.kafka.fetch_wait_ms),
        }
        return Part(target, name, self._tree, self.folder / f"{name}.log", roads | environ)

    def _go(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task


async def _register(redis: Redis, entries: list[Entry], shelf: registry.Shelf) -> None:
    there = await registry.read_all(redis, shelf)
    for name in there.keys() - {entry.name for entry in entries}:
        await registry.delete_entry(redis, name, shelf)
    if lacking := [entry for entry in entries if there.get(entry.name) != entry]:
        await registry.write_entry(redis, *lacking, shelf=shelf)
