"""Leaving performed, on connections that only remember what they were asked."""

import asyncio

import pytest

from services.gateway.departure import Connections, Departure, check
from services.gateway.settings import LeavingSettings
from services.runtime.settings import SettingsError


class Watching:
    """A connection that goes when it is asked, if it heeds that."""

    def __init__(self, door: "set[Watching]", dashboard: str = "host", heeds: bool = True) -> None:
        self.watches = (dashboard,)
        self.moved: list[int] = []
        self.sent_away: list[int] = []
        self._door = door
        self._heeds = heeds
        door.add(self)

    def move(self, within_ms: int) -> None:
        self.moved.append(within_ms)
        if self._heeds:
            self._door.discard(self)

    def go_away(self, retry_in_ms: int) -> None:
        self.sent_away.append(retry_in_ms)
        self._door.discard(self)


class World:
    """Two doors, and the time that a test gives."""

    def __init__(self, notice_s: float = 5, deadline_s: float = 20) -> None:
        self.now = 50.0
        self.sockets: set[Watching] = set()
        self.streams: set[Watching] = set()
        self.drains = 0
        settings = LeavingSettings(notice_s, deadline_s)
        self.departure = Departure(Connections(self.sockets, self.streams), settings, 100, self._drain, lambda: self.now)

    def _drain(self) -> None:
        self.drains += 1

    async def pass_on(self, seconds: float) -> None:
        """Time goes by while the departure runs."""
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            await asyncio.sleep(0.025)


async def test_connections_of_every_door_are_asked_and_then_it_is_over() -> None:
    world = World()
    there = [Watching(world.sockets), Watching(world.sockets), Watching(world.streams)]
    running = asyncio.create_task(world.departure.run())
    assert (world.departure.readiness(), world.departure.status()["state"]) == ("", "serving")
    assert world.departure.drain() == 20
    assert world.departure.drain() == 20
    assert (world.drains, world.departure.readiness()) == (1, "draining, with 3 viewers left")
    await world.pass_on(4)
    assert [each.moved for each in there] == [[], [], []]
    await world.pass_on(3)
    assert all(len(each.moved) == 1 and not each.sent_away for each in there)
    await asyncio.wait_for(running, 5)
    assert world.departure.status()["state"] == "drained"


async def test_who_does_not_go_is_sent_away_at_the_deadline() -> None:
    world = World()
    deaf = Watching(world.sockets, heeds=False)
    running = asyncio.create_task(world.departure.run())
    world.departure.drain()
    await world.pass_on(19)
    assert (deaf.moved != [], deaf.sent_away, running.done()) == (True, [], False)
    await world.pass_on(2)
    assert len(deaf.sent_away) == 1
    await asyncio.wait_for(running, 5)


async def test_one_that_is_to_stay_sends_away_who_comes_later_until_it_is_told_to_end() -> None:
    world = World()
    running = asyncio.create_task(world.departure.run())
    world.departure.drain(end=False)
    await world.pass_on(6)
    late = Watching(world.sockets)
    await world.pass_on(16)
    assert (late.moved or late.sent_away) != []
    assert not running.done()
    world.departure.drain()
    await asyncio.wait_for(running, 5)


async def test_a_shed_takes_of_each_dashboard_and_goes_on_serving() -> None:
    world = World()
    there = [Watching(world.sockets, name) for name in ["a"] * 8 + ["b"] * 4]
    running = asyncio.create_task(world.departure.run())
    assert world.departure.shed(3) == {"viewers": 3, "of": 12, "per_second": 50, "seconds": 0.1}
    await world.pass_on(1)
    asked = [each.watches[0] for each in there if each.moved]
    assert sorted(asked) == ["a", "a", "b"]
    assert (world.departure.readiness(), world.drains) == ("", 0)
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize(("notice_s", "deadline_s", "holds"), [(5, 25, True), (0, 1, True), (5, 0, True), (5, 5, False)])
def test_a_deadline_leaves_time_to_ask(notice_s: float, deadline_s: float, holds: bool) -> None:
    settings = LeavingSettings(notice_s, deadline_s)
    if holds:
        check(settings)
    else:
        with pytest.raises(SettingsError, match="TIDEBOARD_GATEWAY_DRAIN_DEADLINE: 5 s are over before"):
            check(settings)
