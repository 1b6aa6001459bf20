"""Orders to leave, on the admin port: docs/operations.md, "Gateways". What they do is `departure`'s business."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.gateway.departure import Departure

MAX_BYTES: Final = 4_096


class DrainOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """end: whether the process ends afterwards."""

    end: bool = True


class ShedOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """per_second: None: as fast as a drain."""

    viewers: Annotated[int, msgspec.Meta(ge=1)]
    per_second: Annotated[float, msgspec.Meta(ge=0.01)] | None = None


Order = TypeVar("Order", DrainOrder, ShedOrder)


class OrderError(Exception):
    """An order that is not carried out: the status, and why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def routes(departure: Callable[[], Departure | None]) -> list[BaseRoute]:
    """departure: None until the gateway has started."""

    async def order(request: Request) -> Response:
        try:
            body = await _body(request)
            leaving = departure()
            if leaving is None:
                raise OrderError(HTTPStatus.SERVICE_UNAVAILABLE, "the gateway is still starting")
            return _json(_PERFORM[request.url.path](leaving, body), HTTPStatus.ACCEPTED)
        except OrderError as error:
            return _json({"error": {"code": error.status.name.lower(), "reason": str(error)}}, error.status)

    return [Route(path, order, methods=["POST"]) for path in _PERFORM]


def _drain(departure: Departure, body: bytes) -> dict[str, Any]:
    departure.drain(end=_decode(body or b"{}", DrainOrder).end)
    return departure.status()


def _shed(departure: Departure, body: bytes) -> dict[str, Any]:
    order = _decode(body, ShedOrder)
    if departure.draining:
        raise OrderError(HTTPStatus.CONFLICT, "this gateway is draining: everybody leaves")
    return departure.shed(order.viewers, order.per_second)


_PERFORM: Final = {"/drain": _drain, "/shed": _shed}


async def _body(request: Request) -> bytes:
    if "origin" in request.headers:  # a page in the browser of somebody who can reach this port
        raise OrderError(HTTPStatus.FORBIDDEN, "web pages give no orders here")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise OrderError(HTTPStatus.BAD_REQUEST, f"an order has {MAX_BYTES:,} bytes at most")
    return body


def _decode(body: bytes, kind: type[Order]) -> Order:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OrderError(HTTPStatus.BAD_REQUEST, f"not an order: {error}") from None


def _json(content: dict[str, Any], status: HTTPStatus) -> Response:
    return Response(msgspec.json.encode(content) + b"\n", status, media_type="application/json")
