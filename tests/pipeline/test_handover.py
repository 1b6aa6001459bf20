"""A thousand viewers go from one gateway to another while the whole pipeline runs, and none of them has a wrong cell or a gap."""

import asyncio
import contextlib
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop

from services.contract.views import View
from services.gateway.leaving import pace
from services.local.embedded import free_port
from services.transport.settings import KafkaSettings, RedisSettings
from tests.audience.audit import audit, holes
from tests.audience.connection import Audience, peak
from tests.audience.truth import Truth, recording
from tests.audience.viewer import Viewer
from tests.balancer import Running, balancing
from tests.fleet import Fleet
from tests.pipeline.world import Log, Point, entry, feed, register, until, writing
from tests.servers import Broker, Valkey

VIEWERS = 1_000
SHED = 300
ACCEPTS_PER_SECOND = 500
PATIENCE_S = 60.0
RESUMED_S = 5.0
SLOT_MS = 50
AT_ONCE = 20

HOST = entry("host", [
    {"id": "cpu", "type": "timeseries", "query": {"metric": "load", "by": ["cpu"], "fn": ["avg", "max"], "every": "1s"}},
    {"id": "quick", "type": "timeseries", "query": {"metric": "load", "fn": "avg", "every": "500ms"}},
    {"id": "bytes", "type": "timeseries", "query": {"metric": "bytes", "by": ["cpu"], "fn": "rate", "every": "1s"}},
])  # fmt: skip


@dataclass
class Hall:
    """Everything that runs: the gateways of `fleet` behind `balancer`, what was produced, and who watches."""

    fleet: Fleet
    ports: dict[str, int]
    balancer: Running
    truth: Truth
    audience: Audience
    views: dict[str, View]
    producing: asyncio.Task[None]

    def launch(self, name: str) -> None:
        environ = {
            "TIDEBOARD_GATEWAY_PORT": str(self.ports[name]),
            "TIDEBOARD_GATEWAY_DRAIN_NOTICE": "1",
            "TIDEBOARD_GATEWAY_DRAIN_DEADLINE": "60",
            "TIDEBOARD_GATEWAY_ACCEPTS": str(ACCEPTS_PER_SECOND),
        }
        self.fleet.launch(name, "gateway", environ)

    async def ready(self, *names: str) -> None:
        """Wait until the balancer knows these to be ready."""
        waiting = asyncio.create_task(asyncio.to_thread(self.balancer.until_ready, *names))
        while not waiting.done():
            assert {*names} <= self.fleet.alive, f"{names} must not end"
            await asyncio.sleep(0.05)
        await waiting

    @staticmethod
    async def produce(log: Log) -> None:
        """Until cancelled: a sample of each series for every twentieth of a second, late where this process has no time."""
        slot = time.time_ns() // 1_000_000 // SLOT_MS
        while True:
            now = time.time_ns() // 1_000_000 // SLOT_MS
            points = [point for at in range(slot + 1, now + 1) for point in _points(at)]
            if points:
                await log.write(points)
            slot = now
            await asyncio.sleep(SLOT_MS / 1000)

    async def faults(self) -> list[str]:
        """What is wrong with the audience as it is now; a few at a time, so that nobody has to wait for the audit."""
        found: list[str] = []
        for first in range(0, len(self.audience.seats), AT_ONCE):
            viewers = [seat.viewer for seat in self.audience.seats[first : first + AT_ONCE]]
            await self.heard_on(viewers)
            found += audit(viewers, self.truth.at, first)
            await asyncio.sleep(0)
        return found

    async def settled(self) -> None:
        """Once nothing is produced any more: wait until everybody has the newest of everything."""
        until = time.monotonic() + PATIENCE_S
        newest: dict[str, int] = {}
        while newest != (newest := {view: self.truth.newest(view) for view in self.views}) or self.behind(newest):
            assert time.monotonic() < until, f"{self.behind(newest)} viewers do not come to the newest versions"
            await asyncio.sleep(1)

    def behind(self, newest: dict[str, int]) -> int:
        return sum(seat.viewer.versions != newest for seat in self.audience.seats)

    async def open_at(self) -> dict[str, int]:
        """How many connections each gateway has, once those that were left are closed."""
        until = time.monotonic() + PATIENCE_S
        while True:
            found: dict[str, int] = (await asyncio.to_thread(self.balancer.status))["open"]
            if sum(found.values()) == len(self.audience.seats):
                return found
            assert time.monotonic() < until, f"{found} connections"
            await asyncio.sleep(0.05)

    async def leave(self) -> None:
        """All viewers go at once and without a word, which ends no gateway."""
        there = self.ports.keys() & self.fleet.alive
        assert there
        self.audience.leave()
        until = time.monotonic() + PATIENCE_S
        for name in there:
            while (await asyncio.to_thread(self.fleet.status, name))["sockets"]:
                assert time.monotonic() < until, f"{name} has viewers"
                await asyncio.sleep(0.1)
        assert there <= self.fleet.alive

    async def heard_on(self, viewers: Sequence[Viewer]) -> None:
        """Wait until the truth has heard of whatever these viewers have."""
        until = time.monotonic() + PATIENCE_S
        while any(self.truth.newest(view) < version for viewer in viewers for view, version in viewer.versions.items()):
            assert time.monotonic() < until, "the truth has not heard of it"
            await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def audited(self) -> AsyncIterator[None]:
        """Everybody is audited once a second for as long as the block lasts, and once more when everything has come to rest after it."""
        wrong: list[str] = []
        audits = 0

        async def audit_on() -> None:
            nonlocal audits
            while not wrong:
                wrong.extend(await self.faults())
                audits += 1
                await asyncio.sleep(1)

        auditing = asyncio.create_task(audit_on())
        try:
            yield
        finally:
            auditing.cancel()
        self.producing.cancel()
        await self.settled()
        assert (wrong or await self.faults()) == []
        assert audits > 1
        lines = [(name, self.truth.at[name][self.truth.newest(name)], view.every_ms) for name, view in self.views.items()]
        assert [hole for line in lines for hole in holes(*line)] == []


