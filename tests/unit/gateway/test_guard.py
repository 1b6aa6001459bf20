"""The door, for HTTP: over an application that answers what it was asked by, and one that never ends."""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from services.gateway import metrics
from services.gateway.access.door import Door
from services.gateway.access.keyring import Keyring
from services.gateway.guard import Guard
from services.gateway.settings import AccessSettings, LimitSettings
from tests.tokens import SECRET, claims, token

EVENTS = "/api/v1/dashboards/host/events"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Says whose request it was; a stream goes on for ever."""
    right = scope.get("state", {}).get("right")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"].endswith("/events"):
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await asyncio.Event().wait()
    await send({"type": "http.response.body", "body": right.subject.encode() if right else b"nobody was asked"})


async def asking(tmp_path: Path, **limits: Any) -> Guard:
    (tmp_path / "secret").write_bytes(SECRET)
    access = AccessSettings(auth="jwt", secret_file=str(tmp_path / "secret"), leeway_s=0)
    keyring = Keyring(access)
    await keyring.start()
    return Guard(application, Door(access, LimitSettings(**limits), keyring=keyring, clock=lambda: 100.0))


async def ask(
    guard: Guard, path: str, held: str = "", said: list[Message] | None = None, method: str = "GET", **headers: str
) -> list[Message]:
    """What is sent in answer. said: where it is written down as it comes."""
    fields = {"host": "tide.example", **headers, **({"authorization": f"Bearer {held}"} if held else {})}
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "client": ("192.0.2.1", 4711),
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        "state": {},
    }
    found = [] if said is None else said

    async def send(message: Message) -> None:
        found.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    await guard(scope, receive, send)
    return found


async def answered(said: list[Message]) -> None:
    """When a head and a part of a body have been sent."""
    async with asyncio.timeout(10):
        while len(said) < 2:
            await asyncio.to_thread(time.sleep, 0.001)


def status(answer: list[Message]) -> int:
    found: int = answer[0]["status"]
    return found


async def test_who_asks_is_known_below(tmp_path: Path) -> None:
    guard = await asking(tmp_path)
    answer = await ask(guard, "/api/v1/dashboards", token(claims("host")))
    assert (status(answer), answer[1]["body"]) == (200, b"ada")
    answer = await ask(guard, "/assets/app.js")
    assert (status(answer), answer[1]["body"]) == (200, b"nobody was asked")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/dashboards/host", 200),
        ("/api/v1/dashboards/host/snapshot", 200),
        ("/api/v1/dashboards/other", 403),
        ("/api/v1/dashboards/other/snapshot", 403),
        ("/api/v1/dashboards/other/events", 403),
        ("/api/v1/dashboards/other/anything/else", 403),
        ("/api/v1/dashboards/other\n/snapshot", 403),
    ],
)
async def test_the_path_says_which_dashboard_it_is_about(tmp_path: Path, path: str, expected: int) -> None:
    assert status(await ask(await asking(tmp_path), path, token(claims("host")))) == expected


async def test_a_refusal_says_why_and_not_what(tmp_path: Path) -> None:
    guard = await asking(tmp_path)
    answer = await ask(guard, "/api/v1/dashboards", "aaa.bbb.ccc")
    headers = dict(answer[0]["headers"])
    assert headers[b"www-authenticate"] == b'Bearer error="invalid_token"'
    assert json.loads(answer[1]["body"])["error"]["code"] == "unauthorized"
    assert b"aaa" not in answer[1]["body"]


async def test_a_stream_ends_in_order_with_its_token(tmp_path: Path) -> None:
    guard = await asking(tmp_path)
    begun = time.time()
    async with asyncio.timeout(10):
        answer = await ask(guard, EVENTS, token(claims("host", ends_in_s=0.3)))
    assert time.time() >= begun + 0.25
    assert [message.get("body") for message in answer] == [None, b"begun", b""]
    assert answer[-1]["more_body"] is False


async def test_streams_are_counted_for_as_long_as_they_last(tmp_path: Path) -> None:
    guard = await asking(tmp_path, per_subject=1)
    held = token(claims("host"))
    said: list[Message] = []
    first = asyncio.create_task(ask(guard, EVENTS, held, said))
    await answered(said)
    assert status(await ask(guard, EVENTS, held)) == 503
    assert status(await ask(guard, "/api/v1/dashboards/host", held)) == 200, "what is short is not counted"
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    said.clear()
    second = asyncio.create_task(ask(guard, EVENTS, held, said))
    await answered(said)
    assert status(said) == 200
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/dashboards"),
        ("GET", "/api/v1/dashboards/host"),
        ("GET", "/api/v1/dashboards/host/snapshot"),
        ("HEAD", "/api/v1/dashboards/host/snapshot"),
        ("GET", "/api/v1/live"),
        ("GET", "/api/v1/nothing"),
    ],
)
async def test_requests_of_one_user_are_answered_at_a_rate(tmp_path: Path, method: str, path: str) -> None:
    guard = await asking(tmp_path, accepts_per_subject_s=0.5)
    held, refused = token(claims("host")), metrics.REFUSED.labels("503")._value.get()
    assert [status(await ask(guard, path, held, method=method)) for _ in range(3)] == [200, 200, 503]
    answer = await ask(guard, EVENTS, held)
    assert (status(answer), dict(answer[0]["headers"])[b"retry-after"]) == (503, b"2")
    assert json.loads(answer[1]["body"])["error"]["code"] == "unavailable"
    assert metrics.REFUSED.labels("503")._value.get() == refused + 2
    assert status(await ask(guard, path, token(claims("host", sub="eve")), method=method)) == 200
    assert status(await ask(guard, path, "aaa.bbb.ccc", method=method)) == 401, "that is found out first"
    assert status(await ask(guard, "/assets/app.js", held)) == 200, "the wall itself is there for everybody"
    preflight = {"access-control-request-method": "GET"}
    assert status(await ask(guard, path, held, None, "OPTIONS", **preflight)) == 204


async def test_a_timeout_of_the_application_is_its_own(tmp_path: Path) -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError("of its own")

    guard = await asking(tmp_path)
    with pytest.raises(TimeoutError, match="of its own"):
        await ask(Guard(late, guard._door), "/api/v1/dashboards", token(claims("host")))
