"""The admin server of every service: is it alive, can it work, what has it counted, how is it."""

import os
import time
from dataclasses import dataclass
from typing import Final

import orjson
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from services.runtime.http import HttpServer
from services.runtime.service import Service, TakesOrders
from services.runtime.settings import PORT, setting

_PORT: Final = "TIDEBOARD_ADMIN_PORT"
_ORDERS_PORT: Final = "TIDEBOARD_ADMIN_ORDERS_PORT"
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """Where /livez, /readyz, /metrics and /status are served."""

    host: str = setting("127.0.0.1", "TIDEBOARD_ADMIN_HOST", "Address of the admin server; it answers anyone who reaches it")
    port: int = setting(9100, _PORT, "Port of the admin server: /livez, /readyz, /metrics, /status", between=PORT)
    orders_port: int = setting(
        0, _ORDERS_PORT, "Port of 127.0.0.1 for orders (/drain, /shed, /hold, /resume); 0: on the admin port", between=PORT
    )


class AdminServer:
    """Answers for one service. Until `started` is set, the service is alive and not ready.

    Orders have a port of their own where whoever reads metrics must not give any.
    """

    def __init__(self, service: Service, settings: AdminSettings) -> None:
        self._service = service
        self._since = time.time()
        self.started = False
        orders = service.order_routes() if isinstance(service, TakesOrders) else []
        routes = [*self._routes(), *([] if settings.orders_port else orders)]
        self._http = HttpServer(Starlette(routes=routes), settings.host, settings.port, setting=_PORT)
        self._orders: HttpServer | None = None
        if settings.orders_port and orders:
            self._orders = HttpServer(Starlette(routes=orders), _LOOPBACK, settings.orders_port, setting=_ORDERS_PORT)

    @property
    def address(self) -> str:
        return f"http://{self._http.host}:{self._http.port}"

    async def start(self) -> None:
        await self._http.start()
        if self._orders:
            await self._orders.start()

    async def stop(self) -> None:
        if self._orders:
            await self._orders.stop(grace_s=0.2)
        await self._http.stop(grace_s=0.2)

    def _routes(self) -> list[BaseRoute]:
        return [
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            Route("/status", self._status),
        ]

    def _unready(self) -> str:
        return self._service.readiness() if self.started else "starting"

    async def _livez(self, _: Request) -> Response:
        return _probe(self._service.liveness())

    async def _readyz(self, _: Request) -> Response:
        return _probe(self._unready())

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), headers={"content-type": content_type})

    async def _status(self, _: Request) -> Response:
        unready, dead = self._unready(), self._service.liveness()
        status: dict[str, object] = {
            "service": self._service.name,
            "pid": os.getpid(),
            "since": int(self._since * 1000),
            "uptime_s": round(time.time() - self._since, 1),
            "ready": not unready,
            "live": not dead,
            "reason": dead or unready,
        }
        if self.started:
            status |= self._service.status()
        body = orjson.dumps(
            status, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
        )
        return Response(body, media_type="application/json")


def _probe(reason: str) -> Response:
    return PlainTextResponse(f"{reason or 'ok'}\n", status_code=503 if reason else 200)
