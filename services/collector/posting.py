"""Posting: what is buffered goes to the ingestor, oldest first, one request at a time, and patiently while it is away."""

import asyncio
import gzip
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import structlog

from services.collector import metrics
from services.collector.buffer import Backoff, Buffer
from services.collector.client import Answer, AwayError, Client

log = structlog.get_logger()

POST_S: Final = 15.0  # the ingestor answers within ten
BACKOFF_S: Final = (0.25, 5.0)
_LATER: Final = frozenset({408, 425, 429})  # and 5xx: the same request may be taken later
_GZIP_LEVEL: Final = 1


class Poster:
    """fault: why the last post was not taken, empty when it was. posted_ms: when one was taken last."""

    def __init__(self, url: str, compress: bool, buffer: Buffer) -> None:
        self._buffer = buffer
        self._client = Client(url, POST_S)
        self._headers = {"content-type": "application/x-ndjson"} | ({"content-encoding": "gzip"} if compress else {})
        self._compress = compress
        self._thread = ThreadPoolExecutor(1, "post")
        self._backoff = Backoff(*BACKOFF_S, random.random)
        self._more = asyncio.Event()
        self._under_way: asyncio.Task[float] | None = None
        self.fault = "nothing has been posted yet"
        self.accepted = 0
        self.refused = 0
        self.posted_ms = 0

    def wake(self) -> None:
        """There is more to post."""
        self._more.set()

    async def run(self) -> None:
        """Post whenever there is something, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while len(self._buffer):
                if (wait_s := await self.post()) > 0:
                    await asyncio.sleep(wait_s)

    async def post(self) -> float:
        """One request: how long to wait before the next one. Goes on when cancelled; `finish` waits for it."""
        self._under_way = asyncio.create_task(self._post())
        return await asyncio.shield(self._under_way)

    async def finish(self) -> None:
        """Let the request that is under way end, and post what is left, once, where somebody takes it."""
        if self._under_way:
            await self._under_way
        if len(self._buffer) and not self.fault:
            await self._post()

    async def _post(self) -> float:
        samples, body = self._buffer.take()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, body)
        except AwayError as error:
            return self._later("away", str(error), 0.0)
        if answer.status >= 500 or answer.status in _LATER:
            return self._later("later", _reason(answer), _retry_after(answer))
        self._done(samples, answer)
        return 0.0

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _ask(self, body: bytes) -> Answer:
        return self._client.ask("POST", gzip.compress(body, _GZIP_LEVEL) if self._compress else body, self._headers)

    def _later(self, outcome: str, reason: str, asked_s: float) -> float:
        self._buffer.failed()
        metrics.POSTS.labels(outcome).inc()
        if not self.fault:
            log.warning("the ingestor does not take samples, which are kept for now", reason=reason)
        self.fault = reason
        return self._backoff.failed(asked_s)

    def _done(self, samples: int, answer: Answer) -> None:
        """Taken, or refused for good; trying again would change nothing."""
        self._buffer.posted()
        self._backoff.succeeded()
        refused = samples if answer.status >= 300 else _refused(answer)
        self.accepted += samples - refused
        self.refused += refused
        metrics.POSTS.labels("taken" if answer.status < 300 else "refused").inc()
        metrics.SAMPLES.inc(samples - refused)
        metrics.REFUSED.inc(refused)
        if refused:
            log.warning("the ingestor refused samples", samples=refused, reason=_reason(answer))
        if answer.status >= 300:
            self.fault = _reason(answer)
            return
        if self.fault:
            log.info("the ingestor takes samples", kept=self._buffer.samples)
        self.fault = ""
        self.posted_ms = int(time.time() * 1000)


class _Body(msgspec.Struct):
    """The part of the ingestor's answer that matters here."""

    rejected: int = 0
    errors: list[dict[str, object]] = []
    error: dict[str, object] | None = None


def _parse(answer: Answer) -> _Body:
    try:
        return msgspec.json.decode(answer.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Body()


def _refused(answer: Answer) -> int:
    return _parse(answer).rejected


def _reason(answer: Answer) -> str:
    body = _parse(answer)
    first = body.error or next(iter(body.errors), {})
    return f"{answer.status} {first.get('reason', '')}".strip()


def _retry_after(answer: Answer) -> float:
    asked = answer.headers.get("retry-after", "")
    return float(asked) if asked.isdigit() and int(asked) <= 60 else 0.0
