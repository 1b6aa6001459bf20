"""Placing: by how many partitions of our own topic each record of a source is placed, so that all who read it place it alike.

The fold of a partition passes over samples that it has, and knows nothing of what other partitions have. So after partitions were added to our topic,
the records before some offset are placed by the old number for ever, those after it by the new one; and every bridge must know that offset before it
writes anything behind it. Nobody asks Redis before every write. Instead:

- A bridge that sees as many partitions as its placement says has looked at that FRESH_S ago at most, as of when it had the records in hand.
- A bridge that sees another number reserves in Redis what it is about to write, and places it by the old one.
- SETTLE_S after it saw the other number, when no bridge places by the old one any more without having reserved, it asks where the topic ends. What was
  read until then lies before that end or is reserved, so from there on, whichever is later, the new number holds. Who says so first decides.

That leans on monotonic clocks that run, and on brokers that tell each other of new partitions within SETTLE_S - FRESH_S.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from services.contract.placement import Placement
from services.transport.log import LogError, Record

log = structlog.get_logger()

FRESH_S: Final = 4.0
SETTLE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """Records of a partition, in their order, that are placed among `count` partitions."""

    partition: int
    count: int
    records: Sequence[Record]


class Agreement(Protocol):
    """What all bridges agree on, as services.transport.placements keeps it."""

    async def claim(self, partitions: Iterable[int], count: int) -> dict[int, Placement]: ...
    async def change(self, partition: int, known: Placement, change: Callable[[Placement], Placement]) -> Placement: ...


class Writer(Protocol):
    """What a LogWriter knows of our topic."""

    @property
    def partitions(self) -> int: ...
    @property
    def looked_at(self) -> float: ...
    async def look(self) -> bool: ...


class Reader(Protocol):
    """What a LogReader knows of the source's topic."""

    def looked_at(self) -> float | None: ...
    def highwater(self, partition: int) -> int | None: ...
    async def end_offsets(self, partitions: Iterable[int]) -> Mapping[int, int]: ...


class Placing:
    """Of one topic, known by its id, as one bridge reads it. Redis errors, LogError: nothing was decided, ask again."""

    def __init__(self, placements: Agreement, clock: Callable[[], float] = time.monotonic) -> None:
        self._placements = placements
        self._clock = clock
        self._held: dict[int, Placement] = {}
        self._seen: tuple[int, float] = (0, 0.0)  # a number of partitions other than a placement says, and since when we see it

    async def claim(self, partitions: Iterable[int], writer: Writer) -> None:
        self._held |= await self._placements.claim(partitions, writer.partitions)

    def release(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._held.pop(partition, None)

    async def settle(self, writer: Writer, reader: Reader) -> None:
        """Let new numbers of partitions hold from where the topic ends, when it is time for that."""
        behind = [partition for partition, it in self._held.items() if it.count != writer.partitions]
        if not behind:
            return
        due, looked = self._since(writer) + SETTLE_S, reader.looked_at()
        if looked is None or looked < due:
            return
        await self._look(writer)
        # A leader that was just elected may not know yet how far others have read: it refuses to say its end, and reading tells a lower one. And the
        # embedded broker, asked for its end, names the start of its last batch.
        ends = await reader.end_offsets(behind)
        for partition in behind:
            await self._turn(partition, max(ends[partition], reader.highwater(partition) or 0), writer.partitions)

    async def runs(self, writer: Writer, records: Mapping[int, Sequence[Record]]) -> list[Run]:
        """How records that are in hand are placed. By partition; those of a partition in their order."""
        await self._look(writer)
        found = []
        for partition, mine in records.items():
            held = self._held[partition]
            if held.count != writer.partitions:
                held = await self._reserve(partition, mine[-1].offset + 1, writer.partitions)
            if held.count > writer.partitions and self._clock() < self._since(writer) + SETTLE_S:
                raise LogError(f"our log has {writer.partitions} partitions, and had {held.count}")
            parts = held.parts([record.offset for record in mine])
            # Where it was made again with fewer partitions, and that is no rumour, there is no way to place as before.
            found += [Run(partition, min(count, writer.partitions), mine[a:b]) for count, a, b in parts]
        return found

    async def _look(self, writer: Writer) -> None:
        """See that the writer's number of partitions is true, or was so until a moment ago."""
        most = max((held.count for held in self._held.values()), default=0)
        if (self._clock() - writer.looked_at > FRESH_S or most > writer.partitions) and not await writer.look():
            raise LogError("our log does not say how many partitions it has")

    def _since(self, writer: Writer) -> float:
        """Since when the writers we had saw so many partitions, as far as we know."""
        if self._seen[0] != writer.partitions:
            self._seen = writer.partitions, self._clock()
        return self._seen[1]

    async def _reserve(self, partition: int, below: int, count: int) -> Placement:
        known = self._held[partition]
        if below > known.reserved:
            known = await self._placements.change(partition, known, lambda it: it if it.count == count else it.reserve(below))
            self._held[partition] = known
        return known

    async def _turn(self, partition: int, end: int, count: int) -> None:
        known = await self._placements.change(
            partition, self._held[partition], lambda it: it if it.count == count else it.turn(end, count)
        )
        self._held[partition] = known
        log.info(
            "records of a source are placed anew from here on", partition=partition, offset=known.since, partitions=known.count
        )
