"""A gateway in this process over a real Valkey, histories written by hand, and an independent WebSocket client."""

import asyncio
import contextlib
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from services.contract.dashboards import parse
from services.contract.history import VERSION, Cells, Change, NewGroup, ViewCommit, pack_rows
from services.contract.names import AGGREGATOR_BEATS, view_key
from services.contract.registry import Entry, Fault
from services.contract.terms import STEP, Terms, begun, free_tag, next_version
from services.contract.views import retentions
from services.gateway.service import Gateway
from services.gateway.settings import GatewaySettings
from services.transport import feed
from services.transport.history import commit_all, read_view
from services.transport.settings import RedisSettings

PATIENCE_S = 30.0
LIVE = "tideboard.v1.json"

Labels = tuple[tuple[str, str], ...]
Message = dict[str, Any]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def document(name: str, *panels: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tideboard.dev/v1alpha1",
        "kind": "Dashboard",
        "metadata": {"name": name},
        "spec": {"title": name.title(), "window": "1m", "panels": list(panels), **spec},
    }


def panel(name: str, metric: str, **more: Any) -> dict[str, Any]:
    query = {"metric": metric, "by": ["cpu"], "fn": "avg", "every": "1s"} | more.pop("query", {})
    return {"id": name, "type": "timeseries", "query": query, **more}


def entry(document: dict[str, Any] | None, revision: str = "r1", fault: Fault | None = None, name: str = "") -> Entry:
    return Entry(1, name or (document or {})["metadata"]["name"], revision, document, "test", fault)


def view_ids(document: dict[str, Any]) -> list[str]:
    return [view.id for view in retentions(parse(document))]


class Pen:
    """Writes one view's history as a merge does, and remembers what it wrote: the truth that viewers are compared with."""

    def __init__(self, redis: Redis, view: str, every_ms: int = 1_000) -> None:
        self.redis = redis
        self.view = view
        self.every_ms = every_ms
        self.begin("e1")

    def begin(self, epoch: str, version: int = 0) -> None:
        """Another epoch: as if the history had been lost."""
        self.epoch, self.version, self.held = epoch, version, ("", 0)
        self.terms: Terms = ()
        self.term = 0  # version with which ours began, 0: it has not
        self.numbers: dict[Labels, int] = {}
        self.cells: dict[tuple[int, int], tuple[float, int]] = {}  # (bucket, group) -> value, version

    async def take_over(self) -> None:
        """Go on from what lies there, as another merge."""
        found = await read_view(self.redis, self.view)
        assert found is not None
        self.epoch, self.version, self.held = found.epoch, found.version, (found.epoch, found.version)
        self.terms, self.term = found.terms, 0
        self.numbers = {tuple(labels.items()): number for number, labels in found.groups.items()}
        self.cells = {
            (start, group): (value, version) for start, rows in found.rows.items() for group, version, value in rows.tolist()
        }

    async def write(
        self,
        values: Mapping[tuple[int, str], float],
        closed: int = 0,
        *,
        publish: bool = True,
        ingest_ms: int = 0,
        sampled_ms: int = 0,
    ) -> Change:
        """One commit. values: (bucket start, value of label cpu) -> value. sampled_ms: time of the newest sample, 0: an older version wrote it."""
        change = msgspec.structs.replace(self._change(values, closed, ingest_ms), sampled=sampled_ms)
        if publish:
            blobs = {start: self._blob(start) for start in {start for start, _ in values}}
            terms = None if self.term else begun(self.terms, change.prev, change.first)
            step = ViewCommit(self.view, self.held, self.every_ms, change, blobs, [], {"l:0": self.version}, terms=terms)
            assert await commit_all(self.redis, [step]) == [True]
            self.terms, self.term = self.terms if terms is None else terms, change.first
        else:
            await self._write_silently(change, values)
        self.held = (self.epoch, self.version)
        return change

    def _change(self, values: Mapping[tuple[int, str], float], closed: int, ingest_ms: int) -> Change:
        tag = self.term % STEP or free_tag(self.terms, 0)
        prev, self.version = self.version, next_version(self.version, now_ms(), tag)
        new: list[NewGroup] = []
        cells: dict[int, dict[int, float]] = {}
        for (start, cpu), value in sorted(values.items()):
            labels = (("cpu", cpu),)
            if labels not in self.numbers:
                self.numbers[labels] = len(self.numbers)
                new.append(NewGroup(self.numbers[labels], dict(labels)))
            group = self.numbers[labels]
            cells.setdefault(start, {})[group] = value
            self.cells[start, group] = value, self.version
        columns = [Cells(start, list(row), list(row.values())) for start, row in sorted(cells.items())]
        at = now_ms()
        first = self.term or self.version
        return Change(VERSION, self.epoch, prev, self.version, closed, at, ingest_ms or at, new, columns, first=first)

    def _blob(self, start: int) -> bytes:
        rows = sorted((group, version, value) for (bucket, group), (value, version) in self.cells.items() if bucket == start)
        groups, versions, row_values = zip(*rows, strict=True)
        return pack_rows(np.array(groups, np.uint32), np.array(versions, np.int64), np.array(row_values, np.float64))

    async def _write_silently(self, change: Change, values: Mapping[tuple[int, str], float]) -> None:
        """As `commit_all`, but the message is lost on its way."""
        meta, rows, groups, buckets, versions = (
            view_key(self.view, part) for part in ("meta", "rows", "groups", "buckets", "versions")
        )
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(meta, mapping={"version": change.version, "closed": change.closed, "newest": change.newest})
            for start in {start for start, _ in values}:
                pipe.hset(rows, str(start), self._blob(start))
                pipe.zadd(buckets, {str(start): start})
                pipe.zadd(versions, {str(start): change.version})
            for group in change.groups:
                pipe.hset(groups, str(group.number), json.dumps(group.labels))
            await pipe.execute()

    def truth(self, since_ms: int = 0) -> dict[int, dict[int, float]]:
        """bucket -> group -> value."""
        table: dict[int, dict[int, float]] = {}
        for (start, group), (value, _) in self.cells.items():
            if start >= since_ms:
                table.setdefault(start, {})[group] = value
        return table


