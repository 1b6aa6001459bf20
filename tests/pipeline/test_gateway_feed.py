"""The feed and the registry over a real Valkey that dies, comes back and forgets."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import pytest
import structlog
from redis.asyncio import Redis

from services.contract.names import DASHBOARDS, DASHBOARDS_REVISION
from services.contract.registry import VERSION, Entry, encode_entry
from services.transport import feed, registry
from services.transport.feed import Subscription, connect
from services.transport.settings import RedisSettings
from tests.pipeline.gateway_world import PATIENCE_S, document, entry, panel
from tests.servers import Valkey, running

HOST = entry(document("host", panel("cpu", "cpu_busy")))


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []
        self._changed = asyncio.Event()

    def subscribed(self, channel: str) -> None:
        self._note("subscribed", channel)

    def received(self, channel: str, data: bytes) -> None:
        self._note("received", channel, data.decode())

    def lost(self, reason: str) -> None:
        assert reason
        self._note("lost")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, *event: str) -> None:
        await self.until(lambda: event in self.heard)

    def _note(self, *event: str) -> None:
        self.heard.append(event)
        self._changed.set()


@pytest.fixture
async def ear() -> Ear:
    return Ear()


@pytest.fixture
async def subscription(redis: Redis, ear: Ear) -> AsyncIterator[Subscription]:
    found = Subscription(redis, ear)
    task = asyncio.create_task(found.run())
    yield found
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_messages_arrive_after_the_subscription_is_confirmed(redis: Redis, ear: Ear, subscription: Subscription) -> None:
    subscription.add("one", "two")
    await ear.hears("subscribed", "one")
    await ear.hears("subscribed", "two")
    await redis.publish("two", "hello")
    await ear.hears("received", "two", "hello")


async def test_every_subscription_is_confirmed_also_of_a_channel_that_was_left_a_moment_ago(
    redis: Redis, ear: Ear, subscription: Subscription
) -> None:
    subscription.add("one")
    await ear.hears("subscribed", "one")
    subscription.remove("one")
    subscription.add("one", "other")
    await ear.until(lambda: ear.heard.count(("subscribed", "one")) == 2)


async def test_what_was_left_is_no_longer_heard(redis: Redis, ear: Ear, subscription: Subscription) -> None:
    subscription.add("one", "two")
    await ear.hears("subscribed", "two")
    subscription.remove("one")
    subscription.add("three")
    await ear.hears("subscribed", "three")
    await redis.publish("one", "lost")
    await redis.publish("two", "kept")
    await ear.hears("received", "two", "kept")
    assert ("received", "one", "lost") not in ear.heard


async def test_without_channels_there_is_no_connection(ear: Ear) -> None:
    async def connections() -> int:
        return len(await redis.client_list(_type="pubsub"))

    with running(Valkey()) as own:  # to which nobody else connects
        redis = connect(RedisSettings(own.url))
        subscription = Subscription(redis, ear)
        task = asyncio.create_task(subscription.run())
        await redis.ping()
        assert await connections() == 0
        subscription.add("one")
        await ear.hears("subscribed", "one")
        assert await connections() == 1
        subscription.remove("one")
        async with asyncio.timeout(PATIENCE_S):
            while await connections():  # noqa: ASYNC110, only Valkey knows
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        await redis.aclose()


async def test_a_server_that_dies_is_said_so_and_its_return_confirms_every_channel_again(
    valkey: Valkey, redis: Redis, ear: Ear, subscription: Subscription
) -> None:
    subscription.add("one", "two")
    await ear.hears("subscribed", "two")
    valkey.kill()
    await ear.hears("lost")
    valkey.start()
    await ear.until(lambda: ear.heard.count(("subscribed", "one")) == ear.heard.count(("subscribed", "two")) == 2)
    assert subscription.connections == 2


async def test_each_reason_why_nothing_is_heard_is_told(ear: Ear) -> None:
    """The first hides another one: the server is not there yet, and then it asks for a password."""
    own = Valkey("--requirepass", "hush")
    redis = connect(RedisSettings(own.url))
    subscription = Subscription(redis, ear)
    subscription.add("one")
    with structlog.testing.capture_logs() as told:
        task = asyncio.create_task(subscription.run())
        await ear.until(lambda: ear.heard.count(("lost",)) == 3)
        with running(own):
            await ear.until(lambda: "Authentication required" in str(told))
            heard = len(ear.heard)
            await ear.until(lambda: len(ear.heard) > heard + 1)
        task.cancel()
        await asyncio.wait([task])
    assert [each["reason"].split(".")[0].rpartition(" ")[0] for each in told][1:] == ["Authentication"], told
    await redis.aclose()


async def test_a_server_that_hangs_is_lost_too(valkey: Valkey, ear: Ear, subscription: Subscription) -> None:
    subscription.add("one")
    await ear.hears("subscribed", "one")
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        await ear.hears("lost")
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    await ear.until(lambda: ear.heard[-1] == ("subscribed", "one"))


@pytest.mark.parametrize("turns", range(12))
async def test_a_task_that_talks_to_the_feed_ends_when_it_is_cancelled(redis: Redis, turns: int) -> None:
    """Whatever it was doing at that moment. asyncio.wait_for, as redis-py uses it, does not promise that before Python 3.12."""
    await redis.ping()

    async def talk() -> None:
        while True:
            await redis.get("key")

    task = asyncio.create_task(talk())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    _, running = await asyncio.wait([task], timeout=2)
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
    assert not running


async def test_an_entry_comes_back_as_it_was_written(redis: Redis) -> None:
    await registry.write_entry(redis, HOST)
    assert await registry.read_all(redis) == {"host": HOST}
    await registry.delete_entry(redis, "host")
    assert await registry.read_all(redis) == {}


@pytest.mark.parametrize(
    "blob",
    [b"junk", b"{}", encode_entry(entry(HOST.document, name="other")), encode_entry(Entry(VERSION + 1, "bad", "r", None, ""))],
    ids=["junk", "no entry", "another name", "a later version"],
)
async def test_what_cannot_be_read_is_an_entry_that_says_why_and_the_rest_is_there(redis: Redis, blob: bytes) -> None:
    await registry.write_entry(redis, HOST)
    await redis.hset(DASHBOARDS, "bad", blob)
    entries = await registry.read_all(redis)
    assert entries["host"] == HOST
    assert entries["bad"].document is None
    assert entries["bad"].fault
    assert "cannot be read" in entries["bad"].fault.reason


async def following(redis: Redis, *, owner: bool = False) -> AsyncGenerator[dict[str, Entry], None]:
    async with aclosing(registry.watch(redis, owner=owner)) as changes:
        while True:
            async with asyncio.timeout(PATIENCE_S):
                found = await anext(changes)
            yield found


async def test_a_watcher_sees_the_registry_as_it_is_and_each_change(redis: Redis) -> None:
    other = entry(document("other", panel("cpu", "cpu_busy")))
    async with aclosing(following(redis)) as changes:
        assert await anext(changes) == {}
        await registry.write_entry(redis, HOST)
        assert await anext(changes) == {"host": HOST}
        await registry.write_entry(redis, other, entry(HOST.document, "r2"))
        assert {name: found.revision for name, found in (await anext(changes)).items()} == {"host": "r2", "other": "r1"}
        await registry.delete_entry(redis, "other")
        assert list(await anext(changes)) == ["host"]


async def test_a_watcher_that_missed_the_message_sees_the_revision(redis: Redis) -> None:
    async with aclosing(following(redis)) as changes:
        assert await anext(changes) == {}
        await redis.hset(DASHBOARDS, "host", encode_entry(HOST))
        await redis.incr(DASHBOARDS_REVISION)
        assert await anext(changes) == {"host": HOST}


async def test_a_watcher_survives_a_server_that_dies_and_comes_back_with_the_same_revision_of_something_else(
    valkey: Valkey, redis: Redis
) -> None:
    async with aclosing(following(redis)) as changes:
        await registry.write_entry(redis, HOST)
        while "host" not in await anext(changes):
            pass
        valkey.restart()
        async with aclosing(connect(RedisSettings(valkey.url))) as writer:
            await registry.write_entry(writer, entry(HOST.document, "r2"))
        while (found := await anext(changes)) and found["host"].revision != "r2":
            pass
        assert await redis.get(DASHBOARDS_REVISION) == b"1"


async def test_only_an_owner_is_told_that_redis_has_lost_the_registry_and_others_keep_it_until_it_is_written_again(
    redis: Redis,
) -> None:
    other = entry(document("other", panel("cpu", "cpu_busy")))
    await registry.write_entry(redis, HOST, other)
    async with aclosing(following(redis)) as changes, aclosing(following(redis, owner=True)) as owner:
        assert list(await anext(changes)) == list(await anext(owner)) == ["host", "other"]
        await redis.flushall()
        reader = asyncio.ensure_future(anext(changes))
        assert await anext(owner) == {}
        await asyncio.sleep(1.5 * registry.CHECK_EVERY_S)
        assert not reader.done()
        await registry.write_entry(redis, HOST)
        assert list(await reader) == list(await anext(owner)) == ["host"]
        await registry.delete_entry(redis, "host")
        assert await anext(changes) == await anext(owner) == {}


async def test_what_redis_lost_is_gone_when_an_owner_wants_nothing_any_more(redis: Redis) -> None:
    await registry.write_entry(redis, HOST)
    async with aclosing(following(redis)) as changes:
        assert list(await anext(changes)) == ["host"]
        await redis.flushall()
        await registry.keep(redis, {}, {})
        assert await anext(changes) == {}
        assert await redis.get(DASHBOARDS_REVISION) == b"0"
        await registry.keep(redis, {"host": HOST}, {})
        await registry.keep(redis, {}, {})
        assert list(await anext(changes)) == ["host"]


async def test_a_watcher_may_begin_before_the_server(valkey: Valkey, redis: Redis) -> None:
    valkey.kill()
    away: list[str] = []
    async with aclosing(registry.watch(redis, away.append)) as changes:
        first = asyncio.ensure_future(anext(changes))
        async with asyncio.timeout(PATIENCE_S):
            while not away:  # noqa: ASYNC110, it is said to a plain function
                await asyncio.sleep(0.02)
        valkey.start()
        async with asyncio.timeout(PATIENCE_S):
            assert await first == {}


async def test_a_command_without_a_server_fails_at_once(valkey: Valkey, redis: Redis) -> None:
    valkey.kill()
    try:
        with pytest.raises(feed.FeedErrors):
            async with asyncio.timeout(PATIENCE_S):
                await redis.get("key")
    finally:
        valkey.start()
