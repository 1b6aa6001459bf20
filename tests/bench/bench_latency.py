"""From an accepted sample to the frame that shows it, beside the floor of the same run."""

import asyncio
import json
import random
import tempfile
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import websockets
from redis.asyncio import Redis

from services.contract.batch import Batch, encode
from services.contract.history import decode_change
from services.contract.live import SUBPROTOCOL
from services.contract.names import view_channel
from services.transport.feed import connect
from services.transport.log import LogReader
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings, RedisSettings
from tests.bench.report import Table, ms, quantile
from tests.stack import Stack, running

POSTS_PER_S = 50
SAMPLES_PER_POST = 20
WARM_S = 5.0
WINDOW_S = 40.0
TICK_S = 0.1
_NONE = np.zeros(0)
EMPTY = encode(Batch(1, 1, 0, [], _NONE.astype(np.uint8), _NONE.astype(np.uint32), _NONE.astype(np.int64), _NONE))
"""A record that holds nothing: the collector goes on writing to the same log, and the aggregator to read it."""
DASHBOARD = """
apiVersion: tideboard.dev/v1alpha1
kind: Dashboard
metadata: {name: bench}
spec:
  window: 1m
  panels:
    - {id: mark, type: stat, query: {metric: bench_mark, fn: last, every: 1s}}
    - {id: load, type: timeseries, query: {metric: bench_load, by: [series], fn: [avg, max], every: 1s}}
"""


@dataclass
class Marks:
    """When each mark was posted, accepted, published and in a frame; seconds of time.time()."""

    posted: dict[int, float] = field(default_factory=dict)
    accepted: dict[int, float] = field(default_factory=dict)
    published: dict[int, float] = field(default_factory=dict)
    framed: dict[int, float] = field(default_factory=dict)

    def seen(self, where: dict[int, float], mark: int, at: float) -> None:
        """The newest mark is there: so is every one before it."""
        while mark not in where and mark >= 0:
            where[mark] = at
            mark -= 1

    def between(self, a: dict[int, float], b: dict[int, float], since: float) -> list[float]:
        return [b[mark] - a[mark] for mark in a if mark in b and a[mark] >= since]


def measure() -> Table:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bench.yaml").write_text(DASHBOARD)
        with running(Path(folder)) as stack:
            return asyncio.run(_measure(stack))


async def _measure(stack: Stack) -> Table:
    children = stack.children()
    kafka = KafkaSettings(bootstrap_servers=children["broker"]["address"], fetch_wait_ms=50)
    redis = connect(RedisSettings(url=f"redis://{children['valkey']['address']}/0"))
    marks = Marks()
    ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    viewer = asyncio.create_task(_view(stack, marks, ready))
    snapshot = await ready
    listener = asyncio.create_task(_listen(redis, snapshot, marks))
    since = time.time() + WARM_S
    await _produce(stack, marks, WARM_S + WINDOW_S)
    await asyncio.sleep(1)
    viewer.cancel()
    listener.cancel()
    floor = await _floor(kafka, redis)
    await redis.aclose()
    stages = {
        "accepted → frame on the viewer's socket": marks.between(marks.accepted, marks.framed, since),
        "posted → accepted (HTTP, validation, acks=all)": marks.between(marks.posted, marks.accepted, since),
        "accepted → published (fetch, fold, commit, merge, commit)": marks.between(marks.accepted, marks.published, since),
        "published → frame (gateway's tick, socket)": marks.between(marks.published, marks.framed, since),
        "floor: produce → fetch → PUBLISH → receive → tick": floor,
    }
    rows = [[name, f"{len(found)}", ms(quantile(found, 0.5)), ms(quantile(found, 0.99))] for name, found in stages.items()]
    whole, least = next(iter(stages.values())), floor
    ratios = [f"{quantile(whole, q) / quantile(least, q):.2f}" for q in (0.5, 0.99)]
    rows.append(["**accepted → frame / floor**", "", *ratios])
    text = (
        f"{POSTS_PER_S * SAMPLES_PER_POST} samples a second in {POSTS_PER_S} posts, everything of `make run` on the embedded servers, one viewer at 10 Hz,"
        f" {WINDOW_S:.0f} s. Each post carries one numbered sample; a frame that shows number n shows all before it. Accepted: the 202 was received."
        " Floor: the same log and feed with nothing of ours between them, and a wait for the next tick of 10 Hz."
    )
    return Table("Accepted sample to frame", text, ["stage", "samples", "p50", "p99"], rows)


