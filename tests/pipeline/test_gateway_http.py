"""The gateway's HTTP, byte for byte as a browser or curl would see it."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from services.contract.cost import cost
from services.contract.dashboards import parse
from services.contract.registry import Fault
from services.gateway.service import Gateway
from services.transport.registry import write_entry
from tests.pipeline.gateway_world import (
    WALL_PAGES,
    Pen,
    build_wall,
    desk,
    document,
    entry,
    now_ms,
    panel,
    request,
    serving,
    view_ids,
)
from tests.servers import Valkey

HOST = document("host", panel("cpu", "cpu_busy"))
(CPU,) = view_ids(HOST)
FAULT = Fault("spec.panels[0].query.fn", "'avgg' is not a function", 12, "new.yaml")


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with desk(valkey.url) as found:
        await write_entry(found, entry(HOST), entry(None, "r0", FAULT, "broken"))
        yield found


@pytest.fixture
async def gateway(valkey: Valkey, redis: Redis, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with serving(valkey.url, wall=build_wall(tmp_path / "dist")) as found:
        while found.readiness():
            await request(found.port, "/")
        yield found


async def get(gateway: Gateway, path: str, caching: str = "no-store") -> tuple[int, dict[str, Any]]:
    status, headers, body = await request(gateway.port, path)
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == caching
    return status, json.loads(body)


async def test_dashboards_are_listed_by_name_with_their_faults(gateway: Gateway) -> None:
    broken = {"path": FAULT.path, "reason": FAULT.reason, "line": 12, "source": "new.yaml"}
    estimate = cost(parse(HOST))
    assert await get(gateway, "/api/v1/dashboards") == (
        200,
        {
            "dashboards": [
                {"name": "broken", "title": "broken", "panels": 0, "source": "test", "fault": broken, "memory": 0},
                {"name": "host", "title": "Host", "panels": 1, "source": "test", "fault": None, "memory": estimate.bytes},
            ]
        },
    )


async def test_a_dashboard_is_its_document(gateway: Gateway) -> None:
    status, body = await get(gateway, "/api/v1/dashboards/host")
    assert (status, body["document"], body["revision"], body["title"]) == (200, HOST, "r1", "Host")
    assert 0 < body["memory"]["bytes"] < body["memory"]["most"]
    status, body = await get(gateway, "/api/v1/dashboards/broken")
    assert (status, body["document"], body["fault"]["line"]) == (200, None, 12)


async def test_a_snapshot_is_the_live_message_also_while_nobody_watches(gateway: Gateway, redis: Redis) -> None:
    start = (now_ms() // 1_000 - 2) * 1_000
    await Pen(redis, CPU).write({(start, "0"): 0.5})
    status, body = await get(gateway, "/api/v1/dashboards/host/snapshot", "private, no-cache")
    assert (status, body["type"], body["dashboard"]) == (200, "snapshot", "host")
    assert body["views"][0]["cells"] == [[start, [0], [0.5]]]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/dashboards/nosuch", 404, "unknown_dashboard"),
        ("/api/v1/dashboards/nosuch/snapshot", 404, "unknown_dashboard"),
        ("/api/v1/dashboards/broken/snapshot", 422, "broken_dashboard"),
        ("/api/v1/nosuch", 404, "not_found"),
        ("/api/v1/live", 426, "upgrade_required"),
        ("/api/v1/plotly", 426, "upgrade_required"),
    ],
)
async def test_what_goes_wrong_has_a_status_a_code_and_a_reason(gateway: Gateway, path: str, status: int, code: str) -> None:
    found, body = await get(gateway, path)
    assert (found, body["error"]["code"]) == (status, code)
    assert body["error"]["reason"]
    if code == "broken_dashboard":
        assert (body["error"]["path"], body["error"]["line"], body["error"]["source"]) == (FAULT.path, 12, "new.yaml")


@pytest.mark.parametrize("path", ["/d/", "/nosuch", "/d/host/more"])
async def test_a_person_who_mistypes_an_address_gets_the_wall_which_says_so(gateway: Gateway, path: str) -> None:
    status, headers, body = await request(gateway.port, path, accept="text/html,*/*")
    assert (status, body.decode()) == (404, WALL_PAGES["index.html"])
    assert headers["content-type"] == "text/html; charset=utf-8"
    status, headers, _ = await request(gateway.port, path)
    assert (status, headers["content-type"]) == (404, "text/plain; charset=utf-8")


async def test_other_methods_are_refused(gateway: Gateway) -> None:
    status, headers, body = await request(gateway.port, "/api/v1/dashboards", "DELETE")
    assert (status, json.loads(body)["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in headers["allow"]


@pytest.mark.parametrize("path", ["/", "/d/host", "/plotly/host", "/assets/app-1234.js", "/api/v1/dashboards"])
async def test_head_is_get_without_a_body(gateway: Gateway, path: str) -> None:
    _, headers, body = await request(gateway.port, path)
    status, same, nothing = await request(gateway.port, path, "HEAD")
    assert (status, nothing) == (200, b"")
    assert same["content-length"] == headers["content-length"] == str(len(body))


@pytest.mark.parametrize(
    ("path", "file", "caching"),
    [
        ("/", "index.html", "no-cache"),
        ("/d/host", "index.html", "no-cache"),
        ("/d/any-name", "index.html", "no-cache"),
        ("/plotly/host", "plotly.html", "no-cache"),
        ("/assets/app-1234.js", "assets/app-1234.js", "public, max-age=31536000, immutable"),
        ("/favicon.svg", "favicon.svg", "no-cache"),
    ],
)
async def test_pages_are_served_with_their_caching(gateway: Gateway, path: str, file: str, caching: str) -> None:
    status, headers, body = await request(gateway.port, path)
    assert (status, body.decode(), headers["cache-control"]) == (200, WALL_PAGES[file], caching)
    status, _, body = await request(gateway.port, path, If_None_Match=headers["etag"])
    assert (status, body) == (304, b"")


async def test_every_answer_has_a_strict_policy_and_only_plotly_may_style_inline(gateway: Gateway) -> None:
    for path in ("/", "/d/host", "/assets/app-1234.js", "/nosuch", "/api/v1/dashboards", "/api/v1/nosuch", "/plotly/host"):
        _, headers, _ = await request(gateway.port, path)
        policy = dict(item.strip().split(" ", 1) for item in headers["content-security-policy"].split(";"))
        assert policy["script-src"] == "'self'"
        assert policy["object-src"] == policy["base-uri"] == "'none'"
        assert policy["connect-src"] == "'self'"
        assert policy["style-src"] == ("'self' 'unsafe-inline'" if path == "/plotly/host" else "'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/assets/app-1234.js", "/api/v1/dashboards/host"])
async def test_text_is_packed_for_who_accepts_it(gateway: Gateway, path: str) -> None:
    _, plain_headers, plain = await request(gateway.port, path)
    _, headers, packed = await request(gateway.port, path, Accept_Encoding="gzip, br")
    assert "content-encoding" not in plain_headers
    if len(plain) >= 512:
        assert headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed) == plain
    assert headers["vary"] == plain_headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "/assets/%00",
    ],
)
async def test_nothing_outside_of_the_wall_is_served(gateway: Gateway, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    status, _, body = await request(gateway.port, path)
    assert status == 404
    assert b"secret" not in body


async def test_a_wall_that_is_not_built_says_so_on_every_page(valkey: Valkey, redis: Redis, tmp_path: Path) -> None:
    async with serving(valkey.url, wall=tmp_path / "nowhere") as gateway:
        for path in ("/", "/d/host", "/plotly/host"):
            status, headers, body = await request(gateway.port, path)
            assert (status, headers["content-type"]) == (503, "text/html; charset=utf-8")
            assert b"make build" in body


async def test_without_a_plotly_page_the_wall_answers(valkey: Valkey, redis: Redis, tmp_path: Path) -> None:
    folder = build_wall(tmp_path / "dist")
    (folder / "plotly.html").unlink()
    async with serving(valkey.url, wall=folder) as gateway:
        status, _, body = await request(gateway.port, "/plotly/host")
        assert (status, body.decode()) == (200, WALL_PAGES["index.html"])


async def test_status_is_something_that_can_be_written_as_json(gateway: Gateway, redis: Redis) -> None:
    await request(gateway.port, "/api/v1/dashboards/host/snapshot")
    status = json.loads(json.dumps(gateway.status()))
    assert status["watched"]["host"]["ready"] is True
    assert status["registry"]["broken"]["fault"] == FAULT.reason
    assert status["feed"] == {"away": None, "views": 1}
