"""The door, for HTTP: who asks for anything under /api/ is identified before it is answered, and pages of other hosts are told what they may read.

The wall's own files are public: they hold no data. Requests take from the rates of their address and their token as sockets do; only a
stream, which stays, is counted for as long as it lasts. What a request may see stands in its scope's state as `right`; that a dashboard
is one of those that it may see is checked here, by its path, so that no answer below can forget it.
"""

import asyncio
import contextlib
import math
import re
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway import metrics
from services.gateway.access.door import DeniedError, Door, Guest, gathered
from services.gateway.access.origins import Origin
from services.gateway.access.tokens import Headers, Pass

_DASHBOARD: Final = re.compile(r"/api/v1/dashboards/([^/]+)(/.*)?", re.DOTALL)
_STREAM: Final = "/events"
_PREFLIGHT: Final = (
    ("access-control-allow-methods", "GET, HEAD"),
    ("access-control-allow-headers", "Authorization, Last-Event-ID"),
    ("access-control-max-age", "600"),
)
_GOODBYE_S: Final = 2.0
_LONGEST_S: Final = 86_400.0 * 365


class Guard:
    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        headers = gathered(scope["headers"])
        origin = self._door.origin(headers)
        send = _sharing(send, origin, headers)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers and origin.may_connect:
            await _answer(send, HTTPStatus.NO_CONTENT, b"", _PREFLIGHT)
            return
        guest, address = None, self._address(scope, headers)
        try:
            right = await self._right(scope, headers, origin)
            if (named := _DASHBOARD.fullmatch(scope["path"])) and named[2] == _STREAM and scope["method"] != "HEAD":
                guest = self._door.enter(address, right)
            else:
                self._door.pass_by(address, right)
        except DeniedError as denied:
            self._door.tell(denied, address, scope["path"])
            metrics.REFUSED.labels(str(denied.status.value)).inc()
            await _refuse(send, denied)
            return
        scope.setdefault("state", {}).update(right=right, address=address)
        await self._serve(scope, receive, send, right, guest)

    async def _right(self, scope: Scope, headers: Headers, origin: Origin) -> Pass:
        query = scope["query_string"].decode("latin-1")
        try:
            right = self._door.identify(headers, query, origin)
        except DeniedError as denied:
            renewed = self._door.keyring.renewed() if self._door.keyring and denied.again else None
            if renewed is None:
                raise
            await asyncio.shield(renewed)
            right = self._door.identify(headers, query, origin)
        named = _DASHBOARD.fullmatch(scope["path"])
        if named and not right.sees(named[1]):
            raise DeniedError(HTTPStatus.FORBIDDEN, "forbidden", "the token does not name this dashboard")
        return right

    async def _serve(self, scope: Scope, receive: Receive, send: Send, right: Pass, guest: Guest | None) -> None:
        """Answer, for as long as the right lasts: what goes on longer ends then, in order."""
        left_s = min(right.ends_at - self._door.now(), _LONGEST_S)
        watch = asyncio.timeout(None if math.isinf(right.ends_at) else left_s)
        try:
            async with watch:
                await self._app(scope, receive, send)
        except TimeoutError:
            if not watch.expired():
                raise
            # It may have ended by itself, or never begun; and who reads nothing shall not be waited for.
            with contextlib.suppress(RuntimeError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if guest:
                self._door.leave(guest)

    def _address(self, scope: Scope, headers: Headers) -> str:
        return self._door.address(headers, (scope["client"] or ("",))[0])


def _sharing(send: Send, origin: Origin, headers: Headers) -> Send:
    """With what browsers ask for before a page of another host may read an answer. Fetch, "CORS protocol"."""
    if origin not in (Origin.named, Origin.anyone):
        return send

    async def shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            found = MutableHeaders(scope=message)
            found["access-control-allow-origin"] = headers["origin"][0] if origin is Origin.named else "*"
            if origin is Origin.named:
                found["access-control-allow-credentials"] = "true"
            found.add_vary_header("Origin")
        await send(message)

    return shared


async def _refuse(send: Send, denied: DeniedError) -> None:
    body = msgspec.json.encode({"error": {"code": denied.code, "reason": denied.reason}})
    fields = [*denied.headers, ("content-type", "application/json"), ("cache-control", "no-store")]
    await _answer(send, denied.status, body, fields)


async def _answer(
    send: Send, status: HTTPStatus, body: bytes, fields: "list[tuple[str, str]] | tuple[tuple[str, str], ...]"
) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    if status is not HTTPStatus.NO_CONTENT:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
