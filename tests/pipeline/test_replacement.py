"""The embedded broker is replaced by an empty one when it grew too large: who looks on does not notice, and every sample counts once."""

import asyncio
import json
import time
import urllib.request
from collections import Counter
from pathlib import Path

import websockets

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


def second(ms: int) -> int:
    return ms // 1000 * 1000


def post(stack: Stack, body: bytes) -> None:
    """Until it is accepted: the ingestor may say that it holds too much."""
    request = urllib.request.Request(stack.url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 202


async def produce(stack: Stack, accepted: Counter[int]) -> None:
    while True:
        now = int(time.time() * 1000)
        body = json.dumps({"metric": "numbered", "value": 1, "kind": "delta", "time": now}).encode()
        await asyncio.to_thread(post, stack, body)
        accepted[second(now)] += 1
        await asyncio.sleep(0.05)


async def view(stack: Stack, cells: dict[int, float], stale: list[dict[str, object]]) -> None:
    """What one viewer has on the screen, over one connection; and what it was told to be away."""
    live = f"ws://127.0.0.1:{stack.gateway}/api/v1/live"
    async with websockets.connect(live, subprotocols=[websockets.Subprotocol("tideboard.v1.json")]) as socket:
        await socket.send(json.dumps({"type": "subscribe", "dashboard": "numbered"}))
        async for message in socket:
            frame = json.loads(message)
            if frame["type"] == "snapshot":
                cells.update((at, values[0]) for view in frame["views"] for at, _, values in view["cells"])
            elif frame["type"] == "delta":
                cells.update((at, values[0]) for view in frame["views"] for at, _, values in view[5])
            elif frame["type"] == "status" and frame["stale"]:
                stale.extend(frame["parts"])


async def replaced(stack: Stack, times: int) -> None:
    brokers: set[int] = set()
    async with asyncio.timeout(PATIENCE_S):
        while len(brokers) <= times:
            brokers.add((await asyncio.to_thread(stack.children))["broker"]["pid"])
            await asyncio.sleep(0.2)


async def shown(cells: dict[int, float], accepted: Counter[int]) -> bool:
    """Whether the viewer has, in time, exactly what was accepted."""
    for _ in range(100):
        if cells == accepted:
            return True
        await asyncio.sleep(0.1)
    return False


async def test_a_viewer_does_not_notice_that_the_broker_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "numbered.yaml").write_text(DASHBOARD)
    accepted: Counter[int] = Counter()
    cells: dict[int, float] = {}
    stale: list[dict[str, object]] = []
    with running(tmp_path, TIDEBOARD_LOCAL_BROKER_MEMORY_MB="17") as stack:
        async with asyncio.TaskGroup() as tasks:
            producer = tasks.create_task(produce(stack, accepted))
            viewer = tasks.create_task(view(stack, cells, stale))
            await replaced(stack, REPLACEMENTS)
            await asyncio.sleep(1)
            producer.cancel()
            right = await shown(cells, accepted)
            viewer.cancel()
    assert right, f"accepted {accepted}, shown {cells}"
    assert stale == []
