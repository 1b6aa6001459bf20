"""What is behind the two WebSockets: the live protocol and the Plotly stream. Each turns what a client says into calls of the hub."""

import contextlib
import math
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs

import msgspec

from services.contract.live import (
    SUBPROTOCOL,
    CloseCode,
    Error,
    ErrorCode,
    LiveError,
    Moved,
    Ping,
    Pong,
    Rate,
    Subscribe,
    Token,
    TokenEnds,
    Unsubscribe,
    decode_client,
)
from services.gateway.hub import Hub, wall_clock
from services.gateway.outgoing import Outgoing, outgoing
from services.gateway.plotly import DEFAULT_POINTS, MAX_POINTS
from services.gateway.rates import rate_of
from services.gateway.websocket import Session, WebSocket

MAX_NAME: Final = 63
FORBIDDEN: Final = "the token does not name this dashboard"


class LiveEndpoint:
    """WebSocket /api/v1/live: docs/protocol.md, "Live protocol"."""

    subprotocols: Sequence[str] = (SUBPROTOCOL,)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def open(self, socket: WebSocket, query: str, subprotocol: str) -> Session:
        return _Live(self._hub, socket)


class _Live:
    __slots__ = ("_dashboards", "_hub", "_socket")

    def __init__(self, hub: Hub, socket: WebSocket) -> None:
        self._hub = hub
        self._socket = socket
        self._dashboards: tuple[str, ...] = ()
        self._tell_end()

    def received(self, text: bytes) -> None:
        try:
            message = decode_client(text)
        except LiveError as error:
            self._refuse("", str(error))
            return
        match message:
            case Subscribe():
                self._subscribe(message)
            case Unsubscribe(dashboard):
                if dashboard in self._dashboards:
                    self._leave(dashboard)
            case Token(token):
                self._socket.renew(token, self._renewed)
            case Ping():
                self._socket.send(outgoing(Pong(wall_clock())))
            case Rate(hz):
                if (rate := self._rate("", hz)) is not None:
                    for dashboard in self._dashboards:
                        self._hub.rate(self._socket, dashboard, rate)

    @property
    def watches(self) -> tuple[str, ...]:
        return self._dashboards

    def move(self, within_ms: int) -> None:
        self._socket.send(outgoing(Moved(within_ms)))

    def ended(self) -> None:
        for dashboard in self._dashboards:
            self._hub.unsubscribe(self._socket, dashboard)

    def _subscribe(self, message: Subscribe) -> None:
        if len(message.dashboard) > MAX_NAME:
            self._refuse("", f"a dashboard's name has {MAX_NAME} characters at most")
            return
        if (rate := self._rate(message.dashboard, message.hz)) is None:
            return
        if not self._socket.guest.right.sees(message.dashboard):
            self._refuse(message.dashboard, FORBIDDEN, "forbidden")
            return
        if message.dashboard not in self._dashboards:
            most = self._socket.sockets.door.dashboards
            if len(self._dashboards) >= most:
                self._refuse(message.dashboard, f"{most} dashboards at most on one socket")
                return
            self._dashboards = (*self._dashboards, message.dashboard)
        self._hub.subscribe(self._socket, message.dashboard, message.since, rate)

    def _rate(self, dashboard: str, hz: float) -> int | None:
        try:
            return rate_of(hz)
        except ValueError as error:
            self._refuse(dashboard, str(error))
            return None

    def _renewed(self, refused: str) -> None:
        """Another token counts, or does not; what it does not name is over."""
        if refused:
            self._refuse("", refused, "bad_token")
            return
        self._tell_end()
        for dashboard in self._dashboards:
            if not self._socket.guest.right.sees(dashboard):
                self._leave(dashboard)
                self._refuse(dashboard, FORBIDDEN, "forbidden")

    def _tell_end(self) -> None:
        ends_at = self._socket.guest.right.ends_at
        if ends_at < math.inf:
            self._socket.send(outgoing(TokenEnds(wall_clock(), int(ends_at * 1000))))

    def _leave(self, dashboard: str) -> None:
        self._dashboards = tuple(name for name in self._dashboards if name != dashboard)
        self._hub.unsubscribe(self._socket, dashboard)

    def _refuse(self, dashboard: str, reason: str, code: ErrorCode = "bad_message") -> None:
        self._socket.send(outgoing(Error(dashboard, code, reason)))


class PlotlyEndpoint:
    """WebSocket /api/v1/plotly: docs/protocol.md, "Plotly stream"."""

    subprotocols: Sequence[str] = ()

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def open(self, socket: WebSocket, query: str, subprotocol: str) -> Session:
        return _Plotly(self._hub, socket, query)


class _Plotly:
    __slots__ = ("_hub", "_key", "_socket")

    def __init__(self, hub: Hub, socket: WebSocket, query: str) -> None:
        self._hub = hub
        self._socket = socket
        self._key: tuple[str, str, int] | None = None
        fields = parse_qs(query)
        dashboard, panel = (fields.get(name, [""])[0] for name in ("dashboard", "panel"))
        points = fields.get("max_points", [str(DEFAULT_POINTS)])[0]
        if not dashboard or not panel or len(dashboard) > MAX_NAME:
            self._refuse("the query needs dashboard and panel, as in ?dashboard=host&panel=cpu&max_points=200")
        elif not (points.isascii() and points.isdigit() and len(points) <= 5 and 1 <= int(points) <= MAX_POINTS):
            self._refuse(f"max_points is {points[:40]!r}, expected 1 to {MAX_POINTS}")
        elif not socket.guest.right.sees(dashboard):
            self._refuse(FORBIDDEN, CloseCode.forbidden)
        else:
            self._key = dashboard, panel, int(points)
            hub.join(socket, *self._key)

    def received(self, text: bytes) -> None:
        """There is nothing to say here but another token."""
        with contextlib.suppress(LiveError):
            if isinstance(message := decode_client(text), Token):
                self._socket.renew(message.token, self._renewed)

    @property
    def watches(self) -> tuple[str, ...]:
        return self._key[:2] if self._key else ()

    def move(self, within_ms: int) -> None:
        """A stream begins anew wherever it is opened: there is nothing to hand over."""
        self._socket.go_away(within_ms)

    def ended(self) -> None:
        if self._key:
            self._hub.depart(self._socket, *self._key)

    def _renewed(self, refused: str) -> None:
        if refused:
            self._say(refused)
        elif self._key and not self._socket.guest.right.sees(self._key[0]):
            self._refuse(FORBIDDEN, CloseCode.forbidden)

    def _refuse(self, reason: str, code: CloseCode = CloseCode.bad_message) -> None:
        self._say(reason)
        self._socket.close(code, reason)

    def _say(self, reason: str) -> None:
        self._socket.send(Outgoing("plotly_error", msgspec.json.encode({"action": "error", "reason": reason})))
