"""The roads as they are in production: TLS, users with few rights, Sentinels. Every server is a real one."""

import asyncio
import gc
import random
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from services.transport.feed import FeedErrors
from services.transport.lineage import ensure_lineage, read_lineage
from services.transport.log import LogReader, Record
from services.transport.log_wire import LogAway
from services.transport.settings import KafkaSettings, RedisSettings
from tests.certificates import Certificates
from tests.kafka.secure import MECHANISMS, PASSWORD, USER, SecureKafka
from tests.pipeline.test_aggregator import EVERYTHING, points
from tests.pipeline.world import aggregating, feed, register, settled, until, writing
from tests.sentinels import SERVICE, Secrets, SecureSentinel, Sentinel, ask, watched
from tests.servers import ROOT, SecureRedis, Valkey, running


@pytest.fixture(scope="module")
def secure_kafka(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with running(SecureKafka(tmp_path_factory.mktemp("secure-kafka"), certificates)) as server:
        yield server


async def test_everything_works_over_a_redis_that_asks_for_certificates(
    certificates: Certificates, kafka: KafkaSettings, tmp_path: Path
) -> None:
    with running(SecureRedis(tmp_path, certificates, ask_client=True)) as server:
        settings = RedisSettings(
            url=server.url,
            ca_file=str(certificates.authority.certificate),
            certificate_file=str(certificates.client.certificate),
            key_file=str(certificates.client.key),
        )
        async with feed(settings) as redis, writing(kafka) as written, aggregating(kafka, settings):
            wanted = await register(redis, EVERYTHING)
            await written.write(points(random.Random(1), 50))
            assert await settled(redis, written, wanted) > 100
        async with feed(replace(settings, certificate_file="", key_file="")) as stranger:
            with pytest.raises(FeedErrors):
                await stranger.ping()


async def test_a_redis_server_is_only_trusted_when_its_certificate_is_good(certificates: Certificates, tmp_path: Path) -> None:
    trusting = str(certificates.authority.certificate)
    with running(SecureRedis(tmp_path, certificates)) as server:
        async with feed(RedisSettings(url=server.url, ca_file=trusting)) as redis:
            assert await redis.ping()
        for ca_file in ("", str(certificates.stranger.certificate)):
            async with feed(RedisSettings(url=server.url, ca_file=ca_file)) as redis:
                with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                    await redis.ping()
    with running(SecureRedis(tmp_path, certificates, certificates.elsewhere)) as server:
        async with feed(RedisSettings(url=server.url, ca_file=trusting)) as redis:
            with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await redis.ping()
        async with feed(RedisSettings(url=server.url, ca_file=trusting, check_hostname=False)) as redis:
            assert await redis.ping()


async def test_a_user_with_the_rights_that_the_page_names_is_enough(kafka: KafkaSettings, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "connections.md").read_text()
    found = re.search(r"^ +ACL SETUSER tideboard on >SECRET (.*)$", page, re.MULTILINE)
    assert found, "docs/connections.md names no rights"
    with running(Valkey()) as valkey:
        async with feed(RedisSettings(url=valkey.url)) as admin:
            await order(admin, "ACL", "SETUSER", "tideboard", "on", ">first-word", *found[1].split())
            await admin.client_setname("admin")
            await order(admin, "ACL", "SETUSER", "default", "off")
            secret = tmp_path / "password"
            secret.write_text("first-word\n")
            settings = RedisSettings(url=valkey.url, username="tideboard", password_file=str(secret))
            async with feed(settings) as redis, writing(kafka) as written:
                wanted = await register(redis, EVERYTHING)
                async with aggregating(kafka, settings) as aggregator:
                    await written.write(points(random.Random(2), 50))
                    assert await settled(redis, written, wanted) > 100
                    assert {client["user"] for client in await admin.client_list() if client["name"] != "admin"} == {
                        "tideboard"
                    }
                    assert "first-word" not in str(aggregator.status()) and "first-word" not in repr(settings)
                    # A password is changed while everything runs: the file first, then the server, then old connections end.
                    await order(admin, "ACL", "SETUSER", "tideboard", "resetpass", ">new")
                    secret.write_text("new\n")
                    await order(admin, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    await order(admin, "CLIENT", "KILL", "TYPE", "pubsub")
                    await written.write(points(random.Random(3), 50))
                    await settled(redis, written, wanted)


async def test_a_wrong_password_of_redis_is_told_and_not_repeated(tmp_path: Path) -> None:
    with running(Valkey("--requirepass", "right")) as valkey:
        for settings in (
            RedisSettings(url=valkey.url, password="wrong-one"),
            RedisSettings(url=f"redis://:wrong-one@{valkey.address}/0"),
        ):
            assert "wrong-one" not in repr(settings)
            async with feed(settings) as redis:
                with pytest.raises(AuthenticationError) as told:
                    await redis.ping()
                assert "wrong-one" not in str(told.value)
        async with feed(RedisSettings(url=f"redis://:right@{valkey.address}/3")) as redis:
            assert await redis.ping()
        async with feed(RedisSettings(url=valkey.url, password_file=str(tmp_path / "missing"))) as redis:
            with pytest.raises(FeedErrors, match="missing"):
                await redis.ping()


async def test_a_failover_that_sentinels_decide_costs_no_cell(kafka: KafkaSettings, tmp_path: Path) -> None:
    chance = random.Random(4)
    with watched(tmp_path) as servers:
        settings = RedisSettings(url=servers.url)
        async with feed(settings) as redis, writing(kafka) as written, aggregating(kafka, settings) as aggregator:
            wanted = await register(redis, EVERYTHING)
            await written.write(points(chance, 50))
            await settled(redis, written, wanted)
            servers.primary.kill()
            await until(lambda: "" if aggregator.readiness().startswith("feed: ") else "it does not say that the feed is away")
            await written.write(points(chance, 50))
            await asyncio.to_thread(servers.wait_for_primary, servers.replica.port)
            async with asyncio.timeout(40):
                while True:
                    try:
                        wanted = await register(redis, EVERYTHING)
                        break
                    except FeedErrors:
                        await asyncio.sleep(0.1)
            await settled(redis, written, wanted, 30)
            await until(lambda: aggregator.readiness())


async def test_no_sentinel_is_forgotten_where_many_ask_at_once(tmp_path: Path) -> None:
    """As all do at a failover, while the first Sentinel does not know the primary yet."""
    with (
        running(Valkey()) as valkey,
        running(Sentinel(tmp_path, valkey)) as late,
        running(Sentinel(tmp_path, valkey)) as early,
    ):
        assert ask(late.port, f"SENTINEL REMOVE {SERVICE}") == "+OK\r\n"
        url = f"redis+sentinel://{late.address},{early.address}/{SERVICE}"
        async with feed(RedisSettings(url=url)) as redis:
            assert all(await asyncio.gather(redis.ping(), redis.ping()))
            assert ask(late.port, f"SENTINEL MONITOR {SERVICE} 127.0.0.1 {valkey.port} 1") == "+OK\r\n"
            early.kill()
            await redis.connection_pool.disconnect()
            assert await redis.ping()
        gc.collect()  # a connection that nobody closed says so here


async def test_sentinels_and_servers_with_passwords_of_their_own_say_which_one_is_wrong(tmp_path: Path) -> None:
    with watched(tmp_path, secrets=Secrets("of-servers", "of-sentinels")) as servers:
        settings = RedisSettings(url=servers.url, password="of-servers", sentinel_password="of-sentinels")
        async with feed(settings) as redis:
            assert await redis.ping()
        first = servers.sentinels[0].address
        for refused, said in (
            (replace(settings, sentinel_password="wrong-one"), f"{SERVICE}': {first}: invalid username-password pair"),
            (replace(settings, sentinel_password=""), f"{SERVICE}': {first}: Authentication required"),
            (replace(settings, url=f"{servers.url}s"), f"{SERVICE}s': {first} knows none"),
            (replace(settings, password="wrong-one"), "^invalid username-password pair"),
        ):
            async with feed(refused) as redis:
                with pytest.raises(FeedErrors, match=said) as told:
                    await redis.ping()
                assert "redis.asyncio" not in str(told.value) and "wrong-one" not in str(told.value)


async def test_sentinels_with_tls_and_the_primary_that_they_name_are_trusted_by_their_certificates(
    certificates: Certificates, tmp_path: Path
) -> None:
    with (
        running(SecureRedis(tmp_path, certificates)) as primary,
        running(SecureSentinel(tmp_path, certificates, primary)) as sentinel,
    ):
        url = f"rediss+sentinel://{sentinel.address}/{SERVICE}"
        settings = RedisSettings(url=url, ca_file=str(certificates.authority.certificate))
        async with feed(settings) as redis:
            assert await redis.ping()
        async with feed(replace(settings, ca_file=str(certificates.stranger.certificate))) as redis:
            with pytest.raises(FeedErrors, match=f"{sentinel.address}: .*CERTIFICATE_VERIFY_FAILED"):
                await redis.ping()


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_log_with_tls_and_users_is_written_and_read(
    mechanism: str, secure_kafka: SecureKafka, certificates: Certificates, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    settings = KafkaSettings(
        bootstrap_servers=secure_kafka.users,
        security_protocol="SASL_SSL",
        sasl_mechanism=mechanism,
        username=USER,
        password_file=str(secret),
        ca_file=str(certificates.authority.certificate),
    )
    async with writing(settings) as written:
        wrote = await written.writer.append(0, mechanism.encode())
    reader = LogReader(settings)
    reader.assign({0: wrote})
    assert [record.value for record in await read_some(reader)] == [mechanism.encode()]
    await reader.stop()
    with pytest.raises(LogAway, match=r"[aA]uthentication") as told:
        await ensure_lineage(replace(settings, password="wrong-one", password_file=""))
    assert "wrong-one" not in str(told.value)


async def test_a_log_that_asks_for_certificates_is_reached_with_one(
    secure_kafka: SecureKafka, certificates: Certificates
) -> None:
    settings = KafkaSettings(
        bootstrap_servers=secure_kafka.certified,
        security_protocol="SSL",
        ca_file=str(certificates.authority.certificate),
        certificate_file=str(certificates.client.certificate),
        key_file=str(certificates.client.key),
        request_timeout_ms=5_000,
    )
    assert await ensure_lineage(settings) == await read_lineage(settings)
    stranger = replace(
        settings, certificate_file=str(certificates.stranger.certificate), key_file=str(certificates.stranger.key)
    )
    for refused in (stranger, replace(settings, certificate_file="", key_file="")):
        with pytest.raises(LogAway, match=r"alert .*certificate"):
            await read_lineage(refused)
    for ca_file in ("", str(certificates.stranger.certificate)):
        with pytest.raises(LogAway, match="CERTIFICATE_VERIFY_FAILED"):
            await read_lineage(replace(settings, ca_file=ca_file))


async def test_a_broker_under_another_name_than_its_certificates_is_not_trusted(
    secure_kafka: SecureKafka, certificates: Certificates
) -> None:
    """The name that the broker gives itself counts, since that is where everything after the first question goes."""
    settings = KafkaSettings(
        bootstrap_servers=secure_kafka.users.replace("127.0.0.1", "127.0.0.2"),
        security_protocol="SASL_SSL",
        username=USER,
        password=PASSWORD,
        ca_file=str(certificates.authority.certificate),
    )
    with pytest.raises(LogAway):
        await read_lineage(settings)


async def test_a_broker_that_is_given_up_keeps_no_connection(certificates: Certificates) -> None:
    """Who is told that the log is away may end at once, and TLS takes a while to say good-bye."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        settings = KafkaSettings(
            bootstrap_servers=f"127.0.0.1:{port}",
            security_protocol="SSL",
            ca_file=str(certificates.authority.certificate),
            request_timeout_ms=300,
        )
        with pytest.raises(LogAway):
            await ensure_lineage(settings)
        assert not connected_to(port)


def connected_to(port: int) -> list[object]:
    """What this process has open to that port."""
    return [found for found in psutil.Process().net_connections("tcp") if found.raddr and found.raddr.port == port]


async def order(redis: Redis, *words: str) -> None:
    await redis.execute_command(*words)  # type: ignore[no-untyped-call]


async def read_some(reader: LogReader) -> list[Record]:
    deadline = time.monotonic() + 20
    while not (found := await reader.poll(1_000)):
        assert time.monotonic() < deadline, "nothing can be read"
    return found
