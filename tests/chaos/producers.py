"""The producers of a run: HTTP clients of the ingestor, and a writer of records that says things twice and says things that nobody can read."""

import asyncio
import contextlib
import json
import random
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from services.contract.batch import Batch, encode
from services.contract.series import Kind, partition_of, series_key
from services.transport.log_wire import LogError
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings
from tests.chaos.points import UNIQUE, Points, Sample

TRIES: Final = 4
POST_S: Final = 15.0


@dataclass
class Said:
    """What producers did. accepted: serial numbers that were answered 202."""

    samples: int = 0
    posts: int = 0
    refused_posts: int = 0
    bad: int = 0
    duplicates: int = 0
    poison: int = 0
    tombstones: int = 0
    accepted: set[int] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


class Pause:
    """While it is closed producers say nothing. `close` returns when nothing is under way."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = 0
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the run is over for producers."""
        return self._ended

    def open(self) -> None:
        self._open.set()

    def end(self) -> None:
        self._ended = True
        self._open.set()

    async def close(self, patience_s: float) -> bool:
        """Whether nothing is under way any more."""
        self._open.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._idle.wait()
        return self._idle.is_set()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        await self._open.wait()
        self._busy += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()


async def post_on(points: Points, port: int, pause: Pause, said: Said, per_second: float, size: int) -> None:
    """Post until the run ends. A body that was not answered 2xx is posted again, as clients do."""
    url = f"http://127.0.0.1:{port}/api/v1/samples"
    while not pause.ended:
        async with pause.turn():
            body, good = points.body(int(time.time() * 1000), points.chance.randrange(1, 2 * size))
            for _ in range(TRIES):
                if await asyncio.to_thread(_post, url, body, good, said) or pause.ended:
                    break
                await asyncio.sleep(0.2)
        await asyncio.sleep(points.chance.expovariate(per_second))


def _post(url: str, body: Sequence[Sample], good: int, said: Said) -> bool:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=POST_S) as answer:
            content = json.load(answer)
    except (OSError, ValueError):
        said.refused_posts += 1
        return False
    if (content["accepted"], content["rejected"]) != (good, len(body) - good):
        said.faults.append(f"of {good} good samples and {len(body) - good} bad ones the ingestor says {content}")
    said.posts += 1
    said.samples += good
    said.bad += len(body) - good
    said.accepted.update(int(item["value"]) for item in body if item.get("metric") == UNIQUE)
    return True


class Writer:
    """Writes records itself. What is not acknowledged is written again in order, as an ingestor does."""

    def __init__(self, points: Points, kafka: KafkaSettings, pause: Pause, said: Said) -> None:
        self._points = points
        self._chance: random.Random = points.chance
        self._kafka = kafka
        self._pause = pause
        self._said = said
        self._instance = points.chance.getrandbits(60)
        self._sequences: dict[int, int] = {}
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._written: list[tuple[int, bytes]] = []

    async def run(self, per_second: float, size: int) -> None:
        """Write until the run ends."""
        writer: LogWriter | None = None
        while not self._pause.ended:
            async with self._pause.turn():
                try:
                    writer = writer or await self._connect()
                    self._say(writer.partitions, self._chance.randrange(1, 2 * size))
                    await self._flush(writer)
                except LogError:
                    if writer is not None:
                        await writer.abandon()
                        writer = None
                    await asyncio.sleep(0.1)
            await asyncio.sleep(self._chance.expovariate(per_second))
        if writer is not None:
            await writer.abandon()

    async def _connect(self) -> LogWriter:
        writer = LogWriter(self._kafka)
        await writer.start()
        return writer

    def _say(self, partitions: int, n: int) -> None:
        if len(self._waiting) > 500:
            return
        by_partition: dict[int, list[Sample]] = {}
        for sample in self._points.some(int(time.time() * 1000), n):
            key = series_key(sample["metric"], sample["labels"])
            by_partition.setdefault(partition_of(key, partitions), []).append(sample)
        for partition, mine in by_partition.items():
            if self._chance.random() < 0.02:
                self._waiting.append((partition, self._poison(mine)))
                self._said.poison += 1
            record = partition, self._record(partition, mine)
            self._written.append(record)
            self._waiting.append(record)
            self._said.samples += len(mine)
            if self._chance.random() < 0.15:  # again, or one from long ago
                again = record if self._chance.random() < 0.7 else self._chance.choice(self._written[-200:])
                self._waiting.append(again)
                self._said.duplicates += 1

    async def _flush(self, writer: LogWriter) -> None:
        futures = [writer.append(*record) for record in self._waiting]
        done = await asyncio.gather(*futures, return_exceptions=True)
        for _ in range(next((i for i, item in enumerate(done) if isinstance(item, BaseException)), len(done))):
            self._waiting.popleft()
        for item in done:
            if isinstance(item, BaseException):
                raise item

    def _record(self, partition: int, mine: Sequence[Sample]) -> bytes:
        keys: dict[tuple[bytes, int], int] = {}
        series = [keys.setdefault((series_key(s["metric"], s["labels"]), int(Kind[s["kind"]])), len(keys)) for s in mine]
        sequence = self._sequences[partition] = self._sequences.get(partition, -1) + 1
        batch = Batch(
            self._instance, sequence, int(time.time() * 1000), [key for key, _ in keys],
            np.array([kind for _, kind in keys], np.uint8), np.array(series, np.uint32),
            np.array([s["time"] for s in mine], np.int64), np.array([s["value"] for s in mine], np.float64),
            starts=np.array([s.get("start", 0) for s in mine], np.int64) if any("start" in s for s in mine) else None,
        )  # fmt: skip
        return encode(batch)

    def _poison(self, mine: Sequence[Sample]) -> bytes:
        """A record that cannot be read; its sequence is one that never comes otherwise."""
        held = dict(self._sequences)
        whole = self._record(0, mine)
        self._sequences = held
        return self._chance.choice((b"", b"not a batch", whole[: len(whole) // 2], b"TB\x63" + whole[3:], whole[:-8]))