def _points(slot: int) -> list[Point]:
    at, points = slot * SLOT_MS, list[Point]()
    for cpu in range(4):
        labels = {"cpu": str(cpu)}
        points.append(("load", labels, at, slot * (cpu + 1) % 97, "gauge"))
        points.append(("bytes", labels, at, at * (cpu + 1), "counter"))
    return points


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Two connections for each viewer while it moves, here and in every process that is started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """uvloop, as services have it: the audience takes half of the time."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


@contextlib.asynccontextmanager
async def hall(valkey: Valkey, broker: Broker, *gateways: str, viewers: int = VIEWERS) -> AsyncIterator[Hall]:
    """The pipeline, the first of the gateways, and everybody watching it."""
    broker.restart()
    redis, kafka = RedisSettings(valkey.url), KafkaSettings(bootstrap_servers=broker.bootstrap, fetch_wait_ms=50)
    environ = {
        "REDIS_URL": valkey.url, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "TIDEBOARD_KAFKA_FETCH_WAIT_MS": "50",
    }  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        connected = await stack.enter_async_context(feed(redis))
        await connected.flushall()
        views = await register(connected, HOST)
        log = await stack.enter_async_context(writing(kafka))
        fleet = stack.enter_context(Fleet(**environ))
        ports = {name: free_port() for name in gateways}
        admins = {name: fleet.reserve(name) for name in gateways}
        balancer = stack.enter_context(balancing({name: (ports[name], admins[name]) for name in gateways}, lag_s=0.5))
        truth = await stack.enter_async_context(recording(redis, views))
        producing = asyncio.create_task(Hall.produce(log))
        found = Hall(fleet, ports, balancer, truth, Audience(balancer.port, "host", hz=5), views, producing)
        try:
            fleet.launch("aggregator", "aggregator")
            found.launch(gateways[0])
            await found.ready(gateways[0])
            await found.audience.come(viewers, 400)
            await found.audience.until(lambda seat: seat.live and bool(seat.viewer.views), PATIENCE_S, "see nothing")
            yield found
            await found.leave()
        finally:
            producing.cancel()
            found.audience.leave()


async def handed_over(found: Hall, old: str, new: str) -> None:
    """A gateway drains while another is there."""
    audience = found.audience
    found.launch(new)
    await found.ready(new)
    before, snapshots = len(found.balancer.status()["accepted"]), audience.snapshots
    found.fleet.send(old, signal.SIGTERM)
    waited = await audience.until(lambda seat: seat.moves == 1 and seat.live, PATIENCE_S, "have not moved")
    await until(lambda: "" if found.fleet.code(old) is not None else "it has not ended")
    assert found.fleet.code(old) == 0
    reconnects = [at for at, _ in found.balancer.status()["accepted"][before:]]
    silence = max(seat.silence for seat in audience.seats)
    print(
        f"\nmoved in {waited.took:.1f} s, {peak(reconnects)} in the busiest second, {peak(audience.told)} told; stalled {waited.stalled:.2f} s, the longest silence was {silence:.2f} s"
    )
    assert len(reconnects) == len(audience.seats)
    # Where somebody on the way had no CPU for a while, some are told or connect late, with those who come after.
    bunched = max(0.0, peak(audience.told) - 1.1 * pace(ACCEPTS_PER_SECOND))
    assert peak(reconnects) <= 0.7 * ACCEPTS_PER_SECOND * (1 + waited.stalled) + bunched
    assert (audience.lost, audience.refused, found.balancer.status()["refused"]) == (0, 0, 0)
    assert audience.snapshots == snapshots, "a resume sends what is missing only"


async def shared(found: Hall, old: str, new: str) -> None:
    """A gateway sheds viewers when another has been added, and stays."""
    audience, snapshots = found.audience, found.audience.snapshots
    found.launch(new)
    await found.ready(new)  # the old one may have too much to do for that
    told = await asyncio.to_thread(found.fleet.order, old, "/shed", b'{"viewers": %d, "per_second": 200}' % SHED)
    assert told == {"viewers": SHED, "of": len(audience.seats), "per_second": 200, "seconds": SHED / 200}
    moving = [seat for seat in audience.seats if seat.moves == 1]
    await until(lambda: "" if sum(seat.moves == 2 for seat in moving) == SHED else "not so many have moved", PATIENCE_S)
    await audience.until(lambda seat: seat.live, PATIENCE_S, "are not where they go")
    there = await found.open_at()
    assert 0 < there[new] <= SHED  # all of them, but for those who came while it had too much to do to be ready
    assert (await asyncio.to_thread(found.fleet.status, old))["leaving"]["state"] == "serving"
    assert (audience.lost, audience.refused, audience.snapshots) == (0, 0, snapshots)


async def come_back(found: Hall, old: str) -> None:
    """A gateway is killed while another is there."""
    audience, snapshots = found.audience, found.audience.snapshots
    there = (await found.open_at())[old]
    assert there >= len(audience.seats) - SHED
    lost = audience.lost + there

    def away() -> int:
        """How many have not noticed yet, or are not back."""
        return max(lost - audience.lost, sum(not seat.live for seat in audience.seats))

    found.fleet.send(old, signal.SIGKILL)
    waited = await audience.until_none(away, PATIENCE_S, "have not noticed, or are not back")
    found.fleet.kill(old)  # it has ended: nothing asks for it any more
    print(f"{there} are back {waited.took:.1f} s after the kill, of which viewers had no CPU for {waited.starved:.1f} s")
    assert waited.took - waited.starved <= RESUMED_S
    assert audience.snapshots == snapshots, "a resume sends what is missing only"


async def turns_red(found: Hall) -> None:
    """The audit sees one message that a viewer has lost, and that another loses cells though its versions are right."""
    loser, forger = found.audience.seats[7].viewer, found.audience.seats[8].viewer
    loser.lose, forger.forge = 1, 10_000
    await until(lambda: "" if loser.faults and forger.forge < 9_999 else "nothing is lost")
    wrong = await found.faults()
    assert {fault.partition(":")[0] for fault in wrong} == {"viewer 7", "viewer 8"}
    assert any("a frame goes from" in fault for fault in wrong if fault.startswith("viewer 7"))
    assert any("instead of" in fault for fault in wrong if fault.startswith("viewer 8"))


def test_a_thousand_viewers_lose_nothing_when_gateways_drain_and_share_and_are_killed(valkey: Valkey, broker: Broker) -> None:
    async def story() -> None:
        async with hall(valkey, broker, "first", "second", "third") as found, found.audited():
            await handed_over(found, "first", "second")
            await shared(found, "second", "third")
            await come_back(found, "second")

    run(story)


def test_one_message_that_is_lost_turns_the_audit_red(valkey: Valkey, broker: Broker) -> None:
    async def story() -> None:
        async with hall(valkey, broker, "only", viewers=20) as found:
            await turns_red(found)

    run(story)
