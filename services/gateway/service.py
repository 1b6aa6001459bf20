"""The gateway as a process: HTTP and WebSockets on one port, over one hub."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from starlette.routing import BaseRoute

from services.gateway import metrics
from services.gateway.access.door import Door
from services.gateway.access.keyring import Keyring
from services.gateway.app import application
from services.gateway.departure import Connections, Departure, check
from services.gateway.endpoints import LiveEndpoint, PlotlyEndpoint
from services.gateway.events import EventStreams
from services.gateway.hub import Hub
from services.gateway.memory import Memory
from services.gateway.orders import routes
from services.gateway.settings import AccessSettings, GatewaySettings, LeavingSettings, LimitSettings
from services.gateway.sockets import TOLD_EVERY_S, Sockets
from services.gateway.wall import Wall
from services.gateway.websocket import NOTSENT_BYTES, Endpoint, protocol
from services.runtime.bounds import Bounds
from services.runtime.garbage import Garbage
from services.runtime.http import HttpServer
from services.runtime.logs import Collapse
from services.transport.feed import connect
from services.transport.settings import RedisSettings

log = structlog.get_logger()

UNLIMITED_ACCEPTS_PER_S: Final = 500.0
"""How many connections a second gateways are taken to bear where no limit is set."""
GOODBYE_S: Final = 1.5  # for viewers to answer the close frame


class Gateway:
    """A Service. Ready once the registry has been read, and from then on: a gateway without Redis still shows last values.

    garbage: how Python's collector is set, where the process is this gateway's alone. clock: monotonic seconds, for what is told now and then.
    """

    name = "gateway"

    def __init__(
        self,
        settings: GatewaySettings,
        redis: RedisSettings,
        leaving: LeavingSettings | None = None,
        limits: LimitSettings | None = None,
        access: AccessSettings | None = None,
        garbage: Garbage | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._limits = limits or LimitSettings()
        self._access = access or AccessSettings()
        self._redis_settings = redis
        self._garbage = garbage
        self._clock = clock
        self._leaving = leaving or LeavingSettings()
        self.departure: Departure | None = None
        self._told = Collapse(TOLD_EVERY_S)

    async def start(self) -> None:
        self.keyring = Keyring(self._access) if self._access.auth == "jwt" else None
        if self.keyring:
            await self.keyring.start()
        door = Door(self._access, self._limits, self._settings.origins, self.keyring)
        self._redis = connect(self._redis_settings)
        self.hub = Hub(self._redis)
        endpoints: dict[str, Endpoint] = {"/api/v1/live": LiveEndpoint(self.hub), "/api/v1/plotly": PlotlyEndpoint(self.hub)}
        self.sockets = Sockets(door, limits=self._limits)
        self.streams = EventStreams()
        app = application(self.hub, Wall(self._settings.wall), self.streams, door)
        settings, limits = self._settings, self._limits
        self._http = HttpServer(
            app,
            settings.host,
            settings.port,
            bounds=Bounds(
                request_s=limits.request_s,
                keep_alive_s=limits.keep_alive_s,
                requests=limits.requests,
                connections=limits.connections,
            ),
            ws=protocol(self.sockets, endpoints),
            notsent_bytes=NOTSENT_BYTES,
            upgraded=metrics.HANDSHAKES.observe,
            refused=self._full,
            setting="TIDEBOARD_GATEWAY_PORT",
        )
        connections = Connections(self.sockets, self.streams)
        self.departure = Departure(connections, self._leaving, self._accepts_per_s, self._http.wind_down)
        await self._http.start()
        if self._garbage:
            self._garbage.begin()
        self._memory = Memory(lambda: len(self.sockets) + len(self.streams))
        log.info("viewers are served", address=f"http://{settings.host}:{self.port}/", port=self.port)

    def _full(self) -> None:
        """A connection was one too many."""
        metrics.REFUSED.labels("503").inc()
        if (held := self._told.admit("full", self._clock())) is not None:
            log.warning("too many connections", **({"repeated": held} if held else {}))

    @property
    def _accepts_per_s(self) -> float:
        return self._limits.accepts_per_s or UNLIMITED_ACCEPTS_PER_S

    @property
    def port(self) -> int:
        """The port that is served, also where 0 was asked for."""
        return self._http.port

    async def run(self) -> None:
        """Until it has been told to leave, and everybody has left."""
        departure = self.departure
        assert departure is not None, "started"  # noqa: S101
        async with asyncio.TaskGroup() as tasks:
            serving = [
                tasks.create_task(self.hub.run()),
                tasks.create_task(self.sockets.run()),
                tasks.create_task(self._memory.run()),
            ]
            if self.keyring:
                serving.append(tasks.create_task(self.keyring.run()))
            await departure.run()
            for task in serving:
                task.cancel()

    def leave(self) -> float:
        """Hand viewers over while `run` goes on; for how many seconds that may last. 0: `stop` is all there is."""
        return self.departure.drain() if self.departure and self._leaving.deadline_s else 0.0

    def order_routes(self) -> list[BaseRoute]:
        return routes(lambda: self.departure)

    async def stop(self) -> None:
        """Viewers are told when to come back; then the port is closed."""
        if self.departure is None:
            return
        self.departure.dismiss()
        await self.sockets.emptied(GOODBYE_S)
        await self._http.stop(grace_s=1.0)
        if self._garbage:
            self._garbage.end()
        with contextlib.suppress(OSError):
            await self._redis.aclose()

    def readiness(self) -> str:
        if self.departure and (leaves := self.departure.readiness()):
            return leaves
        if self.keyring and not self.keyring.keys:
            return f"no key for tokens could be read yet: {self.keyring.away}"
        if self.hub.throttle.full:
            return f"as many viewers as it can serve: ticks take {self.hub.throttle.busy:.0%} of the time"
        if self.hub.entries is not None:
            return ""
        away = self.hub.registry_away
        return f"the registry has not been read: {away}" if away else "the registry has not been read yet"

    def liveness(self) -> str:
        return ""

    def status(self) -> dict[str, Any]:
        leaving = self.departure.status() if self.departure else None
        address = f"{self._http.host}:{self._http.port}"
        tokens = self.keyring.status() if self.keyring else None
        return {
            "address": address, "sockets": len(self.sockets), "event_streams": len(self.streams), "leaving": leaving,
            "tokens": tokens, **self.hub.status(),
        }  # fmt: skip


def create(
    settings: GatewaySettings, redis: RedisSettings, leaving: LeavingSettings, limits: LimitSettings, access: AccessSettings
) -> Gateway:
    check(leaving)
    metrics.SOCKETS.set(0)
    metrics.DRAINING.set(0)
    metrics.THROTTLE.set(1)
    return Gateway(settings, redis, leaving, limits, access, Garbage(metrics.GC_PAUSE))
