"""Everything over a Redis Cluster, whose servers each hold a part of what lies in the feed and fail one by one."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode
from redis.crc import key_slot

from services.contract.names import DASHBOARDS, VIEWS, fold_key, view_key
from services.contract.views import View
from services.local.embedded import free_port
from services.transport import memory, registry
from services.transport.feed import FeedErrors
from services.transport.feed_connection import cluster_of
from services.transport.lineage import read_lineage
from services.transport.registry import SOURCE_SHELF
from services.transport.scripts import Script
from services.transport.settings import KafkaSettings, RedisSettings
from tests.certificates import Certificates
from tests.pipeline.gateway_world import Pen, Screen, beating, document, now_ms, panel, serving, view_ids, viewing
from tests.pipeline.gateway_world import entry as page
from tests.pipeline.test_aggregator import ALL_FUNCTIONS, EVERYTHING, points
from tests.pipeline.test_slots import freed
from tests.pipeline.world import aggregating, entry, feed, register, settled, until, views, writing
from tests.redis_cluster import Member, Servers, clustered
from tests.servers import ROOT, SecureRedis, Valkey, running

PATIENCE_S = 20.0
SLOW = {"id": "slow", "type": "stat", "query": {"metric": "load", "by": ["host"], "fn": ALL_FUNCTIONS, "every": "10m"}}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Without replicas."""
    with clustered(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture
def settings(three: Servers) -> RedisSettings:
    return RedisSettings(url=three.url)


@pytest.fixture
async def redis(settings: RedisSettings) -> AsyncIterator[Redis]:
    async with feed(settings) as connected:
        await connected.flushall()
        yield connected


async def test_every_cell_is_right_and_shown_though_three_servers_hold_the_feed(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, three: Servers
) -> None:
    chance = random.Random(1)
    async with writing(kafka) as log, serving(settings.url) as gateway:
        wanted = await register(redis, EVERYTHING)
        assert len({three.holder(view_key(view, "meta")).port for view in wanted}) == 3, "one server has it all"
        async with aggregating(kafka, settings, "a") as a, viewing(gateway.port, EVERYTHING.name) as screen:
            await log.write(points(chance, 30))
            await settled(redis, log, wanted)
            async with aggregating(kafka, settings, "b") as b:
                await until(lambda: "" if a.status()["partitions"] and b.status()["partitions"] else "one has nothing to do")
                await log.write(points(chance, 30), twice=True)
                assert await settled(redis, log, wanted) > 100
            await log.write(points(chance, 30))
            await settled(redis, log, wanted)
            await shows(screen, redis, wanted)
            await registry.delete_entry(redis, EVERYTHING.name)
            await freed(redis)
            await none_known(redis)
            assert not [key async for key in redis.scan_iter("{tb:view:*") if await redis.pttl(key) < 0]


async def test_the_registry_is_written_as_one_though_its_channel_is_of_another_slot(redis: Redis) -> None:
    assert key_slot(SOURCE_SHELF.channel.encode()) != key_slot(SOURCE_SHELF.entries.encode())
    first, second, theirs = (msgspec.structs.replace(entry(name, []), source=name) for name in ("first", "second", "theirs"))
    await registry.write_entry(redis, first, theirs, shelf=SOURCE_SHELF)
    written = {"first": first}
    kept = await registry.keep(
        redis, {"second": second, "theirs": second}, written, SOURCE_SHELF, lambda source: source != "theirs"
    )
    assert kept == {"theirs": theirs}
    assert await registry.read_all(redis, SOURCE_SHELF) == {"second": second, "theirs": theirs}


async def test_what_somebody_else_changes_meanwhile_stops_a_transaction(redis: Redis, settings: RedisSettings) -> None:
    async with feed(settings) as other, redis.pipeline(transaction=True) as together:
        await together.watch(DASHBOARDS)
        await other.hset(DASHBOARDS, "name", "changed")
        together.multi()  # type: ignore[no-untyped-call]
        together.hset(DASHBOARDS, "name", "mine")
        with pytest.raises(FeedErrors, match="Watched"):
            await together.execute()
    assert await redis.hget(DASHBOARDS, "name") == b"changed"


async def test_servers_that_were_named_are_asked_again_where_all_that_were_found_are_gone(redis: Redis) -> None:
    cluster = cluster_of(redis)
    assert cluster is not None
    gone = ClusterNode("127.0.0.1", free_port(), **cluster.connection_kwargs)
    cluster.nodes_manager.startup_nodes = {gone.name: gone}
    cluster.doubt()
    assert await redis.set("tb:any", 1)


async def test_one_server_is_no_cluster_and_says_so(valkey: Valkey) -> None:
    async with feed(RedisSettings(url=f"redis+cluster://{valkey.address}")) as redis:
        with pytest.raises(FeedErrors, match="Cluster mode is not enabled"):
            await redis.get("tb:any")


async def test_a_script_that_only_some_servers_know_is_called_once_for_each(redis: Redis, three: Servers) -> None:
    script = Script("return redis.call('INCR', KEYS[1])")
    keys = [f"counted:{number}" for number in range(30)]
    assert {three.holder(key).port for key in keys} == {member.port for member in three.members}
    assert three.members[1].ask("SCRIPT LOAD", script.text) == script.sha
    assert await script.run_all(redis, [([key], []) for key in keys]) == [1] * len(keys)


async def test_every_server_is_asked_for_its_memory(redis: Redis, three: Servers) -> None:
    three.members[1].order("CONFIG SET", "maxmemory", 1 << 30, "maxmemory-policy", "allkeys-lru")
    said = {(item.limit, item.policy) for item in await memory.ask(redis)}
    three.members[1].order("CONFIG SET", "maxmemory", 0, "maxmemory-policy", "noeviction")
    assert len(await memory.ask(redis)) == 3
    assert said == {(0, "noeviction"), (1 << 30, "allkeys-lru")}


async def test_a_server_that_is_gone_is_told_and_costs_no_cell(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Its replica takes over; and then another one's."""
    chance = random.Random(4)
    with clustered(tmp_path, replicas=True) as servers:
        settings = RedisSettings(url=servers.url)
        async with (
            feed(settings) as redis,
            writing(kafka) as log,
            serving(settings.url) as gateway,
            aggregating(kafka, settings) as aggregator,
        ):
            wanted = await register(redis, EVERYTHING)
            async with viewing(gateway.port, EVERYTHING.name) as screen:
                for primary in servers.members[:2]:
                    await log.write(points(chance, 30))
                    await settled(redis, log, wanted)
                    primary.kill()
                    await until(
                        lambda: "" if aggregator.readiness().startswith("feed: ") else "it does not say that it is away"
                    )
                    await log.write(points(chance, 30))
                    await asyncio.to_thread(taken_over, servers, servers.replica_of(primary))
                    await again_and_again(lambda: register(redis, EVERYTHING))
                    await settled_again(redis, log, wanted)
                    await until(aggregator.readiness)
                    await asyncio.to_thread(come_back, servers, primary)
                await again_and_again(lambda: shows(screen, redis, wanted))


async def test_a_quiet_view_that_a_failover_lost_is_written_again(kafka: KafkaSettings, tmp_path: Path) -> None:
    """The server with the folds was never gone, and nothing that is written afterwards would show it."""
    kafka = replace(kafka, partitions=1)
    chance = random.Random(5)
    with clustered(tmp_path, replicas=True) as servers:
        settings = RedisSettings(url=servers.url)
        async with feed(settings) as redis, writing(kafka) as log, aggregating(kafka, settings):
            wanted = await register(redis, entry("slow", [SLOW], "12h"))
            await log.write(points(chance, 30))
            await settled(redis, log, wanted)
            lost = without_folds(servers, f"{await read_lineage(kafka)}", wanted)
            there = servers.replica_of(lost)
            there.lag_behind(lost)
            await log.write(points(chance, 30))
            await settled(redis, log, wanted)
            lost.kill()
            await asyncio.to_thread(taken_over, servers, there)
            await settled_again(redis, log, wanted)


async def test_slots_that_move_while_they_are_written_cost_no_cell(
    kafka: KafkaSettings, settings: RedisSettings, redis: Redis, three: Servers
) -> None:
    chance = random.Random(6)
    async with writing(kafka) as log, serving(settings.url) as gateway, aggregating(kafka, settings):
        wanted = await register(redis, EVERYTHING)
        async with viewing(gateway.port, EVERYTHING.name) as screen:
            await log.write(points(chance, 30))
            await settled(redis, log, wanted)
            lineage = f"{await read_lineage(kafka)}"
            folds = [fold_key(lineage, partition, "meta") for partition in range(log.writer.partitions)]
            for key in (*folds, *(view_key(view, "meta") for view in list(wanted)[:3]), VIEWS, DASHBOARDS):
                to = chance.choice([member for member in three.members if member is not three.holder(key)])
                moving = asyncio.create_task(asyncio.to_thread(three.move, key_slot(key.encode()), to))
                while not moving.done():
                    await log.write(points(chance, 2))
                    await asyncio.sleep(0.1)
                await moving
                assert three.holder(key) is to
            await settled_again(redis, log, wanted)
            await shows(screen, redis, wanted)


async def test_a_viewer_gets_what_the_servers_do_not_hand_on_to_each_other(
    settings: RedisSettings, redis: Redis, three: Servers
) -> None:
    """Wherever the gateway subscribes: it hears only what is published on that server itself."""
    host = document("host", panel("cpu", "cpu_busy"), panel("rx", "rx_bytes"), panel("tx", "tx_bytes"), panel("up", "up"))
    start = now_ms() // 1_000 * 1_000 - 5_000
    async with beating(redis, "test"), serving(settings.url) as gateway:
        await registry.write_entry(redis, page(host))
        pens = [Pen(redis, view) for view in view_ids(host)]
        for pen in pens:
            await pen.write({(start, "0"): 1})
        async with viewing(gateway.port, "host") as screen:
            await screen.hear_a("snapshot")
            for member in three.members:
                member.hand_nothing_on()
            for pen in pens:
                await pen.write({(start + 1_000, "0"): 2})
            await screen.until(lambda: all(screen.versions[pen.view] == pen.version for pen in pens))
            for member in three.members:
                member.hand_nothing_on(False)
            assert all(screen.table(pen.view) == pen.truth() for pen in pens)


async def test_a_user_with_the_rights_that_the_page_names_is_enough(
    kafka: KafkaSettings, redis: Redis, three: Servers, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "connections.md").read_text()
    rights = re.search(r"^ +ACL SETUSER tideboard on >SECRET (.*)$", page, re.MULTILINE)
    more = re.search(r"^In a Cluster, on every server, also `(.*)`", page, re.MULTILINE)
    assert rights and more, "docs/connections.md names no rights"
    for member in three.members:
        member.order("ACL SETUSER", "tideboard", "on", ">hush-1", *rights[1].split(), *more[1].split())
    (secret := tmp_path / "password").write_text("hush-1\n")
    settings = RedisSettings(url=three.url, username="tideboard", password_file=str(secret))
    async with writing(kafka) as log, serving(settings.url.replace("://", "://tideboard:hush-1@")) as gateway:
        wanted = await register(redis, EVERYTHING)
        async with aggregating(kafka, settings) as aggregator, viewing(gateway.port, EVERYTHING.name) as screen:
            await log.write(points(random.Random(2), 30))
            await settled(redis, log, wanted)
            await shows(screen, redis, wanted)
            assert "'user': 'tideboard'" in three.members[0].ask("CLIENT LIST")
            assert "hush-1" not in str(aggregator.status()) and "hush-1" not in repr(settings)


async def test_a_cluster_that_asks_for_certificates_is_reached_with_one(
    certificates: Certificates, kafka: KafkaSettings, tmp_path: Path
) -> None:
    with running(
        SecureRedis(
            tmp_path,
            certificates,
            ask_client=True,
            more=("--cluster-enabled", "yes", "--cluster-port", f"{free_port()}", "--tls-cluster", "yes"),
        )
    ) as server:
        settings = RedisSettings(
            url=f"rediss+cluster://{server.address}",
            ca_file=str(certificates.authority.certificate),
            certificate_file=str(certificates.client.certificate),
            key_file=str(certificates.client.key),
        )
        async with feed(replace(settings, url=server.url)) as alone:
            await alone.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)  # type: ignore[no-untyped-call]
        async with feed(settings) as redis, writing(kafka) as log, aggregating(kafka, settings):
            await again_and_again(lambda: register(redis, EVERYTHING))
            await log.write(points(random.Random(1), 30))
            await settled(redis, log, views(EVERYTHING))
        async with feed(replace(settings, certificate_file="", key_file="")) as stranger:
            with pytest.raises(FeedErrors):
                await stranger.get("tb:any")


def without_folds(servers: Servers, lineage: str, wanted: dict[str, View]) -> Member:
    """A server that holds views but not the fold of the one partition."""
    folds = servers.holder(fold_key(lineage, 0, "meta"))
    return next(found for view in wanted if (found := servers.holder(view_key(view, "meta"))) is not folds)


def taken_over(servers: Servers, replica: Member) -> None:
    """Wait until a replica is the primary, and all know it."""
    deadline = time.monotonic() + PATIENCE_S
    while "master" not in replica.role:
        assert time.monotonic() < deadline, "the replica does not take over"
        time.sleep(0.05)
    servers.wait_until_whole()


def come_back(servers: Servers, member: Member) -> None:
    """As the replica of who took over."""
    member.start()
    servers.wait_until_whole()


async def again_and_again(action: Callable[[], Awaitable[object]]) -> None:
    """Until the feed takes it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            await action()
            return
        except FeedErrors:
            assert time.monotonic() < deadline, "the feed does not come back"
            await asyncio.sleep(0.1)


async def settled_again(redis: Redis, log: Any, wanted: dict[str, View]) -> None:
    await again_and_again(lambda: settled(redis, log, wanted, 30))


async def none_known(redis: Redis) -> None:
    """Wait until no view is among the known ones."""
    deadline = time.monotonic() + PATIENCE_S
    while known := await redis.smembers(VIEWS):
        assert time.monotonic() < deadline, f"{known} are not let go"
        await asyncio.sleep(0.1)


async def shows(screen: Screen, redis: Redis, wanted: dict[str, View]) -> None:
    """Wait until a viewer has the versions that lie there."""
    there = {view: int(await redis.hget(view_key(view, "meta"), "version") or 0) for view in wanted}
    await screen.until(lambda: all(screen.versions.get(view, 0) >= version for view, version in there.items()))
