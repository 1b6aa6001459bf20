"""The embedded broker is replaced by an empty one when it grew too large: who looks on does not notice, and every sample counts once."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import websockets

from services.contract.live import SILENCE_MS
from tests.stack import Stack, running

DASHBOARD = """
apiVersion: tideboard.dev/v1alpha1
kind: Dashboard
metadata: {name: numbered}
spec:
  window: 2m
  panels:
    - {id: n, type: stat, query: {metric: numbered, fn: sum, every: 1s}}
"""
REPLACEMENTS = 2
PATIENCE_S = 60.0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Stack]:
    """Everything, over a broker that is soon too large."""
    (tmp_path / "numbered.yaml").write_text(DASHBOARD)
    with running(tmp_path, TIDEBOARD_LOCAL_BROKER_MEMORY_MB="17") as stack:
        yield stack


def second(ms: int) -> int:
    return ms // 1000 * 1000


def post(stack: Stack, body: bytes) -> bool:
    """Whether it was accepted: the ingestor may say that it holds too much, and then it has kept nothing of it."""
    request = urllib.request.Request(stack.url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bool(answer.status == 202)
    except urllib.error.HTTPError as error:
        with error:
            assert error.code == 503, error.read()
        return False


@dataclass
class Producer:
    """Says one thing twenty times a second, until it is told to stop. accepted: by second."""

    stack: Stack
    accepted: Counter[int] = field(default_factory=Counter)
    enough: bool = False

    async def run(self) -> None:
        while not self.enough:
            now = int(time.time() * 1000)
            body = json.dumps({"metric": "numbered", "value": 1, "kind": "delta", "time": now}).encode()
            self.accepted[second(now)] += await asyncio.to_thread(post, self.stack, body)
            await asyncio.sleep(0.05)


@dataclass
class Watcher:
    """What one viewer has on the screen, over one connection; and what it was told to be away."""

    stack: Stack
    cells: dict[int, float] = field(default_factory=dict)
    stale: list[dict[str, object]] = field(default_factory=list)
    begun_anew: int = 0  # a snapshot came in the place of something that was shown
    heard_at: float = 0.0
    silence_s: float = 0.0

    async def run(self) -> None:
        live = f"ws://127.0.0.1:{self.stack.gateway}/api/v1/live"
        async with websockets.connect(live, subprotocols=[websockets.Subprotocol("tideboard.v1.json")]) as socket:
            await socket.send(json.dumps({"type": "subscribe", "dashboard": "numbered"}))
            async for message in socket:
                self.hear(json.loads(message))

    def hear(self, frame: dict[str, Any]) -> None:
        now = time.monotonic()
        self.silence_s = max(self.silence_s, now - (self.heard_at or now))
        self.heard_at = now
        if frame["type"] == "snapshot":
            self.begun_anew += bool(self.cells)
            self.cells = {at: values[0] for view in frame["views"] for at, _, values in view["cells"]}
        elif frame["type"] == "delta":
            self.cells.update((at, values[0]) for view in frame["views"] for at, _, values in view[5])
        elif frame["type"] == "status" and frame["stale"]:
            self.stale.extend(frame["parts"])


async def replaced(stack: Stack, times: int) -> None:
    """Until the broker has been replaced so often."""
    brokers: set[int] = set()
    async with asyncio.timeout(PATIENCE_S):
        while len(brokers) <= times:
            if pid := (await asyncio.to_thread(stack.children))["broker"]["pid"]:
                brokers.add(pid)
            await asyncio.sleep(0.2)


async def shown(watcher: Watcher, accepted: Counter[int]) -> bool:
    """Whether the viewer has, in time, exactly what was accepted."""
    for _ in range(100):
        if watcher.cells == +accepted:
            return True
        await asyncio.sleep(0.1)
    return False


async def test_a_viewer_does_not_notice_that_the_broker_is_replaced(small: Stack) -> None:
    producer, watcher = Producer(small), Watcher(small)
    async with asyncio.TaskGroup() as tasks:
        producing = tasks.create_task(producer.run())
        watching = tasks.create_task(watcher.run())
        await replaced(small, REPLACEMENTS)
        await asyncio.sleep(1)
        producer.enough = True
        await producing
        right = await shown(watcher, producer.accepted)
        watching.cancel()
    print(f"\nthe longest silence was {watcher.silence_s:.2f} s")
    assert right, f"accepted {producer.accepted}, shown {watcher.cells}"
    assert watcher.stale == []
    assert watcher.begun_anew == 0
    assert watcher.silence_s * 1000 < SILENCE_MS, "a client reconnects after that"


async def test_nothing_is_lost_while_nobody_watches(small: Stack) -> None:
    producer, watcher = Producer(small), Watcher(small)
    async with asyncio.TaskGroup() as tasks:
        producing = tasks.create_task(producer.run())
        await replaced(small, REPLACEMENTS)
        producer.enough = True
        await producing
        watching = tasks.create_task(watcher.run())
        right = await shown(watcher, producer.accepted)
        watching.cancel()
    assert right, f"accepted {producer.accepted}, shown {watcher.cells}"
