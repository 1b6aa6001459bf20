"""A viewer on a slow line among a thousand fast ones: it keeps seeing numbers that are new, and the others notice nothing.

Over real sockets, where the clock is the machine's. So its numbers are compared with what another viewer has been sent by then, and what this
process loses because others are busy here is not counted. tests/unit/gateway/test_line.py has the same in a time of its own.
"""

import asyncio
import contextlib
import json
import random
import resource
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.transport.registry import write_entry
from tests.gateway_process import UNLIMITED, GatewayProcess, running
from tests.pipeline.gateway_world import Pen, desk, document, entry, now_ms, panel, view_ids
from tests.servers import Valkey

HOST = document("host", panel("cpu", "cpu_busy"))
(CPU,) = view_ids(HOST)
FAST = 1_000
LINE_BYTES_S = 7_000  # 56 kbit/s
STEP_S = 0.05
CHANGE_MS = 100  # and as often viewers are sent frames
SETTLE_S, WATCH_S = 8.0, 10.0
UPGRADE = (
    "GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: tideboard.v1.json\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
SUBSCRIBE = json.dumps({"type": "subscribe", "dashboard": "host", "hz": 10}).encode()


@pytest.fixture
def gateway(valkey: Valkey, tmp_path: Path) -> Iterator[GatewayProcess]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8_192)), hard))
    with running(GatewayProcess(valkey.url, tmp_path, TIDEBOARD_GATEWAY_CONNECTIONS_PER_ADDRESS="0", **UNLIMITED)) as started:
        yield started
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def masked(payload: bytes) -> bytes:
    """A text frame of a client, with a mask of zeros."""
    return struct.pack("!BB4x", 0x81, 0x80 | len(payload)) + payload


class Fast(asyncio.Protocol):
    """Reads as fast as it can and looks at nothing."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reads = 0
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(UPGRADE.format(port=self.port).encode())

    def data_received(self, data: bytes) -> None:
        if not self.reads:
            self.transport.write(masked(SUBSCRIBE))
        self.reads += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Watcher:
    """Takes so many bytes a second, as a modem does, or whatever there is. shown: (when a frame with cells was whole, the server's time in it), ms."""

    def __init__(self, bytes_s: int | None = None) -> None:
        self.shown: list[tuple[int, int]] = []
        self.kinds: list[str] = []
        self.statuses: list[dict[str, Any]] = []
        self.lost: list[tuple[int, int]] = []  # until when this process had no turn, and for how long beyond two steps
        self._bytes_s = bytes_s
        self._data = b""
        self._upgraded = False

    async def read(self, port: int) -> None:
        wire = socket.socket()
        if self._bytes_s:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        wire.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(wire, ("127.0.0.1", port))
        await loop.sock_sendall(wire, UPGRADE.format(port=port).encode())
        looked = time.monotonic()
        with wire:
            while True:
                await asyncio.sleep(STEP_S)
                passed, looked = time.monotonic() - looked, time.monotonic()
                if passed > 2 * STEP_S:
                    self.lost.append((now_ms(), round((passed - 2 * STEP_S) * 1_000)))
                size = round(min(passed, 2 * STEP_S) * self._bytes_s) if self._bytes_s else 1 << 20
                with contextlib.suppress(BlockingIOError):
                    data = wire.recv(size)
                    assert data, "it was cut off"
                    if self._take(data):
                        await loop.sock_sendall(wire, masked(SUBSCRIBE))

    def _take(self, data: bytes) -> bool:
        """Whether it has been let in by these bytes."""
        self._data += data
        if not self._upgraded:
            head, end, self._data = self._data.partition(b"\r\n\r\n")
            self._upgraded = bool(end)
            if not end:
                self._data = head
                return False
            assert b"permessage-deflate" in head
            return True
        while (frame := self._frame()) is not None:
            self._hear(json.loads(frame))
        return False

    def _frame(self) -> bytes | None:
        """The next text message."""
        while len(self._data) >= 2:
            first, size = self._data[0], self._data[1]
            at = 2
            if size >= 126:
                at = 4 if size == 126 else 10
                size = int.from_bytes(self._data[2:at], "big")
            if len(self._data) < at + size:
                return None
            payload, self._data = self._data[at : at + size], self._data[at + size :]
            if first & 0x0F == 1:
                return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff") if first & 0x40 else payload
            assert first & 0x0F == 9, "nothing but pings beside text"
        return None

    def _hear(self, message: dict[str, Any]) -> None:
        self.kinds.append(message["type"])
        if message["type"] == "status":
            self.statuses.append(message)
        elif message["type"] == "snapshot" or message["views"]:
            self.shown.append((now_ms(), message["now"]))

    def behind(self, other: "Watcher", since: int) -> float:
        """How many frames with newer numbers another viewer had been given, at most: just before the next frame came."""
        return max(
            sum(told > mine and at <= after for at, told in other.shown) - self._lost_between(at, after) / CHANGE_MS
            for (at, mine), (after, _) in pairwise(self.shown)
            if after >= since
        )

    def _lost_between(self, since: int, until: int) -> int:
        return sum(ms for at, ms in self.lost if since < at <= until)


async def _write(pen: Pen) -> None:
    """250 lines change ten times a second: 16 KB/s compressed at 10 Hz, and less than 4 at 1 Hz."""
    chance = random.Random(1)
    while True:
        start = now_ms() // 1_000 * 1_000
        await pen.write({(start, str(line)): round(chance.random() * 100, 3) for line in range(250)}, closed=start)
        await asyncio.sleep(CHANGE_MS / 1_000)


async def test_a_viewer_on_a_slow_line_among_a_thousand_fast_ones(valkey: Valkey, gateway: GatewayProcess) -> None:
    loop = asyncio.get_running_loop()
    async with desk(valkey.url) as redis:
        await write_entry(redis, entry(HOST))
        writer = asyncio.create_task(_write(Pen(redis, CPU)))
        pairs = [await loop.create_connection(lambda: Fast(gateway.port), "127.0.0.1", gateway.port) for _ in range(FAST)]
        fast = [protocol for _, protocol in pairs]
        slow, other = Watcher(LINE_BYTES_S), Watcher()
        reading = [asyncio.create_task(one.read(gateway.port)) for one in (slow, other)]
        await asyncio.sleep(SETTLE_S)
        begun, before = now_ms(), [one.reads for one in fast]
        await asyncio.sleep(WATCH_S)
        assert not any(task.done() for task in reading), reading
        status = await asyncio.to_thread(gateway.status)
        lost = sum(one.lost for one in fast)
        reads = [one.reads - earlier for one, earlier in zip(fast, before, strict=True)]
        writer.cancel()
        for task in reading:
            task.cancel()
        await asyncio.gather(writer, *reading, return_exceptions=True)
        for transport, _ in pairs:
            transport.close()
        await asyncio.sleep(0.1)
    watched = status["watched"]["host"]
    slowest = status["slowest"]
    assert [(one["dashboard"], one["wished"]) for one in slowest] == [("host", 10)] * watched["slow"]
    assert watched["viewers"] == FAST + 2 and not lost
    assert watched["rates"]["10"] >= FAST + 1, "the fast ones keep their rate"
    assert min(reads) >= 0.7 * max(reads), "and all alike"
    assert slow.kinds[0] in ("snapshot", "delta") and slow.kinds.count("snapshot") == 1
    assert slow.statuses or watched["slow"] == 1, "it, or on a busy machine everybody, has a slower rate"
    assert len(slow.shown) >= 10
    assert slow.behind(other, begun) <= 2_000 / CHANGE_MS, (
        "numbers that are at most two seconds old, where the machine keeps up"
    )
