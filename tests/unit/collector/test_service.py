"""The collector against servers of the test's own: what it posts, in which order, and what it does while nobody takes it."""

import asyncio
import contextlib
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from services.collector.service import Collector, create
from services.collector.settings import CollectorSettings
from services.runtime.service import StartupError


@dataclass
class Ingestor:
    """Answers posts as it is told to; remembers what it took."""

    port: int = 0
    answers: list[tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    metrics: str = ""
    arrived: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/samples"

    async def more(self, posts: int = 1) -> None:
        """Wait for so many more posts."""
        until = self.asked + posts
        while self.asked < until:
            self.arrived.clear()
            assert await asyncio.to_thread(self.arrived.wait, 10)


@pytest.fixture
def ingestor() -> Iterator[Ingestor]:
    found = Ingestor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            status, answer, headers = found.answers.pop(0) if found.answers else (202, {"rejected": 0, "errors": []}, {})
            (found.taken if status == 202 else found.refused).extend(json.loads(line) for line in body.splitlines())
            self.answer(status, json.dumps(answer).encode(), headers)
            found.asked += 1
            found.arrived.set()

        def do_GET(self) -> None:
            self.answer(200, found.metrics.encode(), {})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.asynccontextmanager
async def collecting(url: str, **settings: Any) -> AsyncIterator[Collector]:
    collector = create(CollectorSettings(url=url, host="h", interval_ms=50, **settings))
    await collector.start()
    task = asyncio.create_task(collector.run())
    try:
        yield collector
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await collector.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110, the service tells nobody when it changes
            await asyncio.sleep(0.01)


async def test_it_posts_what_this_machine_does(ingestor: Ingestor) -> None:
    async with collecting(ingestor.url) as collector:
        assert "nothing has been posted yet" in collector.readiness()
        await ingestor.more(4)
        await until(lambda: not collector.readiness())
        assert collector.liveness() == ""
    metrics = {sample["metric"] for sample in ingestor.taken}
    assert {"host_cpu_busy_ratio", "host_load", "host_memory_bytes", "host_processes", "host_filesystem_bytes"} <= metrics
    assert {sample["labels"]["host"] for sample in ingestor.taken} == {"h"}
    times = [sample["time"] for sample in ingestor.taken if sample["metric"] == "host_uptime_seconds"]
    assert times == sorted(set(times))


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_what_cannot_be_taken_now_is_posted_again_before_anything_else(ingestor: Ingestor, status: int) -> None:
    ingestor.answers = [(status, {"error": {"code": "x", "reason": "not now"}}, {"retry-after": "0"})] * 2
    async with collecting(ingestor.url) as collector:
        await ingestor.more(2)
        assert collector.readiness() == f"the ingestor does not take samples: {status} not now"
        await ingestor.more(2)
    times = [sample["time"] for sample in ingestor.taken if sample["metric"] == "host_uptime_seconds"]
    assert times == sorted(set(times))
    assert {sample["time"] for sample in ingestor.refused if sample["metric"] == "host_uptime_seconds"} <= set(times)


async def test_what_is_refused_for_good_is_counted_and_not_posted_again(ingestor: Ingestor) -> None:
    ingestor.answers = [
        (400, {"rejected": 5, "errors": [{"index": 0, "reason": "nonsense"}]}, {}),
        (202, {"rejected": 3, "errors": [{"index": 0, "reason": "too old"}]}, {}),
    ]
    async with collecting(ingestor.url) as collector:
        await ingestor.more(3)
    refused = collector.status()["samples"]
    assert isinstance(refused, dict)
    assert refused["refused"] > 3
    assert refused["accepted"] == len(ingestor.taken) - 3


async def test_while_nobody_listens_it_keeps_so_much_and_drops_the_oldest() -> None:
    async with collecting("http://127.0.0.1:1/", buffer_samples=60) as collector:
        await until(lambda: bool(collector.status()["dropped"]))
        status = collector.status()
        assert isinstance(status["buffered"], int)
        assert status["buffered"] <= 200
        assert "refused" in collector.readiness()


async def test_posts_may_be_compressed(ingestor: Ingestor) -> None:
    async with collecting(ingestor.url, gzip=True):
        await ingestor.more(2)
    assert ingestor.taken


async def test_other_services_metrics_are_posted_with_their_name(ingestor: Ingestor) -> None:
    ingestor.metrics = "# TYPE tideboard_gateway_viewers gauge\ntideboard_gateway_viewers 3\n# TYPE process_open_fds gauge\nprocess_open_fds 9\n"
    targets = (f"gateway=http://127.0.0.1:{ingestor.port}/metrics", "aggregator=http://127.0.0.1:1/metrics")
    async with collecting(ingestor.url, scrape=targets, scrape_ms=100) as collector:
        await ingestor.more(6)
        assert collector.status()["targets"] == {"gateway": "read", "aggregator": "[Errno 111] Connection refused"}
    found = {
        (sample["metric"], sample["labels"]["service"]): sample["value"]
        for sample in ingestor.taken
        if "service" in sample["labels"]
    }
    assert found == {
        ("tideboard_gateway_viewers", "gateway"): 3,
        ("tideboard_service_up_ratio", "gateway"): 1,
        ("tideboard_service_up_ratio", "aggregator"): 0,
    }


@pytest.mark.parametrize(
    "settings", [{"url": "nowhere"}, {"url": "ftp://x/"}, {"scrape": ("gateway",)}, {"scrape": ("gateway=/metrics",)}]
)
async def test_an_address_that_is_none_is_said_at_the_start(settings: dict[str, Any]) -> None:
    with pytest.raises(StartupError, match="is not an address like"):
        create(CollectorSettings(**settings))
