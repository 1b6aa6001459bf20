"""An HTTP server inside our own event loop: uvicorn's protocols and start-up, without its signals and its polling loop."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from services.runtime.bounds import Arrivals, Bounds
from services.runtime.parting import PartingProtocol
from services.runtime.service import StartupError

_DATE_EVERY_S: Final = 1.0
_BACKLOG: Final = 4096


class HttpServer:
    """Serves an ASGI application from `start` to `stop`.

    port 0: a free one; `port` tells which. setting: named in the sentence about a port that is taken.
    notsent_bytes: how much the kernel takes of a connection beyond what it has sent (TCP_NOTSENT_LOWAT), 0: what it likes.
    upgraded: hears after how many seconds a connection became a WebSocket, where there are bounds.
    refused: hears of every connection that was one too many.
    bounds: of its connections; without them uvicorn's own, which are few, and `wind_down` does nothing. ws: uvicorn's WebSocket protocol class. state: the `state` of every scope, and the `app_state` of the ws class.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        bounds: Bounds | None = None,
        notsent_bytes: int = 0,
        upgraded: Callable[[float], None] | None = None,
        refused: Callable[[], None] | None = None,
        ws: type[asyncio.Protocol] | str | None = None,
        state: dict[str, Any] | None = None,
        setting: str = "",
    ) -> None:
        self.host = host
        self.port = port
        self._setting = setting
        self._notsent_bytes = notsent_bytes
        self._state = state if state is not None else {}
        self._arrivals = Arrivals(bounds, time.monotonic) if bounds else None
        if self._arrivals is not None:
            self._arrivals.upgraded = upgraded or self._arrivals.upgraded
            self._arrivals.refused = refused or self._arrivals.refused
        # uvicorn reads WEB_CONCURRENCY and FORWARDED_ALLOW_IPS where it is not told.
        config = uvicorn.Config(
            app, host, port, http=PartingProtocol if self._arrivals is None else self._arrivals.protocol(), ws="none" if ws is None else ws, lifespan="off", log_config=None, access_log=False,
            workers=1, proxy_headers=False, forwarded_allow_ips=[], server_header=False, backlog=_BACKLOG,
        )  # fmt: skip
        if bounds:
            config.timeout_keep_alive = bounds.keep_alive_s  # type: ignore[assignment]  # goes to call_later
        self._server = uvicorn.Server(config)
        self._date: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. StartupError where the port is taken or may not be used."""
        listener = self._listen()
        self.port = listener.getsockname()[1]
        config = self._server.config
        if not config.loaded:
            config.load()
        self._server.lifespan = config.lifespan_class(config)
        self._server.lifespan.state = self._state
        await self._server.on_tick(0)
        await self._server.startup(sockets=[listener])
        self._date = asyncio.create_task(self._keep_date())

    def wind_down(self) -> None:
        """From here on an answer is the last one on its connection, so that whoever asks again may be sent elsewhere."""
        if self._arrivals is not None:
            self._arrivals.last = True

    async def stop(self, grace_s: float = 1.0) -> None:
        """Take no more connections, let requests end for so many seconds, then cut the rest."""
        if self._date is None:
            return
        self._date.cancel()
        self._date = None
        self._server.config.timeout_graceful_shutdown = grace_s  # type: ignore[assignment]  # goes to asyncio.wait_for
        await self._server.shutdown()
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def _keep_date(self) -> None:
        """Renew the Date header once a second, and cut who is late; uvicorn's own loop would wake ten times as often."""
        while True:
            await asyncio.sleep(_DATE_EVERY_S)
            await self._server.on_tick(0)
            if self._arrivals is not None:
                self._arrivals.sweep()

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        except OSError as error:
            advice = f"; {self._setting} chooses another" if self._setting else ""
            if error.errno == errno.EADDRINUSE:
                raise StartupError(f"port {self.port} on {self.host} is taken by another process{advice}") from None
            reason = (error.strerror or str(error)).lower()
            raise StartupError(f"cannot listen on {self.host} port {self.port}: {reason}{advice}") from None
        if self._notsent_bytes:  # connections have it from their listener
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, self._notsent_bytes)
        return listener
