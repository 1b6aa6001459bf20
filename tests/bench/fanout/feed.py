"""What a gateway shows: dashboards in the registry of a real Valkey, and commits of all their views ten times a second."""

import asyncio
import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import websockets
from redis.asyncio import Redis
from websockets.typing import Subprotocol

from services.contract.dashboards import parse
from services.contract.history import VERSION, Cells, Change, NewGroup, ViewCommit, pack_rows
from services.contract.registry import Entry
from services.contract.views import retentions
from services.transport import feed
from services.transport.history import commit_all
from services.transport.registry import write_entry
from services.transport.settings import RedisSettings
from tests.bench.fanout.access import SUBPROTOCOLS
from tests.pipeline.gateway_world import beating, now_ms

HZ: Final = 10
SERIES: Final = 4
PANELS: Final = {"small": 6, "wall": 64}
"""Of each dashboard. A delta of small has about 1 KiB, one of wall 10 KB."""
PATH: Final = "/api/v1/live"


def subscribe(dashboard: str, hz: int = HZ) -> str:
    return json.dumps({"type": "subscribe", "dashboard": dashboard, "hz": hz})


class _View:
    """One view that walks at random."""

    def __init__(self, view: str, chance: random.Random) -> None:
        self.view = view
        self._chance = chance
        self._values = np.full(SERIES, 50.0)
        self._versions = np.zeros(SERIES, np.int64)
        self._numbers = np.arange(SERIES, dtype=np.uint32)
        self._held = ("", 0)

    def step(self, now: int) -> ViewCommit:
        version = max(self._held[1] + 1, now * 1_000)
        new = [] if self._held[0] else [NewGroup(number, {"line": str(number)}) for number in range(SERIES)]
        self._values = self._values + [self._chance.gauss(0, 1) for _ in range(SERIES)]
        self._versions[:] = version
        start = now // 1_000 * 1_000
        cells = [Cells(start, list(range(SERIES)), self._values.tolist())]
        change = Change(VERSION, "e", self._held[1], version, start, now, now, new, cells)
        blob = pack_rows(self._numbers, self._versions, self._values)
        commit = ViewCommit(self.view, self._held, 1_000, change, {start: blob}, [start - 400_000], {"l:0": version})
        self._held = ("e", version)
        return commit


class Feed:
    """showing: the dashboard that changes, empty: none does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.showing = ""
        self._over = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Feed":
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        redis = feed.connect(RedisSettings(self._url))
        chance = random.Random(1)
        documents = {name: document(name, panels) for name, panels in PANELS.items()}
        views = {name: [_View(view.id, chance) for view in retentions(parse(found))] for name, found in documents.items()}
        await write_entry(redis, *(Entry(1, name, "r1", found, "bench") for name, found in documents.items()))
        async with beating(redis, "bench"):
            for held in views.values():
                await commit_all(redis, [view.step(now_ms()) for view in held])
            self._ready.set()
            due = time.monotonic()
            while not self._over.is_set():
                due = max(due + 1 / HZ, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
                await self._commit(redis, views.get(self.showing, ()))
        await redis.aclose()

    async def _commit(self, redis: Redis, views: Sequence[_View]) -> None:
        if views:
            now = now_ms()
            assert all(await commit_all(redis, [view.step(now) for view in views])), "nobody else writes"


@contextlib.contextmanager
def showing(changes: Feed, dashboard: str) -> Iterator[None]:
    """One dashboard changes during the block."""
    changes.showing = dashboard
    try:
        yield
    finally:
        changes.showing = ""


def document(name: str, panels: int) -> dict[str, Any]:
    query = {"by": ["line"], "fn": "avg", "every": "1s"}
    walks = [{"id": f"p{n}", "type": "timeseries", "query": {"metric": f"{name}_{n}", **query}} for n in range(panels)]
    return {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": name},
        "spec": {"window": "5m", "panels": walks},
    }  # fmt: skip


def record(port: int, dashboard: str, file: Path) -> int:
    """Keep a delta of a dashboard as it goes out, the middle one of ten by size; its bytes."""
    deltas = asyncio.run(_hear(port, dashboard, 10))
    payload = sorted(deltas, key=len)[len(deltas) // 2]
    file.write_bytes(payload)
    return len(payload)


async def _hear(port: int, dashboard: str, count: int) -> list[bytes]:
    found: list[bytes] = []
    url = f"ws://127.0.0.1:{port}{PATH}"
    async with websockets.connect(url, subprotocols=[*map(Subprotocol, SUBPROTOCOLS)], max_size=None) as socket:
        await socket.send(subscribe(dashboard))
        while len(found) < count:
            message = await asyncio.wait_for(socket.recv(decode=False), 10)
            if message.startswith(b'{"type":"delta"') and len(message) > 200:
                found.append(message)
    return found
