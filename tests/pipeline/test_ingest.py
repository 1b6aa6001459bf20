"""The ingestor against a real broker: what it answers, what is in the log afterwards, and what a lost broker costs (nothing)."""

import asyncio
import contextlib
import gzip
import http.client
import itertools
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cramjam
import pytest

from services.contract.batch import decode
from services.contract.series import Kind, parse_series_key, partition_of
from services.ingestor import http as ingestor_http
from services.ingestor.service import Ingestor, create
from services.ingestor.settings import IngestorSettings
from services.local.embedded import free_port
from services.transport.log import LogReader
from services.transport.log_topics import ensure_topics
from services.transport.settings import KafkaSettings, RedisSettings
from tests.servers import Broker

ROOT = Path(__file__).parent.parent.parent
SETTINGS = IngestorSettings(port=0, sources=False)


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


def ask(port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, json.loads(content) if "json" in found.get("content-type", "") else content, found)
    finally:
        connection.close()


@dataclass(frozen=True)
class World:
    """An ingestor in this process and its log."""

    ingestor: Ingestor
    kafka: KafkaSettings
    broker: Broker

    async def post(self, body: object, **headers: str) -> Answer:
        """Post bytes as they are, anything else as JSON. Headers are written content_type."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(ask, self.ingestor.http.port, "POST", "/api/v1/samples", data, named)

    async def ready(self) -> None:
        """Until the log accepts."""
        async with asyncio.timeout(10):
            while self.state != "sending":  # noqa: ASYNC110, nobody tells
                await asyncio.sleep(0.01)
        assert self.ingestor.readiness() == ""

    @property
    def state(self) -> object:
        log = self.ingestor.status()["log"]
        assert isinstance(log, dict)
        return log["state"]

    async def log(self) -> list[tuple[int, str, dict[str, str], str, int, float]]:
        """All samples there are: partition, metric, labels, kind, time, value."""
        return await samples_in(self.kafka)


async def samples_in(kafka: KafkaSettings) -> list[tuple[int, str, dict[str, str], str, int, float]]:
    """All samples of a log, as a reader counts them that ignores sequences of an instance that it is past."""
    reader = LogReader(kafka)
    found = []
    past: dict[tuple[int, int], int] = {}
    reader.assign(dict.fromkeys(range(await reader.partitions()), 0))
    while records := await reader.poll(300):
        for record in records:
            batch = decode(record.value)
            if batch.sequence <= past.get((batch.instance, record.partition), -1):
                continue
            past[batch.instance, record.partition] = batch.sequence
            for series, at, value in zip(batch.series.tolist(), batch.times.tolist(), batch.values.tolist(), strict=True):
                metric, labels = parse_series_key(batch.keys[series])
                found.append((record.partition, metric, labels, Kind(batch.kinds[series]).name, at, value))
    await reader.stop()
    return found


Make = Callable[..., "contextlib.AbstractAsyncContextManager[World]"]


@pytest.fixture
def make(broker: Broker) -> Make:
    """A world with an empty log; settings of the ingestor by name."""
    broker.restart()

    @contextlib.asynccontextmanager
    async def world(**changed: Any) -> AsyncIterator[World]:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, fetch_wait_ms=50, request_timeout_ms=2000)
        found = World(create(replace(SETTINGS, **changed), kafka, RedisSettings()), kafka, broker)
        await found.ingestor.start()
        try:
            yield found
        finally:
            await found.ingestor.stop()

    return world


@pytest.fixture
async def world(make: Make) -> AsyncIterator[World]:
    async with make() as found:
        await found.ready()
        yield found


JSON = "application/json"


async def test_what_is_posted_is_in_the_log_as_it_was_sent_and_where_it_belongs(world: World) -> None:
    now = int(time.time() * 1000)
    sent = [
        {"metric": f"m{i % 7}", "labels": {"i": str(i % 11)}, "value": i / 4, "time": now - i, "kind": kind}
        for i in range(60)
        for kind in ("gauge", "counter", "delta", "distribution")[i % 4 :][:1]
    ]
    answer = await world.post(sent, content_type=JSON)
    assert (answer.status, answer.body) == (202, {"accepted": 60, "rejected": 0, "errors": []})
    found = await world.log()
    wanted = [(one["metric"], one["labels"], one["kind"], one["time"], one["value"]) for one in sent]
    assert sorted(map(repr, (one[1:] for one in found))) == sorted(map(repr, wanted))
    for partition, metric, labels, *_ in found:
        key = metric.encode() + b"\xff" + b"".join(f"{k}".encode() + b"\xfe" + v.encode() + b"\xff" for k, v in labels.items())
        assert partition == partition_of(key, 4)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"metric":"a","value":1}', {}),
        (b'{"metric":"a","value":1}', {"content_type": "application/json; charset=utf-8"}),
        (b'[{"metric":"a","value":1}]', {"content_type": JSON}),
        (b'{"metric":"a","value":1}\n', {"content_type": "application/x-ndjson"}),
        (gzip.compress(b'{"metric":"a","value":1}', mtime=0), {"content_type": JSON, "content_encoding": "gzip"}),
        (bytes(cramjam.zstd.compress(b'[{"metric":"a","value":1}]')), {"content_type": JSON, "content_encoding": "zstd"}),
    ],
)
async def test_every_form_of_a_body_is_taken(world: World, body: bytes, headers: dict[str, str]) -> None:
    before = int(time.time() * 1000)
    assert (await world.post(body, **headers)).status == 202
    ((_, metric, labels, kind, at, value),) = await world.log()
    assert (metric, labels, kind, value) == ("a", {}, "gauge", 1.0)
    assert before <= at <= int(time.time() * 1000)


async def test_one_bad_sample_is_named_and_the_others_are_taken(world: World) -> None:
    answer = await world.post(
        [{"metric": "a", "value": 1}, {"metric": "a", "value": "x"}, {"metric": "b", "value": 2, "time": 5}]
    )
    assert answer.status == 202
    assert (answer.body["accepted"], answer.body["rejected"]) == (1, 2)
    assert [error["index"] for error in answer.body["errors"]] == [1, 2]
    assert answer.body["errors"][0]["reason"] == 'value is the string "x", expected a number'
    assert len(await world.log()) == 1
    assert world.ingestor.status()["samples"] == {"accepted": 1, "rejected": {"value": 1, "time": 1}}


async def test_errors_beyond_the_hundredth_are_counted_and_not_listed(world: World) -> None:
    answer = await world.post([{"metric": "", "value": 1}] * 130 + [{"metric": "a", "value": 1}])
    assert answer.status == 202
    assert (answer.body["rejected"], len(answer.body["errors"]), answer.body["errors_left_out"]) == (130, 100, 30)


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"", {}, 400, "the body is empty"),
        (b"[]", {}, 400, "there is no sample in the body"),
        (b'{"metric":"","value":1}', {}, 400, "no sample was usable"),
        (b'[{"metric":', {}, 400, "JSON is malformed: Input data was truncated at byte 11 (line 1, column 12)"),
        (b"nonsense", {"content_encoding": "gzip"}, 400, "the body is not gzip"),
        (b"nonsense", {"content_encoding": "zstd"}, 400, "the body is not zstd"),
        (b"{}", {"content_type": "text/csv"}, 415, "text/csv is not taken"),
        (b"{}", {"content_type": "application/json; charset=latin-1"}, 415, "latin-1 is not taken"),
        (b"{}", {"content_encoding": "br"}, 415, "br is not taken"),
        (b" " * ((8 << 20) + 1), {}, 413, "more than 8388608 bytes (TIDEBOARD_INGESTOR_MAX_BODY_BYTES)"),
        (
            gzip.compress(bytes((64 << 20) + 1), mtime=0),
            {"content_encoding": "gzip"},
            413,
            "more than 67108864 bytes after decompression (TIDEBOARD_INGESTOR_MAX_DECODED_BYTES)",
        ),
        (
            bytes(cramjam.zstd.compress(bytes(1 << 28))),
            {"content_encoding": "zstd"},
            413,
            "more than 67108864 bytes after decompression (TIDEBOARD_INGESTOR_MAX_DECODED_BYTES)",
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else None,
)
async def test_what_cannot_be_used_is_refused_with_the_reason(
    world: World, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = await world.post(body, **headers)
    assert answer.status == status
    assert reason in answer.body["error"]["reason"]
    assert await world.log() == []


async def test_other_paths_and_methods_are_refused_in_json(world: World) -> None:
    port = world.ingestor.http.port
    missing = await asyncio.to_thread(ask, port, "GET", "/api/v1/nothing")
    wrong = await asyncio.to_thread(ask, port, "GET", "/api/v1/samples")
    hello = await asyncio.to_thread(ask, port, "GET", "/")
    assert (missing.status, missing.body["error"]["code"]) == (404, "not_found")
    assert (wrong.status, wrong.body["error"]["code"], wrong.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert hello.status == 200
    assert b"curl" in hello.body


async def test_a_body_in_pieces_without_a_length_has_the_same_limit(make: Make) -> None:
    async with make(max_body_bytes=1000) as world:
        await world.ready()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.ingestor.http.port)
        writer.write(b"POST /api/v1/samples HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            writer.write(b"64\r\n" + b" " * 100 + b"\r\n")
        await writer.drain()
        assert b" 413 " in await reader.readline()
        writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestor_http, "BODY_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.ingestor.http.port)
    writer.write(b"POST /api/v1/samples HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
    assert b" 408 " in await reader.readline()
    writer.close()


async def test_a_client_that_goes_away_in_the_middle_of_a_body_leaves_nothing_behind(world: World) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", world.ingestor.http.port)
    writer.write(b"POST /api/v1/samples HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[1234")
    await writer.drain()
    async with asyncio.timeout(10):
        while world.ingestor.status()["waiting"] != {"bytes": 5, "records": 0}:  # noqa: ASYNC110, nobody tells
            await asyncio.sleep(0.01)
        writer.close()
        while world.ingestor.status()["waiting"] != {"bytes": 0, "records": 0}:  # noqa: ASYNC110, nobody tells
            await asyncio.sleep(0.01)
    assert (await world.post(b'{"metric":"a","value":1}')).status == 202


async def post_on(world: World, stop: asyncio.Event, worker: int) -> list[str]:
    """Post one sample after the other: the names of those that were answered 202."""
    taken = []
    for number in range(100_000):
        if stop.is_set():
            break
        name = f"w{worker}_{number}"
        answer = await world.post([{"metric": name, "value": number}, {"metric": "shared", "labels": {"n": name}, "value": 1}])
        assert answer.status == 202, answer
        taken.append(name)
    return taken


@contextlib.asynccontextmanager
async def load(world: World) -> AsyncIterator[list[str]]:
    """Four clients post for as long as the block lasts; afterwards the list holds what was answered 202."""
    stop, taken = asyncio.Event(), list[str]()
    workers = [asyncio.create_task(post_on(world, stop, worker)) for worker in range(4)]
    try:
        yield taken
    finally:
        stop.set()
        for names in await asyncio.gather(*workers):
            taken += names


async def test_a_broker_that_is_replaced_on_order_costs_nothing_that_was_accepted(world: World) -> None:
    before: list[Any] = []
    async with load(world) as taken:
        for _ in range(2):
            await asyncio.sleep(0.2)
            await world.ingestor._sender.hold()
            assert "held" in world.ingestor.readiness()
            before += await world.log()
            await asyncio.to_thread(world.broker.restart)
            await asyncio.sleep(0.1)
            assert await world.ingestor._sender.resume(5)
            assert world.ingestor.readiness() == ""
    # Samples of the logs that are gone were read before their end, by whoever gave the orders.
    counts = Counter(metric for _, metric, *_ in [*before, *(await world.log())] if metric != "shared")
    assert len(taken) > 20
    assert set(taken) <= set(counts)
    assert set(counts.values()) == {1}


async def test_a_broker_that_dies_is_survived_without_orders(world: World) -> None:
    async with load(world) as taken:
        await asyncio.sleep(0.2)
        world.broker.kill()
        await asyncio.sleep(0.3)
        assert world.state == "connecting"
        assert (world.ingestor.readiness(), world.ingestor.liveness()) == ("", "")
        await asyncio.to_thread(world.broker.start)
        await world.ready()
        await asyncio.sleep(0.3)
    found = Counter(metric for _, metric, *_ in await world.log() if metric != "shared")
    # The old log is gone with the broker; everything since is there, once.
    assert set(found.values()) == {1}
    newest = {name.split("_")[0]: name for name in taken}
    assert set(newest.values()) <= set(found)


async def test_a_log_that_does_not_answer_in_time_is_a_503_and_what_was_given_up_is_not_sent_later(make: Make) -> None:
    async with make(timeout_ms=200) as world:
        await world.ready()
        world.broker.kill()
        answer = await world.post([{"metric": "late", "value": 1}])
        assert world.state == "connecting"
        assert world.ingestor.readiness() == ""  # or nobody would be there to answer
        await asyncio.to_thread(world.broker.start)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.body["error"]["code"] == "log_away"
        assert "200 ms" in answer.body["error"]["reason"]
        await world.ready()
        assert (await world.post([{"metric": "next", "value": 1}])).status == 202
        assert [metric for _, metric, *_ in await world.log()] == ["next"]
        assert world.ingestor.status()["waiting"] == {"bytes": 0, "records": 0}


async def test_an_ingestor_without_a_log_starts_says_so_and_takes_samples_when_it_is_there(make: Make, broker: Broker) -> None:
    broker.kill()
    try:
        async with make() as world:
            answer = await world.post([{"metric": "a", "value": 1}])
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "no connection to" in answer.body["error"]["reason"]
            assert "no connection to" in world.ingestor.readiness()
            await asyncio.to_thread(broker.start)
            await world.ready()
            assert (await world.post([{"metric": "a", "value": 1}])).status == 202
    finally:
        broker.restart()


async def test_more_than_may_wait_is_a_503(make: Make) -> None:
    async with make(max_waiting_bytes=20_000, timeout_ms=1000) as world:
        await world.ready()
        await world.ingestor._sender.hold()
        body = [{"metric": f"m{i}", "value": 1} for i in range(100)]
        answers = await asyncio.gather(*(world.post(body) for _ in range(12)))
        reasons = [answer.body["error"]["reason"] for answer in answers]
        assert {answer.status for answer in answers} == {503}
        assert "too much is waiting for the log" in reasons
        assert any("not acknowledged" in reason for reason in reasons)
        assert await world.ingestor._sender.resume(5)
        assert (await world.post(body)).status == 202


async def test_a_log_with_other_partitions_gets_nothing_that_was_meant_for_the_old_ones(world: World) -> None:
    await world.ingestor._sender.hold()
    waiting = asyncio.create_task(world.post([{"metric": f"old{i}", "value": 1} for i in range(20)]))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(world.broker.restart)
    await ensure_topics(replace(world.kafka, partitions=7))
    assert await world.ingestor._sender.resume(5)
    assert (await waiting).status == 503
    assert (await world.post([{"metric": f"new{i}", "value": 1} for i in range(20)])).status == 202
    found = await world.log()
    assert all(partition == partition_of(metric.encode() + b"\xff", 7) for partition, metric, *_ in found)
    assert sorted(metric for _, metric, *_ in found) == sorted(f"new{i}" for i in range(20))


@contextlib.asynccontextmanager
async def running(kafka: KafkaSettings) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, int]]:
    """An ingestor as a process of its own, ready; its port and its admin port."""
    port, admin = free_port(), free_port()
    flags = f"--ingestor-port {port} --admin-port {admin} --kafka-bootstrap-servers {kafka.bootstrap_servers} --parent {os.getpid()}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services", "ingestor", *flags.split(), cwd=ROOT)
    try:
        async with asyncio.timeout(15):
            while True:
                with contextlib.suppress(OSError):
                    if (await asyncio.to_thread(ask, admin, "GET", "/readyz")).status == 200:
                        break
                await asyncio.sleep(0.05)
        yield process, port, admin
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_process_that_is_told_to_stop_loses_nothing_that_it_accepted(broker: Broker) -> None:
    broker.restart()
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, fetch_wait_ms=50)

    def post(port: int, name: str) -> str | None:
        try:
            answer = ask(port, "POST", "/api/v1/samples", json.dumps({"metric": name, "value": 1}).encode())
        except (OSError, http.client.HTTPException):
            return None
        return name if answer.status == 202 else None

    taken, enough = list[str](), asyncio.Event()

    async def client(port: int, number: int) -> None:
        for n in itertools.count():
            if not (name := await asyncio.to_thread(post, port, f"c{number}_{n}")):
                return
            taken.append(name)
            if len(taken) == 50:
                enough.set()

    async with running(kafka) as (process, port, _):
        clients = [asyncio.create_task(client(port, number)) for number in range(6)]
        await asyncio.wait_for(enough.wait(), 10)
        process.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients)
        assert await asyncio.wait_for(process.wait(), 6) == 0
    found = Counter(metric for _, metric, *_ in await samples_in(kafka))
    assert set(taken) <= set(found)
    assert set(found.values()) == {1}


async def test_hold_and_resume_are_routes_of_the_admin_server(broker: Broker) -> None:
    broker.restart()
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, fetch_wait_ms=50)
    async with running(kafka) as (_, port, admin):
        held = await asyncio.to_thread(ask, admin, "POST", "/hold")
        assert (held.status, held.body) == (200, {"state": "held"})
        assert (await asyncio.to_thread(ask, admin, "GET", "/readyz")).status == 503
        waiting = asyncio.create_task(asyncio.to_thread(ask, port, "POST", "/api/v1/samples", b'{"metric":"held","value":1}'))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(broker.restart)
        assert not waiting.done()
        resumed = await asyncio.to_thread(ask, admin, "POST", "/resume")
        assert (resumed.status, resumed.body["state"]) == (200, "sending")
        assert (await waiting).status == 202
        assert [metric for _, metric, *_ in await samples_in(kafka)] == ["held"]
        status = await asyncio.to_thread(ask, admin, "GET", "/status")
        assert status.body["samples"]["accepted"] == 1
