"""Viewers that stop reading altogether: after a while, or when too much waits for them, they are closed with advice, and nobody else notices."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.transport.registry import write_entry
from tests.conformance.peer import CLOSE, PING, TEXT, Frame, Peer
from tests.gateway_process import UNLIMITED, GatewayProcess, running
from tests.pipeline.gateway_world import Pen, desk, document, entry, now_ms, panel, view_ids, viewing
from tests.pipeline.test_gateway_outside import metrics
from tests.servers import Valkey
from tests.unit.gateway.masked import frame

HOST = document("host", panel("cpu", "cpu_busy"), window="5m")
(CPU,) = view_ids(HOST)
SUBSCRIBE = frame(TEXT, json.dumps({"type": "subscribe", "dashboard": "host", "hz": 10}).encode())
PATIENCE_S = 30.0


@pytest.fixture
async def pen(valkey: Valkey) -> AsyncIterator[Pen]:
    """A dashboard of half a megabyte: more than the system takes of a socket that nobody reads."""
    async with desk(valkey.url) as redis:
        await write_entry(redis, entry(HOST))
        pen, last = Pen(redis, CPU), now_ms() // 1_000 * 1_000
        for bucket in range(100):
            await pen.write({(last - bucket * 1_000, f"core {line}"): line + bucket / 7 for line in range(400)})
        yield pen


@pytest.fixture
def gateway(request: pytest.FixtureRequest, valkey: Valkey, pen: Pen, tmp_path: Path) -> Iterator[GatewayProcess]:
    settings = UNLIMITED | {"TIDEBOARD_LOG_LEVEL": "info"} | request.param
    with running(GatewayProcess(valkey.url, tmp_path, **settings)) as found:
        yield found


def stalled(gateway: GatewayProcess) -> Peer:
    """A viewer that has asked for everything and reads nothing."""
    peer = Peer(gateway.port)
    peer.open()
    peer.send(SUBSCRIBE)
    return peer


def told(gateway: GatewayProcess, reason: str, times: int = 1) -> None:
    """Wait until the log has said so."""
    until = time.monotonic() + PATIENCE_S
    while _times(gateway, reason) < times:
        assert time.monotonic() < until, gateway.said()
        time.sleep(0.05)


def _times(gateway: GatewayProcess, reason: str) -> int:
    said = [json.loads(line) for line in gateway.said() if line.startswith("{")]
    slow: list[dict[str, Any]] = [line for line in said if line["event"] == "a viewer was too slow"]
    assert all(line["reason"] == reason for line in slow), slow
    return sum(1 + line.get("repeated", 0) for line in slow)


def closed(gateway: GatewayProcess, count: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while metrics(gateway).get(("sockets_closed_total", ("4001",)), 0) < count:
        assert time.monotonic() < until
        time.sleep(0.1)


def advised(peer: Peer) -> bool:
    """It reads on: what was on its way comes whole, and then the close with its advice, which it answers."""
    frames: list[Frame] = []
    while not frames or frames[-1].opcode != CLOSE:
        frames.append(peer.hear())
    peer.send(frame(CLOSE, frames[-1].payload))
    assert peer.all() == []
    last = frames[-1]
    kinds = [one.message["type"] for one in frames if one.opcode == TEXT]
    return (
        kinds[0] == "snapshot" and (last.opcode, last.code) == (CLOSE, 4001) and json.loads(last.payload[2:])["retry_in_ms"] > 0
    )


@pytest.mark.parametrize("gateway", [{"TIDEBOARD_GATEWAY_STALL_DEADLINE": "1"}], indirect=True)
async def test_who_reads_nothing_for_too_long_is_told_and_cut_off_and_others_go_on(gateway: GatewayProcess, pen: Pen) -> None:
    with stalled(gateway) as back, stalled(gateway):
        async with viewing(gateway.port, "host") as other:
            await other.hear_a("snapshot")
            await asyncio.to_thread(told, gateway, "nothing was read for too long")
            assert await asyncio.to_thread(advised, back), "as a machine that was asleep"
            await asyncio.to_thread(closed, gateway, 2)  # the other one never reads on
            start = now_ms() // 1_000 * 1_000
            await pen.write({(start, "core 0"): 1.0})
            await other.until(lambda: other.versions.get(CPU) == pen.version)
        found = await asyncio.to_thread(metrics, gateway)
    assert found["sockets_closed_total", ("4001",)] == 2


@pytest.mark.parametrize(
    "gateway", [{"TIDEBOARD_GATEWAY_STALL_DEADLINE": "600", "TIDEBOARD_GATEWAY_WAITING_BYTES": "4096"}], indirect=True
)
async def test_who_reads_nothing_and_asks_for_more_is_told_when_too_much_waits(gateway: GatewayProcess) -> None:
    with stalled(gateway) as peer:
        until = time.monotonic() + PATIENCE_S
        while not _times(gateway, "too much was waiting"):
            assert time.monotonic() < until, gateway.said()
            await asyncio.to_thread(peer.send, frame(PING, b"x" * 125))
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(advised, peer)
        await asyncio.to_thread(closed, gateway, 1)
