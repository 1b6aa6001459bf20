"""The ingestor's HTTP: reads requests, and turns what becomes of them into answers. Every error gets its status here."""

import asyncio
import time
from typing import Any, Final

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.ingestor import metrics
from services.ingestor.bodies import TooLargeError, UnsupportedError
from services.ingestor.intake import BusyError, Intake, Outcome
from services.ingestor.samples import BodyError

log = structlog.get_logger()

MAX_ERRORS: Final = 100  # in one answer
BODY_S: Final = 30.0  # for the whole body to arrive
RETRY_AFTER_S: Final = 1

_HELLO: Final = """This is Tideboard's ingestor. It takes samples, for instance:

  curl -H 'Content-Type: application/json' --data '{"metric": "room_temperature", "labels": {"room": "kitchen"}, "value": 21.5}' \\
    http://ADDRESS/api/v1/samples
"""
_STATUS: Final[dict[type[Exception], tuple[int, str]]] = {
    BodyError: (400, "malformed"),
    TimeoutError: (408, "slow_body"),
    TooLargeError: (413, "too_large"),
    UnsupportedError: (415, "unsupported"),
    BusyError: (503, "log_away"),
}


def application(intake: Intake) -> Starlette:
    """The routes of the ingestor."""

    async def samples(request: Request) -> Response:
        return await _answer(request, intake)

    return Starlette(
        routes=[Route("/", _hello), Route("/api/v1/samples", samples, methods=["POST"])],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


async def _answer(request: Request, intake: Intake) -> Response:
    started = time.perf_counter()
    try:
        response = _outcome(await _take(request, intake))
    except (*_STATUS,) as error:
        status, code = _STATUS[type(error)]
        response = _error(status, code, str(error) or f"the body did not arrive within {BODY_S:g} s")
    except ClientDisconnect:
        response = Response(status_code=400)
    metrics.REQUESTS.labels(str(response.status_code)).inc()
    metrics.REQUEST_SECONDS.observe(time.perf_counter() - started)
    return response


async def _take(request: Request, intake: Intake) -> Outcome:
    head = request.headers
    lines = intake.check(head.get("content-type", ""), head.get("content-length", ""))
    parts: list[bytes] = []
    with intake.reading() as reading:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                reading.add(len(part))
                parts.append(part)
        return await intake.take(b"".join(parts), lines, head.get("content-encoding", ""))


def _outcome(outcome: Outcome) -> Response:
    """202 when something was accepted, 400 when nothing was."""
    errors = [{"index": index, "reason": fault.reason} for index, fault in list(outcome.faults.items())[:MAX_ERRORS]]
    body: dict[str, Any] = {"accepted": outcome.accepted, "rejected": len(outcome.faults), "errors": errors}
    if len(outcome.faults) > MAX_ERRORS:
        body["errors_left_out"] = len(outcome.faults) - MAX_ERRORS
    if not outcome.accepted:
        reason = "no sample was usable" if outcome.faults else "there is no sample in the body"
        body["error"] = {"code": "nothing_usable", "reason": reason}
    return _json(202 if outcome.accepted else 400, body)


def _error(status: int, code: str, reason: str, headers: dict[str, str] | None = None) -> Response:
    if status == 503:
        headers = {"retry-after": str(RETRY_AFTER_S)}
    return _json(status, {"error": {"code": code, "reason": reason}}, headers)


def _json(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, "application/json")


async def _hello(request: Request) -> Response:
    return PlainTextResponse(_HELLO.replace("ADDRESS", request.url.netloc))


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    return _error(error.status_code, code, error.detail, dict(error.headers or {}))


async def _failed(request: Request, error: Exception) -> Response:
    log.error("a request failed", path=request.url.path, exc_info=error)
    metrics.REQUESTS.labels("500").inc()
    return _error(500, "failed", "the ingestor failed; its log says why")
