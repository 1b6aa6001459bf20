"""Server-sent events and snapshots with an ETag: the same messages through doors that need no WebSocket."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from services.gateway.service import Gateway
from services.transport.registry import write_entry
from tests.pipeline.gateway_world import (
    PATIENCE_S,
    Message,
    Pen,
    Screen,
    desk,
    document,
    entry,
    eventually,
    now_ms,
    panel,
    request,
    serving,
    view_ids,
)
from tests.servers import Valkey

HOST = document("host", panel("cpu", "cpu_busy"), panel("rx", "rx_bytes", query={"fn": "rate"}))
CPU, RX = view_ids(HOST)
PATH = "/api/v1/dashboards/host/events"


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with desk(valkey.url) as found:
        await write_entry(found, entry(HOST))
        yield found


@pytest.fixture
async def gateway(valkey: Valkey, redis: Redis, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with serving(valkey.url, wall=tmp_path) as found:
        await eventually(lambda: not found.readiness())
        yield found


class Listener:
    """An EventSource: it applies messages as a screen does, and remembers the last id and retry."""

    def __init__(self, reader: asyncio.StreamReader, screen: Screen | None = None) -> None:
        self.reader = reader
        self.screen = screen or Screen(None)  # type: ignore[arg-type]  # it is only given messages
        self.head: list[str] = []
        self.kinds: list[str] = []
        self.last_id = ""
        self.retry = 0
        self._data = b""

    async def begin(self) -> None:
        self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")

    async def hear(self) -> Message | None:
        """The next event's message, applied; None at the end."""
        while b"\n\n" not in self._data:
            size = int(await asyncio.wait_for(self.reader.readline(), PATIENCE_S) or b"0", 16)
            self._data += await self.reader.readexactly(size)
            await self.reader.readline()
            if not size:
                return None
        event, _, self._data = self._data.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in event.decode().split("\n"))
        self.retry = int(fields.get("retry", self.retry))
        self.last_id = fields.get("id", self.last_id)
        if "data" not in fields:
            return await self.hear()
        message: Message = json.loads(fields["data"])
        assert fields["event"] == message["type"]
        self.kinds.append(message["type"])
        if message["type"] == "snapshot":
            self.screen._begin(message)
        elif message["type"] == "delta" and message["epoch"] == self.screen.epoch:
            self.screen._apply(message)
        return message

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                assert await self.hear(), "the stream has ended"


@contextlib.asynccontextmanager
async def listening(port: int, path: str = PATH, last_id: str = "", screen: Screen | None = None) -> AsyncIterator[Listener]:
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    wire.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=wire, limit=2**15)
    more = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n{more}\r\n".encode())
    listener = Listener(reader, screen)
    await listener.begin()
    try:
        yield listener
    finally:
        writer.close()


