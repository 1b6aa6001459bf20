"""Valkey for the harness: a primary and a replica, killed, promoted and emptied while services reach them through one proxy."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from services.local.embedded import tethered, valkey_binary
from tests.chaos.proxy import Proxy
from tests.servers import Server, pong

PATIENCE_S: Final = 20.0


async def answering(server: Server, patience_s: float = PATIENCE_S) -> None:
    """Wait until a server that was launched answers."""
    until = time.monotonic() + patience_s
    while not await asyncio.to_thread(server._answers, server.port):
        assert server._process is not None, f"{server.name} was not launched"
        assert server._process.poll() is None, f"{server.name} ended with {server._process.returncode}"
        assert time.monotonic() < until, f"{server.name} does not answer on port {server.port}"
        await asyncio.sleep(0.02)


class Node(Server):
    """One Valkey with an append-only file in a folder of its own. source: the port that it replicates, None of a primary."""

    def __init__(self, folder: Path, source: int | None) -> None:
        super().__init__("valkey", self._line, pong)
        self._folder = folder
        self.source = source

    def forget(self) -> None:
        """Lose the data; only while it does not run."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def launch(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        super().launch()

    def _line(self, port: int, parent: int) -> tuple[str, ...]:
        options = [
            "--bind", "127.0.0.1", "--port", str(port), "--dir", str(self._folder), "--save", "", "--appendonly", "yes",
            "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--loglevel", "warning",
            "--repl-diskless-sync-delay", "0", "--auto-aof-rewrite-percentage", "0",
        ]  # fmt: skip
        if self.source is not None:
            options += ["--replicaof", "127.0.0.1", str(self.source)]
        return tethered(parent, valkey_binary(), *options)


class Feed:
    """The primary behind `door`, which services and subscribers use, and its replica behind `link`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self.lost_bytes = 0
        self.door = Proxy()
        self.link = Proxy()
        self.primary = self._node(None)
        self.replica = self._node(self.link.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.door.port}/0"

    async def start(self) -> None:
        await self.door.start()
        await self.link.start()
        self.primary.launch()
        await answering(self.primary)
        self.door.upstream = self.link.upstream = self.primary.port
        self.replica.launch()

    async def stop(self) -> None:
        await self.door.stop()
        await self.link.stop()
        for node in (self.primary, self.replica):
            if node._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(node.pid, signal.SIGCONT)
            node.kill()

    def client(self, node: Node | None = None) -> Redis:
        """Past the proxy."""
        return Redis.from_url(f"redis://127.0.0.1:{(node or self.primary).port}/0", protocol=2)

    async def kill(self, away_s: float, *, keep: bool) -> None:
        """SIGKILL, and back on the same port; with the data that the append-only file has, or empty."""
        self.primary.kill()
        if not keep:
            self.primary.forget()
        await asyncio.sleep(away_s)
        self.primary.launch()
        await answering(self.primary)

    async def flush(self) -> None:
        redis = self.client()
        try:
            await redis.flushall()
        finally:
            await redis.aclose()

    async def fail_over(self, behind_s: float, away_s: float) -> int:
        """Let the replica fall behind, kill the primary, promote the replica. How many bytes of the stream of changes were lost."""
        await self._synced()
        self.link.freeze()  # the kernel would keep for a stopped process what the primary sends
        os.kill(self.replica.pid, signal.SIGSTOP)
        await asyncio.sleep(behind_s)
        had = (await self._replication(self.primary))["master_repl_offset"]
        self.primary.kill()
        await asyncio.gather(self.door.cut(), self.link.cut())
        self.door.upstream = self.link.upstream = None
        await asyncio.sleep(away_s)
        os.kill(self.replica.pid, signal.SIGCONT)
        redis = self.client(self.replica)
        try:
            await redis.replicaof("NO", "ONE")
        finally:
            await redis.aclose()
        lost = max(0, int(had) - int((await self._replication(self.replica))["master_repl_offset"]))
        self.replica.source = None
        self.primary, self.replica = self.replica, self._node(self.link.port)
        self.door.upstream = self.link.upstream = self.primary.port
        self.link.thaw()
        self.replica.launch()
        self.lost_bytes += lost
        return lost

    async def _synced(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(Exception):
                if (await self._replication(self.replica))["master_link_status"] == "up":
                    return
            assert time.monotonic() < until, "the replica does not follow its primary"
            await asyncio.sleep(0.05)

    async def _replication(self, node: Node) -> Any:
        redis = self.client(node)
        try:
            return await redis.info("replication")
        finally:
            await redis.aclose()

    def _node(self, source: int | None) -> Node:
        self._made += 1
        return Node(self._folder / f"valkey-{self._made}", source)
