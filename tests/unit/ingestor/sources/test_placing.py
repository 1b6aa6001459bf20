"""Many bridges read one partition, are slow, are ended and begin, while our own topic gets more partitions: they place every record alike.

The world is made by hand: its time is a number, each bridge hears of new partitions later than they came, and hands on what it read later than it
read it.
"""

import contextlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.contract.placement import Placement, begun
from services.ingestor.sources.placing import FRESH_S, SETTLE_S, Placing
from services.transport.log import LogError, Record

HEARD_S = SETTLE_S - FRESH_S - 0.1
"""After how long a broker has heard of new partitions."""
WATCH_S = 2.0


@dataclass
class Agreed:
    """What lies in Redis. away: nobody reaches it."""

    held: dict[int, Placement] = field(default_factory=dict)
    away: bool = False

    async def claim(self, partitions: Iterable[int], count: int) -> dict[int, Placement]:
        return {partition: await self.change(partition, begun(count), lambda it: it) for partition in partitions}

    async def change(self, partition: int, known: Placement, change: Callable[[Placement], Placement]) -> Placement:
        if self.away:
            raise OSError("Redis is away")
        lies = self.held.get(partition)
        self.held[partition] = change(lies.newer(known) if lies else known)
        return self.held[partition]


@dataclass
class World:
    """One partition of a source's topic, which ends at `end`, and ours: since when it has so many partitions."""

    now: float = 0.0
    end: int = 0
    grown: list[tuple[float, int]] = field(default_factory=lambda: [(-1e9, 2)])
    agreed: Agreed = field(default_factory=Agreed)
    placed: dict[int, set[int]] = field(default_factory=dict)

    def partitions(self, delay: float) -> int:
        return [count for at, count in self.grown if at <= self.now - delay][-1]

    def grow(self) -> None:
        self.grown.append((self.now, self.grown[-1][1] + 1))


class Writer:
    """As a LogWriter looks at our topic over a broker that hears of things `delay` later."""

    def __init__(self, world: World, delay: float) -> None:
        self._world, self._delay = world, delay
        self.partitions, self.looked_at, self.broken = world.partitions(delay), world.now, False

    async def look(self) -> bool:
        if self.broken or self._world.partitions(self._delay) > self.partitions:
            self.broken = True
            raise LogError("it has more partitions")
        self.looked_at = self._world.now
        return True


class Bridge:
    """As `bridge` does it, in steps: what was polled is written some time later, or never."""

    def __init__(self, world: World, at: int, delay: float) -> None:
        self.world, self.delay, self.at = world, delay, at
        self.placing = Placing(world.agreed, lambda: world.now)
        self.writer: Writer | None = None
        self.claimed = False
        self.in_hand: range | None = None
        self.looked: float | None = None
        self.end = 0

    def looked_at(self) -> float | None:
        return self.looked

    def highwater(self, partition: int) -> int | None:
        return self.end

    async def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        """A broker that says too little when it is asked, as the embedded one does."""
        return dict.fromkeys(partitions, max(0, self.end - 10))

    async def watch(self) -> None:
        """What the writer does by itself."""
        if self.writer and not self.writer.broken and self.world.now - self.writer.looked_at > WATCH_S:
            with contextlib.suppress(LogError):
                await self.writer.look()

    async def poll(self) -> None:
        if self.writer is None or self.writer.broken:
            self.writer = Writer(self.world, self.delay)
        if not self.claimed:
            await self.placing.claim([0], self.writer)
            self.claimed = True
        await self.placing.settle(self.writer, self)
        self.looked, self.end = self.world.now, self.world.end
        self.in_hand = range(self.at, self.end)

    async def write(self) -> None:
        some, self.in_hand = self.in_hand, None
        if not some or self.writer is None:
            return
        if self.writer.broken:
            raise LogError("the writer is broken")
        runs = await self.placing.runs(self.writer, {0: [Record(0, offset, 0, b"") for offset in some]})
        assert [it.offset for run in runs for it in run.records] == list(some)
        for run in runs:
            for record in run.records:
                self.world.placed.setdefault(record.offset, set()).add(run.count)
        self.at = some[-1] + 1


