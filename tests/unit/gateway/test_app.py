"""The gateway's HTTP over a hub whose views are read when the test says so."""

import functools
import gzip
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.types import ASGIApp, Message

from services.contract.dashboards import Dashboard, parse
from services.gateway import app, stage
from services.gateway.access.door import Door
from services.gateway.app import application
from services.gateway.events import EventStreams
from services.gateway.hub import Hub
from services.gateway.settings import LimitSettings
from services.gateway.wall import Wall
from services.transport.feed import connect
from tests.unit.gateway.merge import Merge
from tests.unit.gateway.test_stage import HOST, NOWHERE, Seat, entry


@functools.cache
def served(hub: Hub) -> ASGIApp:
    return application(hub, Wall(Path("nowhere")), EventStreams(), Door())


async def get(
    hub: Hub, path: str, headers: dict[str, str] | None = None, *, app: ASGIApp | None = None, client: str = "192.0.2.1"
) -> tuple[int, bytes]:
    """Status and body of an answer. app: another one than everybody's."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    fields = [(name.encode(), value.encode()) for name, value in {"host": "here", **(headers or {})}.items()]
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": fields,
        "client": (client, 1), "server": ("here", 80), "scheme": "http", "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    await (app or served(hub))(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def test_a_snapshot_is_packed_beside_the_loop_that_writes_to_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(connect(NOWHERE))
    hub.entries = {"host": entry(HOST)}
    hub.subscribe(Seat(), "host", None, 10)
    for held in hub._stages["host"].held:
        merge = Merge()
        for at in range(50):
            merge.write({(hub.now() // 1_000 * 1_000 - at * 1_000, 0): float(at)})
        held.state.load(merge.history(), -1)
        held.loaded, held.whole = True, False
    where: list[threading.Thread] = []
    compress = gzip.compress

    def noted(*arguments: Any, **named: Any) -> bytes:
        where.append(threading.current_thread())
        return compress(*arguments, **named)

    monkeypatch.setattr(gzip, "compress", noted)
    status, body = await get(hub, "/api/v1/dashboards/host/snapshot", {"accept-encoding": "gzip"})
    assert (status, msgspec.json.decode(gzip.decompress(body))["type"]) == (200, "snapshot")
    assert where and threading.main_thread() not in where


async def test_a_document_is_read_once_and_not_by_the_loop_that_writes_to_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[threading.Thread] = []

    def noted(document: object) -> Dashboard:
        read.append(threading.current_thread())
        return parse(document)

    monkeypatch.setattr(stage, "parse", noted)
    hub = Hub(connect(NOWHERE))
    hub.entries = {"host": entry(HOST)}
    for _ in range(3):
        status, body = await get(hub, "/api/v1/dashboards")
        assert (status, msgspec.json.decode(body)["dashboards"][0]["panels"]) == (200, 2)
    assert len(read) == 1 and threading.main_thread() not in read
    hub.entries = {"host": entry(HOST)}  # read again, and the same
    assert (await get(hub, "/api/v1/dashboards/host"))[0] == 200
    assert len(read) == 1
    hub.entries = {"host": entry({**HOST, "spec": {**HOST["spec"], "panels": []}}, "r2")}
    status, body = await get(hub, "/api/v1/dashboards")
    assert msgspec.json.decode(body)["dashboards"][0]["panels"] == 0
    hub.entries = {}
    assert msgspec.json.decode((await get(hub, "/api/v1/dashboards"))[1]) == {"dashboards": []}


API = {
    "/api/v1/dashboards": 200,
    "/api/v1/dashboards/host": 200,
    "/api/v1/dashboards/nosuch": 404,
    "/api/v1/dashboards/host/snapshot": 503,  # there is no Redis
    "/api/v1/live": 426,
    "/api/v1/nosuch": 404,
}


def limited(hub: Hub, limits: LimitSettings) -> ASGIApp:
    """Everything at once: time stands still."""
    return application(hub, Wall(Path("nowhere")), EventStreams(), Door(limits=limits, clock=lambda: 100.0))


@pytest.mark.parametrize("path", API)
async def test_one_address_is_answered_at_a_rate_whatever_it_asks_for(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(app, "SNAPSHOT_PATIENCE_S", 0.01)
    hub = Hub(connect(NOWHERE))
    hub.entries = {"host": entry(HOST)}
    served = limited(hub, LimitSettings(accepts_per_address_s=0.5))
    for _ in range(2):
        assert (await get(hub, path, app=served))[0] == API[path]
    status, body = await get(hub, path, app=served)
    error = msgspec.json.decode(body)["error"]
    assert (status, error["code"], "of this address" in error["reason"]) == (503, "unavailable", True)
    assert (await get(hub, path, app=served, client="192.0.2.2"))[0] == API[path]
    assert (await get(hub, "/d/host", app=served))[1] == (await get(hub, "/d/host"))[1], "the wall has no such limit"


async def test_by_default_nobody_without_a_token_is_asked_to_wait() -> None:
    hub = Hub(connect(NOWHERE))
    hub.entries = {"host": entry(HOST)}
    served = limited(hub, LimitSettings())
    assert {(await get(hub, "/api/v1/dashboards", app=served))[0] for _ in range(3_000)} == {200}
