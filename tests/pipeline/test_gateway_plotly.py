"""The Plotly stream over a real Valkey, through an independent WebSocket client."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from services.gateway.service import Gateway
from services.transport.registry import delete_entry, write_entry
from tests.pipeline.gateway_world import PATIENCE_S, Pen, desk, document, entry, now_ms, panel, plotting, serving, view_ids
from tests.servers import Valkey

HOST = document("host", panel("cpu", "cpu_busy", legend="core {cpu}"))
(CPU,) = view_ids(HOST)


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with desk(valkey.url) as found:
        await write_entry(found, entry(HOST))
        yield found


@pytest.fixture
async def gateway(valkey: Valkey, redis: Redis) -> AsyncIterator[Gateway]:
    async with serving(valkey.url) as found:
        yield found


async def hear(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
    return found


async def test_a_panel_is_a_react_and_then_extends(gateway: Gateway, redis: Redis) -> None:
    pen, start = Pen(redis, CPU), (now_ms() // 1_000 - 5) * 1_000
    await pen.write({(start, "0"): 0.25, (start, "1"): 0.5, (start + 1_000, "0"): 0.75}, closed=start + 1_000)
    async with plotting(gateway.port, "dashboard=host&panel=cpu&max_points=50") as socket:
        react = await hear(socket)
        assert set(react) == {"action", "traces", "layout"}
        assert [(trace["name"], trace["x"], trace["y"]) for trace in react["traces"]] == [
            ("core 0", [start], [0.25]),
            ("core 1", [start], [0.5]),
        ]
        await pen.write({(start + 1_000, "1"): 1.0, (start + 2_000, "0"): 2.0}, closed=start + 2_000)
        assert await hear(socket) == {
            "action": "extend",
            "traces": [{"x": [[start + 1_000]], "y": [[0.75]]}, {"x": [[start + 1_000]], "y": [[1.0]]}],
            "max_points": 50,
        }


async def test_a_new_group_and_a_correction_are_a_react(gateway: Gateway, redis: Redis) -> None:
    pen, start = Pen(redis, CPU), (now_ms() // 1_000 - 5) * 1_000
    await pen.write({(start, "0"): 0.25}, closed=start + 1_000)
    async with plotting(gateway.port, "dashboard=host&panel=cpu") as socket:
        assert (await hear(socket))["action"] == "react"
        await pen.write({(start + 1_000, "7"): 7.0}, closed=start + 2_000)
        react = await hear(socket)
        assert [trace["y"] for trace in react["traces"]] == [[0.25, None], [None, 7.0]]
        await pen.write({(start, "0"): 0.5})
        react = await hear(socket)
        assert (react["action"], react["traces"][0]["y"]) == ("react", [0.5, None])


async def test_a_changed_dashboard_is_a_react_and_a_deleted_one_an_error(gateway: Gateway, redis: Redis) -> None:
    await Pen(redis, CPU).write({(now_ms() - 5_000, "0"): 0.25}, closed=now_ms())
    async with plotting(gateway.port, "dashboard=host&panel=cpu") as socket:
        await hear(socket)
        await write_entry(redis, entry(document("host", panel("cpu", "cpu_busy", title="Other")), "r2"))
        assert (await hear(socket))["layout"]["title"] == {"text": "Other"}
        await delete_entry(redis, "host")
        assert (await hear(socket))["action"] == "error"
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket)
        assert caught.value.rcvd
        assert caught.value.rcvd.code == 4500


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("dashboard=nosuch&panel=cpu", "nosuch"),
        ("dashboard=host&panel=nosuch", "nosuch"),
        ("dashboard=host", "panel"),
        ("", "dashboard"),
        ("dashboard=host&panel=cpu&max_points=0", "max_points"),
        ("dashboard=host&panel=cpu&max_points=many", "max_points"),
    ],
)
async def test_what_is_not_there_is_an_error_and_the_end(gateway: Gateway, query: str, word: str) -> None:
    async with plotting(gateway.port, query) as socket:
        message = await hear(socket)
        assert message["action"] == "error"
        assert word in message["reason"]
        with pytest.raises(ConnectionClosed) as caught:
            await hear(socket)
        assert caught.value.rcvd
        assert caught.value.rcvd.code == 4500


async def test_viewers_of_one_panel_share_its_frames(gateway: Gateway, redis: Redis) -> None:
    pen, start = Pen(redis, CPU), (now_ms() // 1_000 - 5) * 1_000
    await pen.write({(start, "0"): 0.25}, closed=start + 1_000)
    query = "dashboard=host&panel=cpu&max_points=7"
    async with plotting(gateway.port, query) as one, plotting(gateway.port, query) as two:
        assert await hear(one) == await hear(two)
        await pen.write({(start + 1_000, "0"): 0.5}, closed=start + 2_000)
        assert await hear(one) == await hear(two)
        assert gateway.status()["plotly"] == {"host cpu 7": 2}