async def played(seed: int) -> World:
    """A world after some minutes."""
    chance, world = random.Random(seed), World()

    def another() -> Bridge:
        back = world.end - chance.randrange(30)  # a position that somebody saved
        return Bridge(world, max(0, back), chance.random() * HEARD_S)

    bridges = [another() for _ in range(3)]
    asleep = [0.0] * 3
    for _ in range(1_500):
        world.now += chance.choice((0.01, 0.1, 0.5))
        world.end += chance.choice((0, 0, 1, 5))
        if chance.random() < 0.01:
            world.grow()
        if chance.random() < 0.02:
            world.agreed.away = not world.agreed.away
        which = chance.randrange(3)
        if chance.random() < 0.01:
            bridges[which] = another()
        if chance.random() < 0.05:
            asleep[which] = world.now + chance.choice((1.0, 8.0, 30.0))
        if world.now < asleep[which]:
            continue
        bridge = bridges[which]
        try:
            if chance.random() < 0.5:  # a process that slept may write before it looks
                await bridge.watch()
            await (bridge.poll() if bridge.in_hand is None else bridge.write())
        except (LogError, OSError):
            bridge.in_hand = None
    return world


@pytest.mark.parametrize("seeds", range(8))
async def test_every_record_is_placed_alike_by_all_who_write_it_and_new_partitions_come_into_use(seeds: int) -> None:
    used = 0
    for seed in range(seeds * 50, seeds * 50 + 50):
        world = await played(seed)
        twice = {offset: counts for offset, counts in world.placed.items() if len(counts) > 1}
        assert not twice, f"seed {seed}: {world.agreed.held}"
        used += len({count for counts in world.placed.values() for count in counts})
    assert used > 2 * 50


async def test_a_quiet_source_turns_to_new_partitions_when_all_have_heard_of_them() -> None:
    world, seen = World(end=100), []
    bridge = Bridge(world, 100, 1.0)
    await bridge.poll()
    world.grow()
    for _ in range(200):
        world.now += 0.1
        await bridge.watch()
        await bridge.poll()
        seen.append((round(world.now, 1), world.agreed.held[0].count))
    first = next(at for at, count in seen if count == 3)
    assert SETTLE_S <= first < SETTLE_S + 2 * WATCH_S
    assert world.agreed.held[0].spans == ((0, 2), (100, 3))


async def test_while_redis_is_away_records_are_placed_as_long_as_nothing_has_changed() -> None:
    world = World(end=10)
    bridge = Bridge(world, 0, 0.0)
    await bridge.poll()
    world.agreed.away = True
    await bridge.write()
    assert len(world.placed) == 10
    world.grow()
    world.now += FRESH_S + 1
    await bridge.watch()
    world.end = 20
    await bridge.poll()
    with pytest.raises(OSError, match="away"):
        await bridge.write()
    assert len(world.placed) == 10


async def test_a_leader_that_was_just_elected_and_tells_a_lower_end_to_who_reads_is_asked_for_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(end=100)
    bridge = Bridge(world, 100, 0.0)
    await bridge.poll()
    world.grow()
    world.now += SETTLE_S + 1
    answers: list[Any] = [LogError("it does not say"), {0: 100}]

    async def says(_: Any) -> Any:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    monkeypatch.setattr(bridge, "end_offsets", says)
    await bridge.watch()
    await bridge.poll()
    world.now += SETTLE_S + 1
    await bridge.poll()
    bridge.end = 90
    with pytest.raises(LogError, match="does not say"):
        await bridge.poll()
    bridge.end = 90
    await bridge.poll()
    assert world.agreed.held[0].spans == ((0, 2), (100, 3))


async def test_fewer_partitions_are_believed_when_they_stay_and_until_then_nothing_is_placed() -> None:
    world = World(end=10)
    world.agreed.held[0] = begun(2).turn(5, 3)
    bridge = Bridge(world, 0, 0.0)
    await bridge.poll()
    with pytest.raises(LogError, match="our log has 2 partitions, and had 3"):
        await bridge.write()
    world.now += SETTLE_S
    await bridge.poll()
    await bridge.poll()
    await bridge.write()
    assert world.placed == {offset: {2} for offset in range(10)}
    assert world.agreed.held[0].spans == ((0, 2), (5, 3), (10, 2))
