"""One shelf of a real Valkey, kept as resources say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

import pytest
from redis.asyncio import Redis

from services.contract.registry import VERSION, Entry
from services.operator.deciding import Verdict
from services.operator.keeping import Keeper
from services.operator.known import DELETED, Known
from services.operator.resources import ownership
from services.transport.feed import connect
from services.transport.registry import DASHBOARD_SHELF, SOURCE_SHELF, read_all, watch, write_entry
from services.transport.settings import RedisSettings
from tests.servers import Valkey
from tests.unit.operator.objects import BAD_BOARD, TOPIC, body

PATIENCE_S = 10.0


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    client = connect(RedisSettings(url=valkey.url))
    await client.flushall()
    yield client
    await client.aclose()


class Cluster:
    """What an API server would hold, and what the keeper says of it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.known = Known(("Dashboard",), ("a",))
        self.said: dict[str, str] = {}
        self.news = asyncio.Event()
        self.keeper = Keeper("Dashboard", self.known, redis, ownership("Dashboard", frozenset({"a"})), self._hear)

    def _hear(self, verdicts: Iterable[Verdict]) -> None:
        self.news.set()
        self.said |= {verdict.resource.name: str(verdict.reason) for verdict in verdicts}

    def list(self, *bodies: dict[str, object]) -> None:
        self.known.listed("Dashboard", "a", bodies, self.known.begin())
        self.keeper.wake()

    def tell(self, event: str, told: dict[str, object]) -> None:
        self.known.hear("Dashboard", event, told)
        self.keeper.wake()

    async def until(self, holds: Callable[[dict[str, Entry]], bool]) -> dict[str, Entry]:
        """The registry as soon as it is as it should be."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(OSError):
                    found = await read_all(self.redis)
                    if holds(found):
                        return found
                await asyncio.sleep(0.02)

    async def until_said(self, **reasons: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not reasons.items() <= self.said.items():
                self.news.clear()
                await self.news.wait()


@contextlib.contextmanager
def kept(cluster: Cluster) -> Iterator[None]:
    task = asyncio.create_task(cluster.keeper.run())
    try:
        yield
    finally:
        task.cancel()


@pytest.fixture
async def cluster(redis: Redis) -> AsyncIterator[Cluster]:
    found = Cluster(redis)
    task = asyncio.create_task(found.keeper.run())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_resources_come_change_break_and_go(cluster: Cluster) -> None:
    cluster.list(body("a"))
    first = await cluster.until(lambda found: set(found) == {"a"})
    cluster.tell("ADDED", body("b"))
    await cluster.until(lambda found: set(found) == {"a", "b"})
    cluster.tell("MODIFIED", body("a", {"panels": []}, generation=2))
    changed = await cluster.until(lambda found: found["a"].revision != first["a"].revision)
    cluster.tell("MODIFIED", body("a", BAD_BOARD, generation=3))
    broken = await cluster.until(lambda found: found["a"].fault is not None)
    assert broken["a"].document == changed["a"].document
    await cluster.until_said(a="Invalid", b="Accepted")
    cluster.tell(DELETED, body("a", BAD_BOARD, generation=3))
    await cluster.until(lambda found: set(found) == {"b"})


async def test_nothing_is_removed_before_everything_has_been_listed(cluster: Cluster, redis: Redis) -> None:
    await write_entry(redis, Entry(VERSION, "old", "", None, "dashboard.tideboard.dev/a/old"))
    cluster.tell("ADDED", body("new"))
    await asyncio.sleep(0.1)
    assert set(await read_all(redis)) == {"old"}
    cluster.list(body("new"))
    await cluster.until(lambda found: set(found) == {"new"})


async def test_what_was_deleted_while_there_was_no_operator_is_removed_and_nothing_else(cluster: Cluster, redis: Redis) -> None:
    others = [
        Entry(VERSION, "file", "", None, "boards/file.yaml"),
        Entry(VERSION, "elsewhere", "", None, "dashboard.tideboard.dev/b/elsewhere"),
    ]
    await write_entry(redis, Entry(VERSION, "gone", "", None, "dashboard.tideboard.dev/a/gone"), *others)
    await write_entry(redis, Entry(VERSION, "s", "", None, "source.tideboard.dev/a/s"), shelf=SOURCE_SHELF)
    cluster.list()
    await cluster.until(lambda found: set(found) == {"file", "elsewhere"})
    assert set(await read_all(redis, SOURCE_SHELF)) == {"s"}
    assert cluster.keeper.status()["others"] == {"elsewhere": others[1].source, "file": others[0].source}


async def test_a_name_that_another_owner_gives_up_is_taken(cluster: Cluster, redis: Redis) -> None:
    await write_entry(redis, Entry(VERSION, "shop", "", None, "boards/shop.yaml"))
    cluster.list(body("shop"))
    await cluster.until_said(shop="NameTaken")
    async with redis.pipeline(transaction=True) as together:
        together.hdel(DASHBOARD_SHELF.entries, "shop")
        together.incr(DASHBOARD_SHELF.revision)
        await together.execute()
    await cluster.until_said(shop="Accepted")
    await cluster.until(lambda found: found["shop"].source == "dashboard.tideboard.dev/a/shop")


async def test_what_is_written_already_is_not_written_again(cluster: Cluster, redis: Redis) -> None:
    cluster.list(body("shop"))
    await cluster.until_said(shop="Accepted")
    revision = int(await redis.get(DASHBOARD_SHELF.revision) or 0)
    cluster.tell("MODIFIED", body("shop", status={"panels": 1}))
    cluster.list(body("shop"), body("another"))
    await cluster.until_said(another="Accepted")
    assert int(await redis.get(DASHBOARD_SHELF.revision) or 0) == revision + 1


async def test_two_who_judge_differently_do_not_write_as_fast_as_they_can(cluster: Cluster, redis: Redis) -> None:
    cluster.list(body("shop"))
    theirs = Entry(VERSION, "shop", "another", None, "dashboard.tideboard.dev/a/shop")
    seen = 0

    async def rival() -> None:
        nonlocal seen
        async for entries in watch(redis):
            if entries and entries["shop"].revision != theirs.revision:
                seen += 1
                await write_entry(redis, theirs)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.5):
            await rival()
    assert 1 <= seen <= 5
    await cluster.until(lambda found: found["shop"].revision != theirs.revision)


async def test_an_emptied_registry_is_written_again_with_the_last_good_version(cluster: Cluster, redis: Redis) -> None:
    cluster.list(body("shop"))
    await cluster.until_said(shop="Accepted")
    cluster.tell("MODIFIED", body("shop", BAD_BOARD, generation=2))
    await cluster.until_said(shop="Invalid")
    await redis.flushall()
    found = await cluster.until(lambda found: set(found) == {"shop"})
    assert found["shop"].document is not None
    assert found["shop"].fault is not None


async def test_a_registry_that_is_away_is_written_when_it_is_back(cluster: Cluster, valkey: Valkey) -> None:
    cluster.list(body("before"))
    await cluster.until_said(before="Accepted")
    valkey.kill()
    try:
        cluster.tell("ADDED", body("meanwhile"))
        cluster.tell(DELETED, body("before"))
        await cluster.until_said(meanwhile="RegistryAway", before="Accepted")
        assert cluster.keeper.away
    finally:
        valkey.start()
    await cluster.redis.connection_pool.disconnect()
    await cluster.until(lambda found: set(found) == {"meanwhile"})
    await cluster.until_said(meanwhile="Accepted")
    assert cluster.keeper.away == ""


async def test_a_registry_that_is_away_from_the_start_is_waited_for(redis: Redis, valkey: Valkey) -> None:
    valkey.kill()
    cluster = Cluster(redis)
    try:
        with kept(cluster):
            cluster.list(body("shop"))
            await cluster.until_said(shop="RegistryAway")
            valkey.start()
            await cluster.until_said(shop="Accepted")
            await redis.connection_pool.disconnect()
            await cluster.until(lambda found: set(found) == {"shop"})
    finally:
        with contextlib.suppress(AssertionError):
            valkey.start()


async def test_sources_lie_on_their_own_shelf(redis: Redis) -> None:
    known, said = Known(("Source",), ("a",)), list[Verdict]()
    keeper = Keeper("Source", known, redis, ownership("Source", frozenset({"a"})), said.extend)
    task = asyncio.create_task(keeper.run())
    known.listed("Source", "a", [body("orders", TOPIC, kind="Source")], known.begin())
    keeper.wake()
    async with asyncio.timeout(PATIENCE_S):
        async for entries in watch(redis, shelf=SOURCE_SHELF):
            if entries:
                break
    task.cancel()
    assert await read_all(redis) == {}