async def _produce(stack: Stack, marks: Marks, seconds: float) -> None:
    """Post at an even pace over one connection, each post when it is due, answers awaited in order."""
    address = urllib.parse.urlsplit(stack.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    chance = random.Random(1)
    began = time.monotonic()
    for number in range(int(seconds * POSTS_PER_S)):
        await asyncio.sleep(max(0.0, began + number / POSTS_PER_S - time.monotonic()))
        load = [
            {"metric": "bench_load", "labels": {"series": str(i)}, "value": chance.random()}
            for i in range(SAMPLES_PER_POST - 1)
        ]
        body = json.dumps([{"metric": "bench_mark", "value": number}, *load]).encode()
        head = f"POST {address.path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        marks.posted[number] = time.time()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        marks.accepted[number] = time.time()
        assert answer.startswith(b"HTTP/1.1 202"), answer
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()


async def _view(stack: Stack, marks: Marks, ready: "asyncio.Future[dict[str, Any]]") -> None:
    url = f"ws://127.0.0.1:{stack.gateway}/api/v1/live"
    async with websockets.connect(url, subprotocols=[cast("Any", SUBPROTOCOL)], compression=None) as socket:
        await socket.send(json.dumps({"type": "subscribe", "dashboard": "bench"}))
        view = 0
        async for text in socket:
            at = time.time()
            frame = json.loads(text)
            if frame["type"] == "snapshot":
                view = frame["panels"][0]["lines"][0]["view"]
                if not ready.done():
                    ready.set_result(frame)
            elif frame["type"] == "delta":
                for changed in frame["views"]:
                    if changed[0] == view and changed[5]:
                        marks.seen(marks.framed, int(max(value for cells in changed[5] for value in cells[2])), at)


async def _listen(redis: Redis, snapshot: dict[str, Any], marks: Marks) -> None:
    view = snapshot["views"][snapshot["panels"][0]["lines"][0]["view"]]["id"]
    subscription = redis.pubsub()
    await subscription.subscribe(view_channel(view))
    async for message in subscription.listen():
        if message["type"] == "message":
            change = decode_change(message["data"])
            for cells in change.cells:
                marks.seen(marks.published, int(max(value or 0 for value in cells.values)), time.time())


async def _floor(kafka: KafkaSettings, redis: Redis) -> list[float]:
    """One record at a time through the same broker and the same Valkey, and to the next tick."""
    writer, reader = LogWriter(kafka), LogReader(kafka)
    await writer.start()
    start = await writer.append(0, EMPTY)
    reader.assign({0: start + 1})
    received: asyncio.Queue[float] = asyncio.Queue()
    forward = asyncio.create_task(_forward(reader, redis))
    listen = asyncio.create_task(_receive(redis, received))
    await asyncio.sleep(0.5)
    chance, found = random.Random(2), []
    for _ in range(400):
        began = time.time()
        await writer.append(0, EMPTY)
        accepted = time.time()
        at = await received.get()
        tick = TICK_S - (at + chance.random() * TICK_S) % TICK_S
        found.append(at - accepted + tick)
        await asyncio.sleep(max(0.0, chance.random() * 0.04 - (time.time() - began)))
    forward.cancel()
    listen.cancel()
    await asyncio.gather(forward, listen, return_exceptions=True)
    await reader.stop()
    await writer.stop()
    return found


async def _forward(reader: LogReader, redis: Redis) -> None:
    while True:
        for record in await reader.poll(1_000):
            if record.value == EMPTY:
                await redis.publish("bench", b"bench")


async def _receive(redis: Redis, received: "asyncio.Queue[float]") -> None:
    subscription = redis.pubsub()
    await subscription.subscribe("bench")
    async for message in subscription.listen():
        if message["type"] == "message":
            received.put_nowait(time.time())
