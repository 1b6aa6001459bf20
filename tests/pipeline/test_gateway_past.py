"""Looking back: GET /api/v1/dashboards/NAME/snapshot with from, to and step, over a real Valkey."""

import csv
import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from services.contract.dashboards import parse
from services.contract.levels import kept
from services.contract.registry import Fault
from services.gateway.service import Gateway
from services.transport.registry import write_entry
from tests.pipeline.gateway_world import Pen, desk, document, entry, now_ms, panel, request, serving
from tests.servers import Valkey

HOST = document("host", panel("cpu", "cpu_busy"))
LEVELS = {view.every_ms: view.id for view in kept(parse(HOST))}
PATH = "/api/v1/dashboards/host/snapshot"


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with desk(valkey.url) as found:
        await write_entry(found, entry(HOST), entry(None, "r0", Fault("spec", "is wrong"), "broken"))
        yield found


@pytest.fixture
async def gateway(valkey: Valkey, redis: Redis) -> AsyncIterator[Gateway]:
    async with serving(valkey.url) as found:
        while found.readiness():
            await request(found.port, "/")
        yield found


async def get(gateway: Gateway, query: str, name: str = "host") -> tuple[int, dict[str, Any]]:
    status, headers, body = await request(gateway.port, f"/api/v1/dashboards/{name}/snapshot{query}")
    assert headers["content-type"] == "application/json"
    return status, json.loads(body)


async def test_each_span_is_read_from_its_level_and_from_nothing_else(gateway: Gateway, redis: Redis) -> None:
    minute = now_ms() // 60_000 * 60_000
    for every_ms in LEVELS:
        pen = Pen(redis, LEVELS[every_ms], every_ms)
        first = minute // every_ms * every_ms
        await pen.write({(first - i * every_ms, "0"): float(every_ms + i) for i in range(1, 40)}, closed=first - every_ms)
    for query, every_ms, n in (
        ("?from=-30s", 1_000, None),
        (f"?from={minute - 200_000}&to={minute}&step=10s", 10_000, 20),
        (f"?from={minute - 1_800_000}&to={minute}&step=1m", 60_000, 30),
        ("?from=-5d", 600_000, 39),
        ("?from=-5d&to=-4d", 600_000, 0),
    ):
        status, answer = await get(gateway, query)
        assert status == 200
        (view,) = answer["views"]
        assert (view["id"], view["step"]) == (LEVELS[every_ms], every_ms)
        assert n is None or len(view["rows"]) == n
        for start, final, groups, values in view["rows"]:
            assert answer["from"] // every_ms * every_ms <= start < answer["to"]
            assert (groups, final) == ([0], start + every_ms <= view["closed"])
            assert values[0] >= every_ms
    assert len(gateway.hub.views) == 0, "nothing of it stays in memory"


async def test_csv_is_chosen_by_header_or_by_parameter(gateway: Gateway, redis: Redis) -> None:
    second = now_ms() // 1_000 * 1_000
    pen = Pen(redis, LEVELS[1_000])
    await pen.write(
        {(second - 2_000, "0"): 0.5, (second - 2_000, "1"): 0.25, (second - 1_000, "0"): 0.75}, closed=second - 1_000
    )
    for path, headers in (
        (PATH, {"accept": "text/csv"}),
        (f"{PATH}?format=csv&from=-1m", {}),
        (f"{PATH}?format=csv", {"accept_encoding": "gzip"}),
    ):
        status, answered, body = await request(gateway.port, path, **headers)
        assert (status, answered["content-type"]) == (200, "text/csv; charset=utf-8; header=present")
        assert answered["vary"] == "Accept, Accept-Encoding"
        text = gzip.decompress(body).decode() if answered.get("content-encoding") else body.decode()
        found = list(csv.DictReader(io.StringIO(text, newline="")))
        assert [(row["labels"], row["value"], row["final"]) for row in found] == [
            ("cpu=0", "0.5", "true"), ("cpu=1", "0.25", "true"), ("cpu=0", "0.75", "false"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?from=soon", "from: is 'soon'"),
        ("?to=-1h&from=-1m", "from: "),
        ("?step=0s", "step: is '0s'"),
        ("?from=-6h&step=1s", "step: "),
        ("?form=csv", "form: is not a parameter"),
        ("?format=xml", "format: is 'xml'"),
    ],
)
async def test_a_bad_parameter_is_named(gateway: Gateway, query: str, reason: str) -> None:
    status, answer = await get(gateway, query)
    assert (status, answer["error"]["code"]) == (400, "bad_parameter")
    assert answer["error"]["reason"].startswith(reason)


async def test_dashboards_that_are_not_there_or_broken_say_so(gateway: Gateway) -> None:
    assert (await get(gateway, "?from=-1h", "nothing"))[0] == 404
    status, answer = await get(gateway, "?from=-1h", "broken")
    assert (status, answer["error"]["code"], answer["error"]["path"]) == (422, "broken_dashboard", "spec")


async def test_a_dashboard_without_history_has_no_rows(gateway: Gateway) -> None:
    status, answer = await get(gateway, "?from=-1h")
    assert (status, [view["rows"] for view in answer["views"]]) == (200, [[]])


async def test_a_feed_that_is_away_is_said(gateway: Gateway, valkey: Valkey) -> None:
    valkey.kill()
    try:
        status, answer = await get(gateway, "?from=-1h")
    finally:
        valkey.start()
    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert answer["error"]["reason"].startswith("the history could not be read")
