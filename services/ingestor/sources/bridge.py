"""Bridge: reads the partitions of one source's topic that are ours, writes their samples into our own log, and notes how far it is.

Read, decode, write, wait for the acknowledgement, note: in this order, so that a crash at any moment costs nothing but reading some records again.
While our log does not acknowledge, nothing more is read. Whose a partition is, is about liveness alone: what two bridges write is folded once.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis

from services.contract.ownership import owned
from services.contract.sources import Source
from services.ingestor import metrics
from services.ingestor.columns import TimeLimits
from services.ingestor.sources import beginnings
from services.ingestor.sources.allowance import Allowance
from services.ingestor.sources.carrying import Carrier
from services.ingestor.sources.outlet import Outlet
from services.ingestor.sources.placing import Placing
from services.ingestor.sources.tally import Tally
from services.transport.feed import FeedErrors
from services.transport.log import LogError, LogReader, OffsetGone, Record, TopicMissing
from services.transport.log_writer import LogWriter
from services.transport.placements import Placements
from services.transport.positions import Positions
from services.transport.settings import KafkaSettings

log = structlog.get_logger()

LOOK_S: Final = 5.0  # at how many partitions the topic has, and whether it is still the same topic
LOOK_MISSING_S: Final = 1.0
SAVE_S: Final = 0.5
KEEP_S: Final = 3_600.0  # how often the positions of a quiet source are kept from expiring
STALE_S: Final = 2 * LOOK_S
UNKNOWN: Final = "unknown"  # of a topic of brokers that give topics no ids
POLL_MS: Final = 250
RETRY_S: Final = (0.1, 2.0)  # first and longest


@dataclass(frozen=True, slots=True)
class Share:
    """Who reads sources, and which of them we are."""

    instance: str
    members: Callable[[], frozenset[str]]


class Bridge:
    """One source as one ingestor reads it. `run`, and then `stop`."""

    def __init__(
        self,
        source: Source,
        share: Share,
        redis: Redis,
        kafka: KafkaSettings,
        outlet: Outlet,
        limits: TimeLimits,
        letters: float,
    ) -> None:
        """letters: dead letters per minute."""
        self.source = source
        self.tally = Tally(source.name)
        self.fault = ""
        self.waits = "is beginning"
        self._share = share
        self._outlet = outlet
        self._carrier = Carrier(source, outlet, limits, Allowance(letters), self.tally)
        self._redis = redis
        self._placing = Placing(Placements(redis, source.name, ""))
        self._positions = Positions(redis, source.name, source.topic)
        self._reader = LogReader(kafka, source.topic, committed=True)
        self._topic_id = ""
        self._count = 0
        self._seen = False
        self._finishing = False
        self._at: dict[int, int] = {}  # the next offset of each partition that is ours; all before it is in our log
        self._saved: dict[int, int] = {}
        self._saved_at = self._kept_at = self._looked_at = float("-inf")
        self._members: frozenset[str] = frozenset()
        self._backoff = RETRY_S[0]

    async def run(self) -> None:
        """Until cancelled, or soon after `finish`."""
        while not self._finishing:
            try:
                await self._turn()
                self._well()
            except TopicMissing:
                self._forget()
                await self._wait(f"there is no topic {self.source.topic} yet", LOOK_MISSING_S)
            except (LogError, *FeedErrors) as error:
                await self._again(error)

    def finish(self) -> None:
        """Read nothing more when what is under way is in our log: then nobody reads it again, by another document perhaps."""
        self._finishing = True

    async def stop(self) -> None:
        """Note how far it is, so that whoever reads on begins there."""
        with contextlib.suppress(*FeedErrors, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._save()
        for partition in self._at:
            self._unlabel(partition)
        await self._reader.stop()

    def status(self) -> dict[str, object]:
        return {
            "topic": self.source.topic,
            "format": self.source.format,
            "state": self.state,
            "fault": self.fault,
            "partitions": {
                str(partition): {"offset": offset, "end": self._reader.highwater(partition), "lag": self._lag(partition)}
                for partition, offset in sorted(self._at.items())
            },
            **self.tally.status(),
        }

    @property
    def identity(self) -> str:
        """The id of the topic, as of the last look."""
        return self._topic_id

    @property
    def state(self) -> str:
        if self._outlet.held:
            return "held"
        return "retrying" if self.fault else self.waits or "reading"

    # One turn

    async def _turn(self) -> None:
        members = self._share.members()
        if members != self._members or time.monotonic() - self._looked_at > LOOK_S:
            await self._look_or_not(members)
        if not self._at:
            await self._wait("no partition is ours" if self._count else "the topic has no partitions", POLL_MS / 1000)
            return
        self.waits = ""
        writer = await self._outlet.writer()
        await self._placing.settle(writer, self._reader)
        try:
            records = await self._reader.poll(POLL_MS)
        except OffsetGone as gone:
            await self._skip(gone)
            return
        if records and time.monotonic() - self._looked_at > STALE_S:  # we slept: they may be of a topic that was made again
            self._reader.assign(self._at)
            return
        try:
            await self._move(writer, records)
        except Exception:
            self._reader.assign(self._at)  # what was read and not acknowledged is read again, whatever it was
            raise
        self._pass_over()
        if time.monotonic() - self._saved_at > SAVE_S:
            await self._save_or_not()

    async def _move(self, writer: LogWriter, records: Sequence[Record]) -> None:
        """Bring records into our log."""
        by_partition: dict[int, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        await self._carrier.carry(writer, self._topic_id, await self._placing.runs(writer, by_partition))
        for partition, mine in by_partition.items():
            self._at[partition] = mine[-1].offset + 1

    def _pass_over(self) -> None:
        """Records without a value, and ends of transactions, move positions on too."""
        for partition in self._at:
            self._at[partition] = max(self._at[partition], self._reader.position(partition) or 0)
            metrics.SOURCE_LAG.labels(self.source.name, partition).set(self._lag(partition) or 0)

    def _lag(self, partition: int) -> int | None:
        end = self._reader.highwater(partition)
        return None if end is None else max(0, end - self._at[partition])

    # Which partitions, and from where

    async def _look_or_not(self, members: frozenset[str]) -> None:
        """What is read goes on to be read while Redis is away, though more might be ours by now."""
        try:
            await self._look(members)
        except FeedErrors:
            if not self._at:
                raise
            self._looked_at = time.monotonic()

    async def _look(self, members: frozenset[str]) -> None:
        """See which topic it is, how many partitions it has, and which of them are ours."""
        count = await self._reader.partitions()
        if not count:
            if not self._seen:  # so that it is read from its start when it comes
                await self._positions.begin("", {}, int(time.time() * 1000))
                self._seen = True
            raise TopicMissing(f"there is no topic {self.source.topic}")
        topic_id = await self._identity()
        if topic_id != self._topic_id:
            if self._topic_id:
                log.warning("the topic of a source was made again", source=self.source.name, topic=self.source.topic)
            self._at, self._saved, self._topic_id = {}, {}, topic_id
            self._placing = Placing(Placements(self._redis, self.source.name, topic_id))
        await self._claim(owned(self._share.instance, count, members, self.source.name), count)
        self._members, self._count, self._looked_at = members, count, time.monotonic()
        if time.monotonic() - self._kept_at > KEEP_S:
            await self._positions.save(self._topic_id, {}, int(time.time() * 1000))
            self._kept_at = time.monotonic()

    async def _identity(self) -> str:
        """Which topic it is: one that was made again is another one, and another identity would be read from its start."""
        found = await self._reader.topic_id()
        if found is None and self._topic_id not in ("", UNKNOWN):
            raise LogError(f"no broker says any more which topic {self.source.topic} is")
        return found or UNKNOWN

    async def _claim(self, ours: frozenset[int], count: int) -> None:
        gone, new = set(self._at) - ours, ours - set(self._at)
        if not gone and not new:
            return
        await self._save()
        self._placing.release(gone)
        for partition in gone:
            del self._at[partition]
            self._unlabel(partition)
        self._reader.assign(self._at)
        try:
            if new:
                offsets = await beginnings.offsets(self._reader, self._positions, self.source, self._topic_id, count)
                await self._placing.claim(new, await self._outlet.writer())
                self._at |= {partition: offsets[partition] for partition in new}
                self._saved |= {partition: offsets[partition] for partition in new}
        finally:
            self._reader.assign(self._at)  # whatever was read to find the beginnings, or until that failed
        log.info(
            "partitions of a source taken up", source=self.source.name, topic=self.source.topic, partitions=sorted(self._at)
        )

    async def _save_or_not(self) -> None:
        """Reading goes on while Redis is away; after a crash it would only begin further back."""
        try:
            await self._save()
        except FeedErrors as error:
            log.warning("positions of a source are not noted", source=self.source.name, reason=str(error))

    async def _save(self) -> None:
        changed = {partition: offset for partition, offset in self._at.items() if self._saved.get(partition) != offset}
        self._saved_at = time.monotonic()
        if changed:
            await self._positions.save(self._topic_id, changed, int(time.time() * 1000))
            self._saved |= changed

    # What goes wrong

    async def _skip(self, gone: OffsetGone) -> None:
        """The topic no longer has what comes next, or it is another one by now."""
        if await self._identity() != self._topic_id:
            self._looked_at = float("-inf")
            return
        start = (await self._reader.start_offsets([gone.partition]))[gone.partition]
        end = (await self._reader.end_offsets([gone.partition]))[gone.partition]
        here = self._at[gone.partition]
        then = start if here < start else end
        log.error(
            "records of a source were deleted before they were read", source=self.source.name, partition=gone.partition, offset=here, goes_on=then
        )  # fmt: skip
        self.tally.skip(max(0, then - here))
        self._at[gone.partition] = then
        self._reader.assign(self._at)

    def _forget(self) -> None:
        """The topic is gone; when it comes back it is another one."""
        for partition in self._at:
            self._unlabel(partition)
        self._at, self._saved = {}, {}
        self._looked_at = float("-inf")
        self._reader.assign({})

    async def _again(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if not self.fault:
            log.warning("a source cannot be read on", source=self.source.name, topic=self.source.topic, reason=reason)
        self.fault = reason
        await asyncio.sleep(self._backoff)
        self._backoff = min(self._backoff * 2, RETRY_S[1])

    async def _wait(self, why: str, seconds: float) -> None:
        if why != self.waits:
            log.info("a source waits", source=self.source.name, topic=self.source.topic, reason=why)
        self.waits = why
        await asyncio.sleep(seconds)

    def _well(self) -> None:
        if self.fault:
            log.info("a source is read on", source=self.source.name, topic=self.source.topic)
        self.fault, self._backoff = "", RETRY_S[0]

    def _unlabel(self, partition: int) -> None:
        with contextlib.suppress(KeyError):
            metrics.SOURCE_LAG.remove(self.source.name, str(partition))
