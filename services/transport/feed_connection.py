"""Connections to Redis or Valkey: one server, whichever Sentinels name, or a Cluster, with or without TLS, as an ACL user or as anybody.

`connect` gives a client. What goes over it is everybody's own; `feed` has the pub/sub side, `feed_cluster` what is particular to a Cluster.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError
from redis.exceptions import TimeoutError as RedisTimeoutError

from services.transport.feed_cluster import Cluster
from services.transport.settings import RedisAddress, RedisSettings, read_secret, redis_address, sentinels_of
from services.transport.tls import tls_context

CONNECT_S: Final = 1.0
ANSWER_S: Final = 2.0
SENTINEL_S: Final = 0.5
"""A Sentinel that does not answer for so long is passed over; the others know as much."""


def connect(settings: RedisSettings) -> Redis:
    """A client with a pool. It connects when it is first used; a command that fails is not repeated behind the caller's back."""
    address = redis_address(settings.url)
    if address.cluster:
        return _cluster(settings, address)
    if not address.service:
        return Redis.from_pool(ConnectionPool(connection_class=_kind(address), **_options(settings, address)))
    manager = _Sentinels(address.hosts, partial(_sentinel, settings, address))
    kind = _kind(address, SentinelManagedConnection)
    pool = _SentinelPool(address.service, manager, connection_class=kind, **_options(settings, address))  # type: ignore[no-untyped-call]
    return Redis.from_pool(pool)


def connection_for_pubsub(redis: Redis) -> AbstractConnection:
    """One of its own, not connected yet."""
    if (cluster := cluster_of(redis)) is not None:
        return cluster.connection()
    return cast("AbstractConnection", redis.connection_pool.make_connection())  # type: ignore[no-untyped-call]


def cluster_of(redis: Redis) -> Cluster | None:
    """The same client where it is of a Cluster."""
    client: object = redis
    return client if isinstance(client, Cluster) else None


def _cluster(settings: RedisSettings, address: RedisAddress) -> Redis:
    """It has the commands and pipelines of one server's client, though redis-py derives the two from nothing in common."""
    options = _options(settings, address)
    more = {"tls": options.pop("tls")} if address.tls else {}
    return cast("Redis", Cluster(address.hosts, _kind(address), options, more))


def _sentinel(settings: RedisSettings, address: RedisAddress, host: str, port: int) -> Redis:
    asked = RedisAddress(((host, port),), "", 0, address.tls, "", "")
    options = _options(sentinels_of(settings), asked, socket_connect_timeout=SENTINEL_S, socket_timeout=SENTINEL_S)
    return Redis.from_pool(ConnectionPool(connection_class=_kind(asked), **options))


def _options(settings: RedisSettings, address: RedisAddress, **more: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "protocol": 2,  # RESP3 brings redis-py's maintenance notifications, which Valkey does not know
        "decode_responses": False,
        "socket_timeout": ANSWER_S,
        "socket_connect_timeout": CONNECT_S,
        "health_check_interval": 0,  # the pool sees a closed connection by itself, and every command has its timeout
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,
        "db": address.db,
    }
    if address.path:
        options["path"] = address.path
    elif not address.service and not address.cluster:
        options["host"], options["port"] = address.hosts[0]
    if address.tls:
        options["tls"] = settings
    user = _User(settings, address)
    if user.known:
        options["credential_provider"] = user
    return options | more


class _Sentinels(Sentinel):
    """Whoever knew the primary last is asked first.

    redis-py 8.1 swaps two places of the list that all who ask at once walk along: then one Sentinel is there twice, and another neither asked nor closed any more.
    Where none knows, it tells how its clients are made, and not what a Sentinel said.
    """

    def __init__(self, hosts: Sequence[tuple[str, int]], client: Callable[[str, int], Redis]) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        self._addresses = {client(host, port): f"{host}:{port}" for host, port in hosts}
        self.sentinels = [*self._addresses]

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        faults = []
        for sentinel in [*self.sentinels]:
            try:
                known: dict[str, Any] = await sentinel.sentinel_masters()  # type: ignore[assignment]  # a dictionary with RESP2
            except (RedisConnectionError, RedisTimeoutError) as error:
                faults.append(f"{self._addresses[sentinel]}: {error}")
                continue
            state = known.get(service_name)
            if state and self.check_master_state(state, service_name):
                self.sentinels = [sentinel, *(other for other in self._addresses if other is not sentinel)]
                return state["ip"], state["port"]
            faults.append(f"{self._addresses[sentinel]} knows none that is up")
        raise MasterNotFoundError(f"no Sentinel names a primary of {service_name!r}: {'; '.join(faults)}")


class _SentinelPool(SentinelConnectionPool):
    """Closes its connections to the Sentinels, too, when it is closed."""

    async def aclose(self) -> None:
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()


class _User(CredentialProvider):
    """Who we are, asked for at every connection."""

    def __init__(self, settings: RedisSettings, address: RedisAddress) -> None:
        self._settings = settings
        self._address = address
        self.known = bool(address.password or settings.password or settings.password_file)

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._address.password or read_secret(self._settings.password, self._settings.password_file)
        username = self._address.username or self._settings.username
        return (username, password) if username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Else redis-py warns at every connection that it asks the other one."""
        return self.get_credentials()


def _kind(address: RedisAddress, base: type[AbstractConnection] = Connection) -> type[AbstractConnection]:
    if address.path:
        base = UnixDomainSocketConnection
    bases = (_Sending, _Tls, base) if address.tls else (_Sending, base)
    return cast("type[AbstractConnection]", type("FeedConnection", bases, {}))


class _Tls(Connection):
    """TLS with our own context: redis-py's trusts the machine's authorities beside the one that is named."""

    def __init__(self, *, tls: RedisSettings, **options: Any) -> None:
        super().__init__(**options)
        self._files = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": tls_context(self._files)}


class _Sending(AbstractConnection):
    """A connection whose sending is quick, and can be cancelled.

    redis-py's asyncio client packs commands argument by argument in Python, and its other one in C; a commit has thousands of arguments.

    redis-py 8.1 sends with asyncio.wait_for, a task per command; before Python 3.12 that swallows a cancellation which comes
    at the moment when the bytes are out, and a task that was to end goes on for ever.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0].encode() if isinstance(args[0], str) else bytes(args[0])
        try:
            return [hiredis.pack_command((*name.split(), *args[1:]))]
        except TypeError as error:
            raise DataError(str(error)) from None

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        data = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([data] if isinstance(data, bytes) else data)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        except OSError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"Error while writing to socket: {error}") from error
        except BaseException:
            await self.disconnect(nowait=True)  # part of the command may be out
            raise