def recent(ago: int = 0) -> int:
    return (now_ms() // 1_000 - ago) * 1_000


async def test_a_listener_gets_a_snapshot_and_then_what_changes(gateway: Gateway, redis: Redis) -> None:
    cpu, rx = Pen(redis, CPU), Pen(redis, RX)
    await cpu.write({(recent(3), "0"): 0.25})
    async with listening(gateway.port) as listener:
        assert listener.head[0] == "http/1.1 200 ok"
        assert "content-type: text/event-stream; charset=utf-8" in listener.head
        assert "cache-control: no-store" in listener.head
        await listener.until(lambda: listener.kinds.count("snapshot"))
        assert listener.screen.table(CPU) == cpu.truth()
        assert listener.retry == 1_000
        await cpu.write({(recent(2), "0"): 0.75, (recent(2), "1"): 0.5})
        await rx.write({(recent(2), "0"): 7.0})
        await listener.until(lambda: listener.screen.table(CPU) == cpu.truth() and listener.screen.table(RX) == rx.truth())
        assert listener.screen.snapshot["hz"] == 10
        assert len(gateway.streams) == 1
    await eventually(lambda: not len(gateway.streams) and not gateway.hub.status()["watched"]["host"]["viewers"])


async def test_who_comes_back_with_the_last_id_gets_exactly_what_it_lacks_also_from_another_gateway(
    valkey: Valkey, gateway: Gateway, redis: Redis, tmp_path: Path
) -> None:
    cpu = Pen(redis, CPU)
    await cpu.write({(recent(5), "0"): 0.25, (recent(5), "1"): 0.5})
    async with listening(gateway.port) as listener:
        await listener.until(lambda: listener.kinds.count("snapshot"))
        await cpu.write({(recent(4), "0"): 0.75})
        await listener.until(lambda: listener.screen.table(CPU) == cpu.truth())
    new = recent(3)
    await cpu.write({(new, "1"): 1.0})
    async with serving(valkey.url, wall=tmp_path) as other:
        await eventually(lambda: not other.readiness())
        async with listening(other.port, last_id=listener.last_id, screen=listener.screen) as again:
            while (message := await again.hear()) and not message.get("views"):
                pass
            assert message and message["type"] == "delta"
            assert [cells for part in message["views"] for cells in part[5]] == [[new, [1], [1.0]]]
            assert again.screen.table(CPU) == cpu.truth()


@pytest.mark.parametrize("last_id", ["0123456789abcdef:1,2", "nothing of ours", ":", "e1:zz,1", "a" * 17_000])
async def test_who_comes_with_an_id_of_something_else_gets_a_snapshot(gateway: Gateway, redis: Redis, last_id: str) -> None:
    await Pen(redis, CPU).write({(recent(3), "0"): 0.25})
    async with listening(gateway.port, last_id=last_id) as listener:
        await listener.until(lambda: listener.kinds.count("snapshot"))


async def test_a_listener_chooses_its_rate(gateway: Gateway, redis: Redis) -> None:
    async with listening(gateway.port, f"{PATH}?hz=2.5") as listener:
        await listener.until(lambda: listener.kinds.count("snapshot"))
        assert listener.screen.snapshot["hz"] == 2
        assert gateway.hub.status()["watched"]["host"]["rates"] == {"2": 1}


@pytest.mark.parametrize(
    ("path", "status", "code", "reason"),
    [
        (f"{PATH}?hz=often", 400, "bad_parameter", "hz: 'often' is not a number"),
        (f"{PATH}?hz=-1", 400, "bad_parameter", "hz: hz is -1, expected 0 to 20"),
        (f"{PATH}?hz=nan", 400, "bad_parameter", "hz: hz is nan, expected 0 to 20"),
        ("/api/v1/dashboards/nosuch/events", 404, "unknown_dashboard", "there is no dashboard 'nosuch'"),
    ],
)
async def test_what_cannot_be_listened_to_says_why(gateway: Gateway, path: str, status: int, code: str, reason: str) -> None:
    found, _, body = await request(gateway.port, path)
    assert (found, json.loads(body)["error"]) == (status, {"code": code, "reason": reason})


async def test_who_asks_for_the_head_of_a_stream_gets_that_and_no_stream(gateway: Gateway) -> None:
    status, headers, body = await request(gateway.port, PATH, "HEAD")
    assert (status, headers["content-type"].split(";")[0], body) == (200, "text/event-stream", b"")
    assert gateway.hub.status()["watched"] == {}


async def test_a_listener_that_does_not_read_gets_one_message_when_it_does(gateway: Gateway, redis: Redis) -> None:
    """What it has not taken is merged: it does not read yesterday's frames first."""
    cpu = Pen(redis, CPU)
    values = {(recent(3 + number % 10), str(number // 10)): float(number) for number in range(4_000)}
    await cpu.write(values)
    async with listening(gateway.port) as listener:
        await listener.until(lambda: listener.kinds.count("snapshot"))
        for turn in range(40):  # 40 times 50 KB
            await cpu.write({key: float(turn) + value for key, value in values.items()})
            await asyncio.sleep(0.1)
        status = gateway.hub.status()["watched"]["host"]
        before = len(listener.kinds)
        await listener.until(lambda: listener.screen.table(CPU) == cpu.truth())
        assert status["slow"] == 1
        assert listener.kinds[before:].count("delta") < 38


async def test_a_listener_that_does_not_read_is_given_fewer_frames_and_told_so(gateway: Gateway, redis: Redis) -> None:
    lowered, missed = {"direction": "down", "reason": "reader"}, counted("frames_coalesced_total")
    before = counted("rate_changes_total", lowered)
    cpu = Pen(redis, CPU)
    values = {(recent(3 + number % 10), str(number // 10)): float(number) for number in range(4_000)}
    await cpu.write({**values, (recent(-60), "0"): 1})  # newer than now, so that no status says that samples are missed
    async with listening(gateway.port) as listener:
        await listener.until(lambda: listener.kinds.count("snapshot"))
        async with asyncio.timeout(PATIENCE_S * 6):
            while not any(reader["hz"] < 10 for reader in gateway.hub.status()["slowest"]):
                await cpu.write({key: 1.0 + value for key, value in values.items()})
                await asyncio.sleep(0.05)
        assert counted("rate_changes_total", lowered) > before and counted("frames_coalesced_total") > missed
        while (message := await listener.hear()) and message["type"] != "status":
            pass
        assert message and message["limit"] == "reader" and 0 < message["hz"] < 10
        await listener.until(lambda: listener.screen.table(CPU) == cpu.truth())


def counted(name: str, labels: dict[str, str] | None = None) -> float:
    """By the gateways of this process."""
    return REGISTRY.get_sample_value(f"tideboard_gateway_{name}", labels) or 0.0


async def test_when_the_gateway_goes_listeners_are_told_when_to_come_back(valkey: Valkey, redis: Redis, tmp_path: Path) -> None:
    async with serving(valkey.url, wall=tmp_path) as gateway:
        await eventually(lambda: not gateway.readiness())
        async with listening(gateway.port) as listener:
            await listener.until(lambda: listener.kinds.count("snapshot"))
            assert gateway.departure
            gateway.departure.dismiss()
            while await listener.hear():
                pass
            assert 500 <= listener.retry <= 3_000


async def test_a_snapshot_that_is_known_is_not_sent_again(gateway: Gateway, redis: Redis) -> None:
    cpu = Pen(redis, CPU)
    await cpu.write({(recent(3), "0"): 0.25})
    path = "/api/v1/dashboards/host/snapshot"
    status, headers, body = await request(gateway.port, path)
    assert (status, headers["cache-control"]) == (200, "private, no-cache")
    status, same, nothing = await request(gateway.port, path, if_none_match=headers["etag"])
    assert (status, nothing, same["etag"]) == (304, b"", headers["etag"])
    await cpu.write({(recent(2), "0"): 0.5})
    for _ in range(500):
        if (await request(gateway.port, path, if_none_match=headers["etag"]))[0] != 304:
            break
    status, other, changed = await request(gateway.port, path, if_none_match=headers["etag"])
    assert (status, other["etag"] != headers["etag"], changed != body) == (200, True, True)
