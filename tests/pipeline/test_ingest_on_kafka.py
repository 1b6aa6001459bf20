"""The ingestor on Apache Kafka, whose broker comes back with what it has acknowledged."""

import asyncio
import contextlib
import http.client
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from services.contract.batch import decode
from services.contract.series import parse_series_key
from services.ingestor.service import Ingestor, create
from services.ingestor.settings import IngestorSettings
from services.transport.log import LogReader
from services.transport.settings import KafkaSettings, RedisSettings
from tests.kafka.server import Kafka, empty

PATIENCE_S = 60
CLIENTS = 4
THE_END_MS = 1 << 60


@pytest.fixture
async def kafka(kafka_server: Kafka) -> KafkaSettings:
    """A log that nobody has begun."""
    await empty(kafka_server)
    return KafkaSettings(bootstrap_servers=kafka_server.bootstrap)


@contextlib.asynccontextmanager
async def ingesting(kafka: KafkaSettings, timeout_ms: int) -> AsyncIterator[Ingestor]:
    """An ingestor in this process, ready."""
    ingestor = create(IngestorSettings(port=0, timeout_ms=timeout_ms, sources=False), kafka, RedisSettings())
    await ingestor.start()
    try:
        await ready(ingestor)
        yield ingestor
    finally:
        await ingestor.stop()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110, asked again and again, as a kubelet does
            await asyncio.sleep(0.01)


async def ready(ingestor: Ingestor) -> None:
    await until(lambda: not ingestor.readiness())


async def post(ingestor: Ingestor, *metrics: str) -> int:
    """The status of a request with one sample of each metric."""
    body = json.dumps([{"metric": metric, "labels": {"at": "here"}, "value": 1} for metric in metrics])
    return await asyncio.to_thread(_post, ingestor.http.port, body)


def _post(port: int, body: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("POST", "/api/v1/samples", body)
        return connection.getresponse().status
    finally:
        connection.close()


async def metrics_in(kafka: KafkaSettings) -> Counter[str]:
    """How many samples of each metric the log has, as a reader counts them that takes each sequence once."""
    reader = LogReader(kafka)
    past: dict[tuple[int, int], int] = {}
    found: Counter[str] = Counter()
    await reader.start()
    partitions = range(await reader.partitions())
    reader.assign(dict.fromkeys(partitions, 0))
    ends = await reader.offsets_at(THE_END_MS, partitions)
    left = sum(ends.values())
    while left:
        for record in await reader.poll(1_000):
            left -= 1
            batch = decode(record.value)
            if batch.sequence > past.get((batch.instance, record.partition), -1):
                past[batch.instance, record.partition] = batch.sequence
                found.update(parse_series_key(batch.keys[series])[0] for series in batch.series.tolist())
    await reader.stop()
    return found


async def test_what_is_posted_is_in_the_log_when_it_is_answered(kafka: KafkaSettings) -> None:
    names = [f"m{i}" for i in range(50)]
    async with ingesting(kafka, 10_000) as ingestor:
        assert await post(ingestor, *names) == 202
        assert await metrics_in(kafka) == Counter(names)


async def test_posts_wait_for_a_broker_that_was_killed_and_nothing_acknowledged_is_lost(
    kafka_server: Kafka, kafka: KafkaSettings
) -> None:
    stop = asyncio.Event()

    async def client(number: int) -> list[str]:
        taken = [f"c{number}"]
        while not stop.is_set():
            assert await post(ingestor, taken[-1], "shared") == 202
            taken.append(f"c{number}_{len(taken)}")
        return taken[:-1]

    async with ingesting(kafka, PATIENCE_S * 1_000) as ingestor:
        clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
        await until(lambda: ingestor._intake.accepted > 10 * CLIENTS)
        kafka_server.kill()
        await until(lambda: ingestor._sender.state == "connecting")
        assert ingestor.readiness() == ""  # it answers, though late
        waiting = asyncio.create_task(post(ingestor, "posted_in_the_dark"))
        await until(lambda: len(ingestor._sender._answers) == CLIENTS + 1)
        assert not waiting.done()
        kafka_server.launch()
        assert await waiting == 202
        stop.set()
        taken = [name for names in await asyncio.gather(*clients) for name in names]
    found = await metrics_in(kafka)
    assert found.pop("shared") == len(taken)
    assert found == Counter([*taken, "posted_in_the_dark"])


async def test_a_post_that_waited_too_long_is_a_503_and_what_was_answered_before_is_there(
    kafka_server: Kafka, kafka: KafkaSettings
) -> None:
    async def taken(name: str) -> str:
        """Post until one is taken: the name that was. A busy machine may need longer than the ingestor is to wait."""
        for number in itertools.count():
            if await post(ingestor, f"{name}_{number}") == 202:
                return f"{name}_{number}"
        raise AssertionError

    async with ingesting(kafka, 300) as ingestor:
        before = await taken("before")
        kafka_server.kill()
        assert await post(ingestor, "too_late") == 503
        kafka_server.launch()
        await ready(ingestor)
        after = await taken("after")
        assert ingestor.status()["waiting"] == {"bytes": 0, "records": 0}
    found = await metrics_in(kafka)
    assert (found[before], found[after]) == (1, 1)
    assert not found["too_late"], "nobody waited for it any more"
