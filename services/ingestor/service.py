"""The ingestor as a process sees it: HTTP server, intake, sender, bridges, and the two orders of whoever replaces the broker."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.ingestor import metrics
from services.ingestor.http import application
from services.ingestor.intake import Intake
from services.ingestor.outbox import Limits, Outbox
from services.ingestor.sender import Sender
from services.ingestor.settings import PORT_VARIABLE, IngestorSettings
from services.ingestor.sources.bridges import OFF, Bridges
from services.runtime.http import HttpServer
from services.transport.feed import connect
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings, RedisSettings

log = structlog.get_logger()

DRAIN_S: Final = 2.5  # for requests that are being answered; a process has four seconds to stop
FLUSH_S: Final = 1.0
RESUME_S: Final = 8.0


def create(settings: IngestorSettings, kafka: KafkaSettings, redis: RedisSettings) -> "Ingestor":
    """The service."""
    bridges = Bridges(settings, kafka, connect(redis)) if settings.sources else None
    return Ingestor(settings, lambda on_break: LogWriter(kafka, on_break), bridges)


class Ingestor:
    """Ready from when the log accepts for the first time. bridges: None where sources are not read here."""

    name = "ingestor"

    def __init__(
        self,
        settings: IngestorSettings,
        make_writer: Callable[[Callable[[], None]], LogWriter],
        bridges: Bridges | None = None,
    ) -> None:
        self._bridges = bridges
        self._bridging: asyncio.Task[None] | None = None
        self._outbox = Outbox(secrets.randbits(64), Limits(linger_s=settings.linger_ms / 1000))
        self._sender = Sender(self._outbox, make_writer)
        self._intake = Intake(settings, self._outbox, self._sender)
        self.http = HttpServer(application(self._intake), settings.host, settings.port, setting=PORT_VARIABLE)
        self._sending: asyncio.Task[None] | None = None
        metrics.WAITING_BYTES.set_function(lambda: self._intake.waiting)
        metrics.WAITING_RECORDS.set_function(lambda: self._outbox.records)
        metrics.SERIES.set_function(lambda: self._intake.known_series)

    async def start(self) -> None:
        await self.http.start()
        self._sending = self._sender.start()
        if self._bridges is not None:
            self._bridging = asyncio.create_task(self._bridges.run())

    async def run(self) -> None:
        if self._sending:
            await asyncio.shield(self._sending)

    async def stop(self) -> None:
        await asyncio.gather(self.http.stop(DRAIN_S), self._stop_bridges())
        if lost := await self._sender.stop(FLUSH_S):
            log.warning("stopped with records that the log did not take; their requests were not answered 2xx", records=lost)

    async def _stop_bridges(self) -> None:
        if self._bridges is not None and self._bridging is not None:
            self._bridging.cancel()
            await asyncio.gather(self._bridging, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._bridges.stop()

    def readiness(self) -> str:
        """While a log that was reached is away, requests get 503 and when to come back: were no ingestor ready, connections would be refused instead."""
        state = self._sender.state
        if state == "sending" or (state == "connecting" and self._sender.partitions):
            return ""
        return f"{state}: {self._sender.fault}" if self._sender.fault else state

    def liveness(self) -> str:
        for task, who in ((self._sending, "the sender has"), (self._bridging, "the bridges of sources have")):
            if task is not None and task.done():
                return f"{who} ended"
        return ""

    def status(self) -> dict[str, object]:
        return {
            "samples": {"accepted": self._intake.accepted, "rejected": self._intake.rejected},
            "waiting": {"bytes": self._intake.waiting, "records": self._outbox.records},
            "log": {
                "state": self._sender.state,
                "fault": self._sender.fault,
                "lineage": self._sender.lineage,
                "partitions": self._sender.partitions,
                "acknowledged": self._sender.acknowledged_ms,
            },
            "sources": self._bridges.status() if self._bridges is not None else OFF,
        }

    def order_routes(self) -> list[BaseRoute]:
        """`hold`: 200 when nothing is sent any more. `resume`: 200 when the log accepts again, 503 when it does not."""
        return [Route("/hold", self._hold, methods=["POST"]), Route("/resume", self._resume, methods=["POST"])]

    async def _hold(self, _: Request) -> Response:
        await asyncio.gather(self._sender.hold(), *([self._bridges.hold()] if self._bridges is not None else []))
        return JSONResponse({"state": self._sender.state})

    async def _resume(self, _: Request) -> Response:
        resumed = await self._sender.resume(RESUME_S)
        if self._bridges is not None:
            self._bridges.resume()
        return JSONResponse({"state": self._sender.state, "fault": self._sender.fault}, 200 if resumed else 503)