class Screen:
    """A client that keeps the rules of docs/protocol.md and nothing else: what it holds is what a browser would show."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[Message] = []
        self.frames: list[str] = []
        self.epoch = ""
        self.snapshot: Message = {}
        self.versions: dict[str, int] = {}
        self.groups: dict[str, dict[int, dict[str, str]]] = {}
        self.cells: dict[str, dict[int, dict[int, float | None]]] = {}
        self.closed: dict[str, int] = {}

    async def say(self, message: Message) -> None:
        await self.socket.send(json.dumps(message))

    async def subscribe(self, dashboard: str, since: Message | None = None) -> None:
        await self.say({"type": "subscribe", "dashboard": dashboard, "hz": 10, "since": since})

    @property
    def since(self) -> Message:
        return {"epoch": self.epoch, "versions": dict(self.versions)}

    async def hear(self) -> Message:
        """The next message, applied."""
        frame = await asyncio.wait_for(self.socket.recv(), PATIENCE_S)
        assert isinstance(frame, str)
        message: Message = json.loads(frame)
        self.frames.append(frame)
        self.messages.append(message)
        if message["type"] == "snapshot":
            self._begin(message)
        elif message["type"] == "delta" and message["epoch"] == self.epoch:
            self._apply(message)
        return message

    async def until(self, condition: Callable[[], bool]) -> None:
        """Hear until it holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"never came true; last heard {self.messages[-3:]}"
            await self.hear()

    async def hear_a(self, kind: str, **fields: Any) -> Message:
        """The next message of a type, with these fields."""
        for _ in range(1_000):
            message = await self.hear()
            if message["type"] == kind and all(message[name] == value for name, value in fields.items()):
                return message
        raise AssertionError(f"no {kind} with {fields}")

    def table(self, view: str) -> dict[int, dict[int, float | None]]:
        return self.cells.get(view, {})

    def _begin(self, message: Message) -> None:
        self.snapshot, self.epoch, self.versions = message, message["epoch"], dict(message["versions"])
        self.groups, self.cells, self.closed = {}, {}, {}
        for view in message["views"]:
            self._take(view["id"], view["closed"], view["groups"], view["cells"])

    def _apply(self, message: Message) -> None:
        for place, from_, to, closed, groups, cells in message["views"]:
            view = self.snapshot["views"][place]["id"]
            assert from_ <= self.versions.get(view, 0), f"a hole: from {from_}, held {self.versions}"
            self._take(view, closed, groups, cells)
            self.versions[view] = to

    def _take(self, view: str, closed: int, groups: list[Any], cells: list[Any]) -> None:
        self.closed[view] = closed
        held = self.groups.setdefault(view, {})
        for number, labels in groups:
            assert held.setdefault(number, labels) == labels
        table = self.cells.setdefault(view, {})
        for start, numbers, values in cells:
            assert set(numbers) <= set(held), "a cell of a group whose labels were not sent"
            table.setdefault(start, {}).update(zip(numbers, values, strict=True))


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    for _ in range(round(PATIENCE_S / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("never came true")


@contextlib.asynccontextmanager
async def serving(url: str, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway on a free port."""
    gateway = Gateway(GatewaySettings(port=0, **settings), RedisSettings(url))
    await gateway.start()
    running = asyncio.create_task(gateway.run())
    try:
        yield gateway
    finally:
        running.cancel()
        await asyncio.wait([running])
        await gateway.stop()


@contextlib.asynccontextmanager
async def viewing(
    port: int, dashboard: str = "", since: Message | None = None, *, screen: Screen | None = None
) -> AsyncIterator[Screen]:
    """A client, subscribed to a dashboard when one is named. screen: what it showed before, when it comes back."""
    url = f"ws://127.0.0.1:{port}/api/v1/live"
    async with connect(url, subprotocols=[Subprotocol(LIVE)], compression=None, max_size=None) as socket:
        found = screen or Screen(socket)
        found.socket = socket
        if dashboard:
            await found.subscribe(dashboard, since)
        yield found


@contextlib.asynccontextmanager
async def plotting(port: int, query: str) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{port}/api/v1/plotly?{query}", compression=None) as socket:
        yield socket


@contextlib.asynccontextmanager
async def desk(url: str) -> AsyncIterator[Redis]:
    """An empty Redis with a living aggregator's beat."""
    redis = feed.connect(RedisSettings(url))
    await redis.flushall()
    async with beating(redis, "test"):
        yield redis
    await redis.aclose()


@contextlib.asynccontextmanager
async def beating(redis: Redis, instance: str, log_since: int | None = 1, log_error: str = "") -> AsyncIterator[None]:
    """An aggregator that gives signs of life, and goes away for good at the end."""

    async def beat() -> None:
        while True:
            with contextlib.suppress(*feed.FeedErrors):
                said = {"at": now_ms(), "log_since": log_since, "log_error": log_error, "lag": 0, "partitions": [0]}
                await redis.hset(AGGREGATOR_BEATS, instance, json.dumps(said))
            await asyncio.sleep(0.5)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        with contextlib.suppress(*feed.FeedErrors):
            await redis.hdel(AGGREGATOR_BEATS, instance)


async def request(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; the path goes out as it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}, body


def metrics_at(admin: int) -> dict[tuple[str, tuple[str, ...]], float]:
    """What the admin server of a gateway says: (name, values of its labels) -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name.removeprefix("tideboard_gateway_"), tuple(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }


WALL_PAGES = {
    "index.html": "<!doctype html><title>wall</title>" + " " * 600,
    "plotly.html": "<!doctype html><title>plotly</title>",
    "assets/app-1234.js": "console.log('wall');" * 100,
    "favicon.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}


def build_wall(folder: Path) -> Path:
    """A folder as the front end's build leaves it."""
    for name, text in WALL_PAGES.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder
