"""The gateway as a process: HTTP and WebSockets on one port, over one hub."""

import asyncio
import contextlib
from typing import Any, Final

import structlog

from services.gateway import metrics
from services.gateway.app import application
from services.gateway.endpoints import LiveEndpoint, PlotlyEndpoint
from services.gateway.hub import Hub
from services.gateway.settings import GatewaySettings
from services.gateway.wall import Wall
from services.gateway.websocket import Endpoint, Sockets
from services.runtime.http import HttpServer
from services.transport.feed import connect
from services.transport.settings import RedisSettings

log = structlog.get_logger()

DRAIN_S: Final = 1.5  # for viewers to answer the close frame


class Gateway:
    """A Service. Ready once the registry has been read, and from then on: a gateway without Redis still shows last values."""

    name = "gateway"

    def __init__(self, settings: GatewaySettings, redis: RedisSettings) -> None:
        self._settings = settings
        self._redis_settings = redis

    async def start(self) -> None:
        self._redis = connect(self._redis_settings)
        self.hub = Hub(self._redis)
        endpoints: dict[str, Endpoint] = {"/api/v1/live": LiveEndpoint(self.hub), "/api/v1/plotly": PlotlyEndpoint(self.hub)}
        self.sockets = Sockets(endpoints, self._settings.origins)
        app = application(self.hub, Wall(self._settings.wall))
        settings = self._settings
        self._http = HttpServer(app, settings.host, settings.port, ws=self.sockets.protocol(), setting="TIDEBOARD_GATEWAY_PORT")
        await self._http.start()
        log.info("viewers are served", address=f"http://{settings.host}:{self.port}/", port=self.port)

    @property
    def port(self) -> int:
        """The port that is served, also where 0 was asked for."""
        return self._http.port

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.hub.run())
            tasks.create_task(self.sockets.run())

    async def stop(self) -> None:
        """Viewers are told when to come back; then the port is closed."""
        if not hasattr(self, "_http"):
            return
        self.sockets.close_all()
        await self.sockets.emptied(DRAIN_S)
        await self._http.stop(grace_s=1.0)
        with contextlib.suppress(OSError):
            await self._redis.aclose()

    def readiness(self) -> str:
        if self.hub.entries is not None:
            return ""
        away = self.hub.registry_away
        return f"the registry has not been read: {away}" if away else "the registry has not been read yet"

    def liveness(self) -> str:
        return ""

    def status(self) -> dict[str, Any]:
        return {"address": f"{self._http.host}:{self._http.port}", "sockets": len(self.sockets), **self.hub.status()}


def create(settings: GatewaySettings, redis: RedisSettings) -> Gateway:
    metrics.SOCKETS.set(0)
    return Gateway(settings, redis)
