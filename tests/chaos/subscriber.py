"""The subscribers of a run: connections of their own to the feed, on which every message of every view is heard, judged and followed."""

import asyncio
import contextlib
import random
import time
from typing import Any, Final

import hiredis
from redis.asyncio import Redis

from services.contract.history import Change, decode_change
from services.contract.names import WATCHED, WATCHED_CHANNEL, view_channel
from services.transport.feed import FeedErrors
from services.transport.history import read_view
from tests.chaos.follower import Follower, Judge
from tests.chaos.proxy import HOST

PING_S: Final = 0.5
SILENT_S: Final = 1.5
RETRY_S: Final = 0.1
LONGEST_RETRY_S: Final = 1.5
"""Of a subscriber that comes back when everybody else has gone on."""


class Subscriber:
    """Follows views. careless: the share of messages that it loses itself, and must make up for."""

    def __init__(self, redis: Redis, port: int, chance: random.Random, careless: float) -> None:
        self.followers: dict[str, Follower] = {}
        self.judges: dict[str, Judge] = {}
        self.gaps = 0
        self.returns = 0
        self._redis = redis
        self._port = port
        self._chance = chance
        self.careless = careless
        self._channels: dict[bytes, str] = {}
        self._writer: asyncio.StreamWriter | None = None

    def follow(self, *views: str) -> None:
        """Follow these too."""
        for view in views:
            if view not in self.followers:
                self.followers[view], self.judges[view] = Follower(), Judge(view)
                channel = view_channel(view).encode()
                self._channels[channel] = view
                if self._writer is not None:
                    self._writer.write(_subscribe(channel))

    @property
    def faults(self) -> list[str]:
        return [fault for judge in self.judges.values() for fault in judge.faults]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, hiredis.ProtocolError, hiredis.ReplyError):
                await self._serve()
            self._writer = None
            self.returns += 1
            for judge in self.judges.values():
                judge.connected()
            await asyncio.sleep(self._chance.choice((RETRY_S, LONGEST_RETRY_S)) if self.careless else RETRY_S)

    async def _serve(self) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        pinging: asyncio.Task[None] | None = None
        try:
            replies = hiredis.Reader()
            for channel in self._channels:
                writer.write(_subscribe(channel))
            self._writer = writer
            pinging = asyncio.create_task(_ping(writer))
            while True:
                async with asyncio.timeout(SILENT_S):
                    data = await reader.read(1 << 16)
                if not data:
                    return
                replies.feed(data)
                while (reply := replies.gets()) is not False:
                    await self._take(reply)
        finally:
            if pinging is not None:
                pinging.cancel()
            writer.transport.abort()

    async def _take(self, reply: Any) -> None:
        if not isinstance(reply, list) or reply[0] not in (b"message", b"subscribe"):
            return
        view = self._channels[reply[1]]
        if reply[0] == b"subscribe":
            await self._read(view, self.followers[view].after)
        else:
            await self._hear(view, decode_change(reply[2]))

    async def _hear(self, view: str, change: Change) -> None:
        self.judges[view].hear(change)
        if self.careless and self._chance.random() < self.careless:
            return
        follower = self.followers[view]
        match follower.take(change):
            case "gap":
                self.gaps += 1
                await self._read(view, follower.after)
            case "epoch" | "forked":
                await self._read(view, -1)

    async def _read(self, view: str, after: int) -> None:
        """Read the history; as long as it takes, for messages wait meanwhile."""
        follower = self.followers[view]
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                history = await read_view(self._redis, view, after)
            except FeedErrors:
                await asyncio.sleep(RETRY_S)
                continue
            if follower.read(history, after):
                return
            after = -1


def _subscribe(channel: bytes) -> bytes:
    return b"*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n" % (len(channel), channel)


async def _ping(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"*1\r\n$4\r\nPING\r\n")
        await asyncio.sleep(PING_S)


async def watch(redis: Redis, views: dict[str, Any], chance: random.Random) -> None:
    """Be a gateway whose viewers come and go: the pace of commits changes with them."""
    while True:
        if chance.random() < 0.8:
            with contextlib.suppress(*FeedErrors):
                until = int(time.time() * 1000) + 3_000
                await redis.zadd(WATCHED, dict.fromkeys(views, until))
                await redis.publish(WATCHED_CHANNEL, " ".join(views))
            await asyncio.sleep(1.0)
        else:
            await asyncio.sleep(chance.uniform(1, 4))
