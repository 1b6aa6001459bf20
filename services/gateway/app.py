"""The gateway's HTTP: dashboards and snapshots as JSON, and the pages of the wall. docs/protocol.md, "HTTP of the gateway"."""

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.contract.dashboards import Dashboard
from services.contract.history import HistoryError
from services.contract.live import Error, ErrorCode, HttpErrorCode
from services.contract.registry import Entry
from services.gateway import past
from services.gateway.access.door import Door
from services.gateway.documents import Document, Documents
from services.gateway.events import EventStreams, decode_id
from services.gateway.guard import Guard
from services.gateway.hub import Hub
from services.gateway.rates import rate_of
from services.gateway.stage import unknown
from services.gateway.wall import IMMUTABLE, MIN_GZIP, NO_CACHE, Wall, accepts_gzip, matches
from services.transport.feed import FeedErrors

NEGOTIATED: Final = {"vary": "Accept, Accept-Encoding"}
SNAPSHOT_PATIENCE_S: Final = 2.0
DEFAULT_HZ: Final = 10.0

_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'{styles}; connect-src 'self'; img-src 'self' data:{images}; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
STRICT: Final = _POLICY.format(styles="", images="")
PLOTLY: Final = _POLICY.format(styles=" 'unsafe-inline'", images=" blob:")  # Plotly.js writes styles into its drawings

_CODES: Final[Mapping[int, HttpErrorCode]] = {404: "not_found", 405: "method_not_allowed"}


def application(hub: Hub, wall: Wall, streams: EventStreams, door: Door) -> ASGIApp:
    """Everything that is served on the gateway's port, but for the WebSockets."""
    api, pages = _Api(hub, streams), _Pages(wall)
    routes = [
        Route("/api/v1/dashboards", api.dashboards),
        Route("/api/v1/dashboards/{name}", api.dashboard),
        Route("/api/v1/dashboards/{name}/snapshot", api.snapshot),
        Route("/api/v1/dashboards/{name}/events", api.events),
        Route("/api/v1/live", api.upgrade),
        Route("/api/v1/plotly", api.upgrade),
        Route("/", pages.index),
        Route("/d/{name}", pages.index),
        Route("/plotly/{name}", pages.plotly),
        Route("/assets/{path:path}", pages.asset),
        Route("/{path:path}", pages.file),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _failed, Exception: _crashed})
    return _Headers(Guard(app, door))


class _Api:
    def __init__(self, hub: Hub, streams: EventStreams) -> None:
        self._hub = hub
        self._streams = streams
        self._documents = Documents()

    async def dashboards(self, request: Request) -> Response:
        entries = self._hub.entries
        if entries is None:
            return _unavailable(request, "the registry of dashboards has not been read yet")
        seen = [entries[name] for name in sorted(entries) if request.state.right.sees(name)]
        self._documents.keep(entries)
        listed = await asyncio.to_thread(lambda: [_listed(entry, self._documents.of(entry)) for entry in seen])
        return _json(request, {"dashboards": listed})

    async def dashboard(self, request: Request) -> Response:
        if self._hub.entries is None:
            return _unavailable(request, "the registry of dashboards has not been read yet")
        name = request.path_params["name"]
        entry = self._hub.entries.get(name)
        if entry is None:
            return _error(request, 404, unknown(name))
        document = self._documents.of(entry)
        title = document.dashboard.title if document.dashboard else name
        return _json(request, {
            "name": name, "title": title, "revision": entry.revision, "source": entry.source,
            "document": entry.document, "fault": document.fault, "memory": document.cost,
        })  # fmt: skip

    def _readable(self, name: str, entry: Entry | None) -> tuple[Dashboard | None, Error | None]:
        if entry is None:
            return None, unknown(name)
        document = self._documents.of(entry)
        return document.dashboard, document.error

    async def snapshot(self, request: Request) -> Response:
        """What is shown now; with parameters or as CSV, what was."""
        try:
            form = past.answers(request.query_params.multi_items(), request.headers.get("accept", ""))
            return await (self._past(request, form) if form else self._present(request))
        except past.ParameterError as error:
            return _json(request, _body("bad_parameter", str(error)), 400)
        except (*FeedErrors, HistoryError) as error:
            return _unavailable(request, f"the history could not be read: {error or type(error).__name__}")

    async def _past(self, request: Request, form: str) -> Response:
        name, now = request.path_params["name"], self._hub.now()
        if self._hub.entries is None:
            return _unavailable(request, "the registry of dashboards has not been read yet")
        dashboard, fault = self._readable(name, self._hub.entries.get(name))
        if dashboard is None:
            return _without(request, fault or unknown(name))
        wanted = past.span(request.query_params, dashboard.window_ms, now)
        lines = past.lines(dashboard, wanted, now)
        views = {line.view: past.first_bucket(line.view, wanted) for line in lines}
        found = await self._hub.past((view, first, wanted.last) for view, first in views.items())
        if form == "csv":
            text = await asyncio.to_thread(lambda: "".join(past.as_csv(lines, found)).encode())
            return await asyncio.to_thread(_answer, request, text, 200, NEGOTIATED, "text/csv; charset=utf-8; header=present")
        content = await asyncio.to_thread(lambda: msgspec.json.encode(past.as_json(dashboard, wanted, lines, found, now)))
        return await asyncio.to_thread(_answer, request, content, 200, NEGOTIATED, "application/json")

    async def _present(self, request: Request) -> Response:
        async with self._hub.snapshot(request.path_params["name"], SNAPSHOT_PATIENCE_S) as (stage, snapshot):
            if stage.fault:
                return _without(request, stage.fault)
            if snapshot is None or snapshot.mark is None:
                return _unavailable(request, "the dashboard's history could not be read in time")
            etag = f'W/"{hashlib.blake2b(repr(snapshot.mark).encode(), digest_size=12).hexdigest()}"'
            headers = {**NEGOTIATED, "etag": etag, "cache-control": f"private, {NO_CACHE}"}
            if matches(request, etag):
                return Response(status_code=304, headers=headers)
            return await asyncio.to_thread(_answer, request, snapshot.payload, 200, headers, "application/json")

    async def events(self, request: Request) -> Response:
        """The dashboard as it changes, as server-sent events."""
        name = request.path_params["name"]
        if self._hub.entries is None:
            return _unavailable(request, "the registry of dashboards has not been read yet")
        dashboard, fault = self._readable(name, self._hub.entries.get(name))
        if dashboard is None:
            return _without(request, fault or unknown(name))
        try:
            hz = rate_of(_number(request, "hz", DEFAULT_HZ))
        except ValueError as error:
            return _json(request, _body("bad_parameter", f"hz: {error}"), 400)
        if request.method == "HEAD":
            return self._streams.head()
        position, address = decode_id(request.headers.get("last-event-id", "")), request.state.address
        return self._streams.open(self._hub, name, position, hz, address)

    async def upgrade(self, request: Request) -> Response:
        body = _body("upgrade_required", "this is a WebSocket")
        return _json(request, body, 426, {"upgrade": "websocket", "connection": "Upgrade"})


