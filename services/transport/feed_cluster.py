"""A Redis Cluster: one client for all its servers. Slots, redirections and how the servers are found out are redis-py's business; `feed_connection` opens it.

Like the client of one server it does not repeat a command that failed; a command that another server has to answer was not carried out, and goes there.
After a failure the servers are asked anew who holds which slots, before the next command.

What differs from redis-py 8.1: its transactions start a thread with an event loop for every command that is added, it asks a server for the keys of
every XREAD, a failed pipeline does not make it look for the servers again, and where the servers that it found are all gone it forgets those it was given.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from redis._parsers import AsyncCommandsParser
from redis.asyncio.cluster import (
    AbstractStrategy,
    ClusterNode,
    ClusterPipeline,
    RedisCluster,
    TransactionStrategy,
)
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.event import EventDispatcher
from redis.exceptions import AskError, MovedError

REDIRECTIONS: Final = 3
"""How often a transaction follows the slot that it is about."""
_FAILURES: Final = (*RedisCluster.ERRORS_ALLOW_RETRY, OSError)


class Cluster(RedisCluster):
    """hosts: some of its servers. kind: of connections, made with `options` and `more`; redis-py knows only the former."""

    def __init__(
        self, hosts: Sequence[tuple[str, int]], kind: type[AbstractConnection], options: dict[str, Any], more: dict[str, Any]
    ) -> None:
        first = [ClusterNode(host, port) for host, port in hosts]
        super().__init__(startup_nodes=first, reinitialize_steps=0, **options)
        self.connection_kwargs.update(more, connection_class=kind)
        self._given = dict(self.nodes_manager.startup_nodes)
        for node in self._given.values():
            node.connection_class = kind  # type: ignore[assignment]
            node.connection_kwargs.update(more)
        self.commands_parser = _Keys()

    async def initialize(self, *args: Any, **kwargs: Any) -> "Cluster":
        """Find out who holds which slots, where that is not known or in doubt."""
        if self._initialize:
            for name, node in self._given.items():
                self.nodes_manager.startup_nodes.setdefault(name, node)
            await super().initialize(*args, **kwargs)
        return self

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> "_Pipeline":
        return _Pipeline(self, transaction)

    async def inform(self, *sections: str) -> list[Mapping[str, Any]]:
        """What each primary says of itself."""
        with self.doubted():
            await self.initialize()
            return list(await asyncio.gather(*(self._informed(node, *sections) for node in self.get_primaries())))

    async def _informed(self, node: ClusterNode, *sections: str) -> Mapping[str, Any]:
        info: Mapping[str, Any] = await self.execute_command("INFO", *sections, target_nodes=node)
        return info

    async def holders(self) -> frozenset[str]:
        """Which processes hold the slots."""
        informed = await self.inform()
        if any(info["role"] != "master" for info in informed):
            self.doubt()
        return frozenset(f"{info['run_id']} is {info['role']}" for info in informed)

    def connection(self) -> AbstractConnection:
        """One of its own, to any server that holds slots: what is published on one reaches the subscribers of all."""
        node = random.choice(self.get_primaries() or list(self._given.values()))  # noqa: S311
        return node.connection_class(**node.connection_kwargs, retry=Retry(NoBackoff(), 0))

    @contextlib.contextmanager
    def doubted(self) -> Iterator[None]:
        """Where a server fails in this block, it is looked for before the next command."""
        try:
            yield
        except _FAILURES:
            self.doubt()
            raise

    def doubt(self) -> None:
        """Find out anew who holds which slots, before the next command."""
        self._initialize = True

    async def slot(self, *command: Any) -> int:
        """Of its keys."""
        found: int = await self._determine_slot(*command)
        return found

    async def aclose(self) -> None:
        """Also of connections that are left over while the servers are in doubt."""
        await super().aclose()
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")


class Holders:
    """Sees that slots of a Cluster are held by other processes than before, as after a failover: these may lack the last writes.

    Of a single server every command tells, since none is answered meanwhile; in a Cluster who only talks to the others would not know.
    """

    def __init__(self, cluster: Cluster | None) -> None:
        self._cluster = cluster
        self._known: frozenset[str] | None = None

    async def changed(self) -> bool:
        """Since the last call. Redis errors: call again."""
        if self._cluster is None:
            return False
        before, self._known = self._known, await self._cluster.holders()
        return before not in (None, self._known)


class _Keys(AsyncCommandsParser):
    """The keys of a command, of those that we use: the first argument, or all where they are named. Whether they share a slot the server says."""

    async def initialize(self, node: ClusterNode | None = None) -> None:
        """There is nothing to ask."""

    async def get_keys(self, *args: Any) -> tuple[Any, ...] | None:
        if args[0] == "XREAD":
            behind = args[[*map(_text, args)].index("STREAMS") + 1 :]
            return behind[: len(behind) // 2]
        return args[1:2] or None


def _text(word: Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


class _Pipeline(ClusterPipeline):
    _event_dispatcher: EventDispatcher  # which its base declares and does not have

    def __init__(self, client: Cluster, transaction: Any) -> None:
        super().__init__(client, transaction)
        self._client = client
        if transaction:
            self._execution_strategy = _Transaction(self, client)

    def publish(self, channel: Any, message: Any, **kwargs: Any) -> Any:
        """redis-py keeps it out of pipelines, though any server may be asked for it."""
        return self.execute_command("PUBLISH", channel, message, **kwargs)

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """redis-py keeps it out of pipelines, for servers may not know the script; `scripts` sees to that."""
        return self.execute_command("EVALSHA", sha, numkeys, *keys_and_args)

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        with self._client.doubted():
            answers: list[Any] = await super().execute(raise_on_error, allow_redirections)
        if any(isinstance(answer, _FAILURES) for answer in answers):
            self._client.doubt()
        return answers


class _Transaction(TransactionStrategy):
    """The keys of one slot. What is published in it has none."""

    def __init__(self, pipeline: _Pipeline, client: Cluster) -> None:
        super().__init__(pipeline)
        self._client = client
        self._retry = Retry(NoBackoff(), REDIRECTIONS, supported_errors=(AskError, MovedError))

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("keys", None)  # for a cache that there is not; what reads the answers does not take it
        at_once = (self._watching or args[0] in self.IMMEDIATE_EXECUTE_COMMANDS) and not self._explicit_transaction
        return self._at_once(*args, **kwargs) if at_once else AbstractStrategy.execute_command(self, *args, **kwargs)

    async def _at_once(self, *args: Any, **kwargs: Any) -> Any:
        with self._client.doubted():
            return await (await self._execute_command(*args, **kwargs))

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        for command in self._command_queue:
            if command.args[0] != "PUBLISH":
                self._pipeline_slots.add(await self._client.slot(*command.args))
        answers: list[Any] = await super().execute(raise_on_error, allow_redirections)
        return answers
