"""Wire: requests to the brokers of one Kafka cluster, over connections that are never renewed behind the caller's back.

aiokafka's own clients reconnect and retry by themselves, create topics by asking for them, and offer no way to turn
that off. Against a broker that forgets everything when it stops (the embedded one) a retried produce then writes to a
topic that is not there, which corrupts it for good. So we use aiokafka for the protocol alone: a Wire whose connection
broke stays broken, whoever holds it makes a new one, and looks first at what is there.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, CloseReason, collect_hosts, create_conn
from aiokafka.protocol.metadata import MetadataRequest

from services.transport.settings import SASL, KafkaSettings, read_secret
from services.transport.tls import tls_context

RETRY_S: Final = 0.1


class LogError(Exception):
    """The log did not do what was asked: it is away, or it refused. The message is for a person."""


class LogAway(LogError):  # noqa: N818, says what happened
    """No broker answers, or a connection broke. What was asked may or may not have happened."""


class TopicMissing(LogError):  # noqa: N818, says what happened
    """The topic is not there (yet, or any more)."""


Leaders = dict[int, int]  # partition -> node that leads it


class Wire:
    """Connections to the brokers of a cluster. LogAway from any method means that this Wire is of no more use."""

    def __init__(self, settings: KafkaSettings, on_break: Callable[[], None] | None = None) -> None:
        """on_break: called when a broker ends a connection, also while nothing is being asked."""
        self._settings = settings
        self._on_break = on_break
        self._addresses: dict[int, tuple[str, int]] = {}
        self._connections: dict[int, AIOKafkaConnection] = {}
        self._closing: list[asyncio.Future[None]] = []
        self._connecting = asyncio.Lock()
        self._tls: ssl.SSLContext | None = None
        self.controller = -1

    async def open(self) -> None:
        """Learn the brokers from the first bootstrap server that answers."""
        faults = []
        for host, port, _ in collect_hosts(self._settings.bootstrap_servers):
            try:
                first = await self._connect(host, port)
            except LogAway as error:
                faults.append(str(error))
                continue
            try:
                self._learn(await self._answer(first, MetadataRequest([], allow_auto_topic_creation=False)))
            finally:
                self._drop(first)
            if self._addresses:
                return
            faults.append(f"{host}:{port} knows no brokers yet")
        raise LogAway("; ".join(faults))

    async def leaders(self, topics: Iterable[str]) -> dict[str, Leaders]:
        """The leaders of each topic's partitions; a topic that is missing is left out, a partition without a leader has -1."""
        answer = await self.ask(self.any_node(), MetadataRequest(list(topics), allow_auto_topic_creation=False))
        self._learn(answer)
        found = {}
        for code, topic, _, partitions in answer.topics:
            error = errors.for_code(code)
            if error is errors.UnknownTopicOrPartitionError:
                continue
            if error not in (errors.NoError, errors.LeaderNotAvailableError):
                raise LogError(f"topic {topic}: {error.__name__}")
            found[topic] = {partition: leader for _, partition, leader, *_ in partitions}
        return found

    def any_node(self) -> int:
        """A broker: one that a connection is open to, if there is."""
        return next(iter(self._connections), next(iter(self._addresses)))

    async def ask(self, node: int, request: Any) -> Any:
        """The answer of one broker."""
        async with self._connecting:  # several may ask at once
            if (connection := self._connections.get(node)) is None:
                if node not in self._addresses:
                    raise LogAway(f"broker {node} is not known")
                connection = await self._connect(*self._addresses[node])
                self._connections[node] = connection
        return await self._answer(connection, request)

    async def close(self) -> None:
        for connection in self._connections.values():
            self._drop(connection)
        if self._closing:
            await asyncio.wait(self._closing, timeout=1)
            self._closing.clear()

    async def _connect(self, host: str, port: int) -> AIOKafkaConnection:
        settings = self._settings
        try:
            if settings.tls and self._tls is None:
                self._tls = tls_context(settings)
            sasl = {}
            if settings.security_protocol.startswith(SASL):
                password = read_secret(settings.password, settings.password_file)
                sasl = {
                    "sasl_mechanism": settings.sasl_mechanism,
                    "sasl_plain_username": settings.username,
                    "sasl_plain_password": password,
                }
            return await create_conn(
                host,
                port,
                client_id="tideboard",
                request_timeout_ms=settings.request_timeout_ms,
                on_close=self._closed,
                security_protocol=settings.security_protocol,
                ssl_context=self._tls,
                **sasl,
            )
        # ValueError: what a server says that does not know the password either (SCRAM proves both sides)
        except (OSError, TimeoutError, errors.KafkaError, AssertionError, ValueError) as error:
            raise LogAway(f"no connection to {host}:{port}: {_text(error)}") from error

    async def _answer(self, connection: AIOKafkaConnection, request: Any) -> Any:
        try:
            return await connection.send(request)
        except (OSError, TimeoutError, errors.KafkaError) as error:
            self._drop(connection)
            raise LogAway(f"{connection.host}:{connection.port} did not answer: {_text(error)}") from error

    def _drop(self, connection: AIOKafkaConnection) -> None:
        with contextlib.suppress(OSError):
            connection.close()

    def _closed(self, connection: AIOKafkaConnection, reason: CloseReason | None) -> None:
        """However a connection ends, also while it is being made: its TLS says good-bye for a while yet."""
        if (closing := connection.close()) is not None:
            self._closing.append(closing)
        if reason is CloseReason.CONNECTION_BROKEN and self._on_break:
            self._on_break()

    def _learn(self, metadata: Any) -> None:
        self._addresses.update({node: (host, port) for node, host, port, *_ in metadata.brokers})
        self.controller = metadata.controller_id


def _text(error: BaseException) -> str:
    """With what aiokafka keeps to itself: a broker that does not like our certificate ends the connection, and says why in an alert."""
    said = str(error) or type(error).__name__
    return f"{said} ({_text(error.__cause__)})" if isinstance(error.__cause__, OSError) else said