class _Pages:
    def __init__(self, wall: Wall) -> None:
        self._wall = wall

    async def index(self, request: Request) -> Response:
        return await asyncio.to_thread(self._wall.page, request, "index.html")

    async def plotly(self, request: Request) -> Response:
        return await asyncio.to_thread(self._wall.page, request, "plotly.html", "index.html")

    async def asset(self, request: Request) -> Response:
        return await self._file(request, f"assets/{request.path_params['path']}", IMMUTABLE)

    async def file(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path.startswith("api/"):
            raise HTTPException(404)
        try:
            return await self._file(request, path, NO_CACHE)
        except HTTPException:
            if "text/html" not in request.headers.get("accept", ""):
                raise
        # Somebody mistyped an address: the wall says so, with a way back.
        page = await asyncio.to_thread(self._wall.page, request, "index.html")
        page.status_code = 404 if page.status_code == 200 else page.status_code
        return page

    async def _file(self, request: Request, path: str, caching: str) -> Response:
        answer = await asyncio.to_thread(self._wall.asset, request, path, caching)
        if answer is None:
            raise HTTPException(404)
        return answer


class _Headers:
    """What every answer says to browsers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = PLOTLY if scope["path"].startswith("/plotly/") else STRICT
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, guarded)


def _listed(entry: Entry, document: Document) -> dict[str, Any]:
    dashboard = document.dashboard
    title, panels = (dashboard.title, len(dashboard.panels)) if dashboard else (entry.name, 0)
    memory = document.cost.bytes if document.cost else 0
    return {
        "name": entry.name, "title": title, "panels": panels, "source": entry.source, "fault": document.fault, "memory": memory,
    }  # fmt: skip


def _error(request: Request, status: int, error: Error) -> Response:
    body = _body(error.code, error.reason)
    if error.code == "broken_dashboard":
        body["error"] |= {"path": error.path, "line": error.line, "source": error.source}
    return _json(request, body, status)


def _without(request: Request, error: Error) -> Response:
    """There is no such dashboard, or no good version of it."""
    return _error(request, 404 if error.code == "unknown_dashboard" else 422, error)


def _unavailable(request: Request, reason: str) -> Response:
    return _json(request, _body("unavailable", reason), 503, {"retry-after": "1"})


def _number(request: Request, name: str, default: float) -> float:
    """ValueError where a parameter is not a number."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a number") from None


def _body(code: HttpErrorCode | ErrorCode, reason: str) -> dict[str, dict[str, Any]]:
    return {"error": {"code": code, "reason": reason}}


def _json(request: Request, content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return _answer(request, msgspec.json.encode(content), status, headers or {}, "application/json")


def _answer(request: Request, body: bytes, status: int, headers: dict[str, str], media_type: str) -> Response:
    headers = {"cache-control": "no-store", "vary": "Accept-Encoding", **headers}
    if len(body) >= MIN_GZIP and accepts_gzip(request.headers.get("accept-encoding", "")):
        body = gzip.compress(body, 1, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(body, status, headers, media_type)


async def _failed(request: Request, exception: Exception) -> Response:
    error = cast("HTTPException", exception)
    if request.url.path.startswith("/api/"):
        code = _CODES.get(error.status_code, "failed")
        return _json(request, _body(code, error.detail.lower()), error.status_code, dict(error.headers or {}))
    return PlainTextResponse(f"{error.detail}\n", error.status_code, dict(error.headers or {}))


async def _crashed(request: Request, _: Exception) -> Response:
    return _json(request, _body("internal", "the gateway failed to answer; its log says why"), 500)
