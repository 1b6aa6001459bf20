"""The feed: Redis (or Valkey) as shared state and fan-out. `Subscription` is one pub/sub connection that comes back; clients come from `feed_connection`.

What lies there is in `contract`; what a change means is its listener's business. redis-py's own PubSub reconnects without
a word; here every loss and every return is said, because what was published in between has to be read from history.
"""

import asyncio
import contextlib
import math
from typing import Any, Final, Protocol

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisClusterException, RedisError

from services.runtime.logs import Reasons
from services.transport.feed_connection import connect, connection_for_pubsub

__all__ = ["FeedErrors", "Listener", "Subscription", "connect"]

log = structlog.get_logger()

FeedErrors: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a command may raise when the feed is away. Retrying is the caller's: only it knows what may be done twice."""

PING_EVERY_S: Final = 0.5
PATIENCE_S: Final = 1.5  # a subscription that has not even had a pong for so long is lost
EXTEND_S: Final = 0.1  # by so much PATIENCE_S may be shorter
BACKOFF_S: Final = (0.05, 1.0)  # first and longest wait before the next attempt


class FeedLostError(Exception):
    """The subscription's connection does not answer."""


class Listener(Protocol):
    """Who hears what a Subscription receives. Called from its task; must not block."""

    def subscribed(self, channel: str) -> None:
        """From now on nothing of this channel is missed; what was published before may have been. Again after each return."""

    def received(self, channel: str, data: bytes) -> None: ...

    def lost(self, reason: str) -> None:
        """The connection is gone, or could not be made. Said once per attempt."""


class Subscription:
    """One pub/sub connection for any number of channels, made when there is something to hear and remade when it breaks."""

    def __init__(self, redis: Redis, listener: Listener) -> None:
        self._redis = redis
        self._listener = listener
        self._wanted: set[str] = set()
        self._pending: list[tuple[str, str]] = []
        self._changed = asyncio.Event()
        self._deaf = False
        self._reasons = Reasons()
        self.connected = False
        self.connections = 0

    def add(self, *channels: str) -> None:
        """Listen to these too. `subscribed` says when."""
        for channel in channels:
            if channel not in self._wanted:
                self._wanted.add(channel)
                self._pending.append(("SUBSCRIBE", channel))
        self._changed.set()

    def remove(self, *channels: str) -> None:
        for channel in channels:
            if channel in self._wanted:
                self._wanted.discard(channel)
                self._pending.append(("UNSUBSCRIBE", channel))
        self._changed.set()

    def renew(self) -> None:
        """Give the connection up, though it answers: not all that is published gets here. To a Cluster the next one may lead to another server."""
        self._deaf = True

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            await self._something_wanted()
            try:
                await self._serve()
            except (*FeedErrors, FeedLostError) as error:
                failures = 0 if self.connected else failures + 1
                self._lose(str(error) or type(error).__name__)
            self.connected = False
            first, longest = BACKOFF_S
            await asyncio.sleep(min(longest, first * 2 ** min(failures, 10)))

    async def _something_wanted(self) -> None:
        while not self._wanted:
            self._changed.clear()
            await self._changed.wait()

    def _lose(self, reason: str) -> None:
        if self._reasons.new(reason):
            log.warning("the feed does not answer", reason=reason)
        self._listener.lost(reason)

    async def _serve(self) -> None:
        """One connection's life: until it breaks, or nothing is wanted any more."""
        self._deaf = False
        connection = connection_for_pubsub(self._redis)
        writer = None
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            self._pending = [("SUBSCRIBE", channel) for channel in sorted(self._wanted)]
            writer = asyncio.create_task(self._write(connection))
            await self._read(connection)
        finally:
            if writer:
                writer.cancel()
            with contextlib.suppress(*FeedErrors):
                await connection.disconnect(nowait=True)

    async def _write(self, connection: AbstractConnection) -> None:
        """Send what `add` and `remove` ask for in their order, so that each gets its own answer; and pings.

        A connection that cannot be written to is found out by the reader.
        """
        with contextlib.suppress(*FeedErrors):
            while True:
                self._changed.clear()
                pending, self._pending = self._pending, []
                for command, channel in pending:
                    await connection.send_command(command, channel, check_health=False)
                if not pending:
                    await connection.send_command("PING", check_health=False)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PING_EVERY_S):
                        await self._changed.wait()

    async def _read(self, connection: AbstractConnection) -> None:
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(
                PATIENCE_S
            ) as silence:  # one for all: a timeout for each message costs more than the message
                extended_at = clock()
                while self._wanted:
                    reply: Any = await connection.read_response(timeout=math.inf, disconnect_on_error=False, push_request=True)
                    self._take(reply)
                    if (now := clock()) - extended_at > EXTEND_S:
                        extended_at = now
                        self._give_up_if_deaf()
                        silence.reschedule(now + PATIENCE_S)
        except TimeoutError:
            raise FeedLostError(f"Redis has not answered for {PATIENCE_S:g} s") from None

    def _give_up_if_deaf(self) -> None:
        deaf, self._deaf = self._deaf, False
        if deaf:
            raise FeedLostError("not all that is published gets here")

    def _take(self, reply: Any) -> None:
        if not isinstance(reply, list):
            return  # +PONG, before the first channel
        if reply[0] == b"message":
            self._listener.received(reply[1].decode(), reply[2])
        elif reply[0] == b"subscribe":
            self._confirm(reply[1].decode())

    def _confirm(self, channel: str) -> None:
        if not self.connected:
            self.connected = True
            self.connections += 1
            self._reasons.over()
        if channel in self._wanted:
            self._listener.subscribed(channel)
