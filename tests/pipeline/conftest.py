"""A log and a feed for the tests of the pipeline. A test that needs another server of its own overrides `valkey` or `kafka`; the rest follows."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.transport.log import LogReader
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings, RedisSettings
from tests.certificates import Certificates, make
from tests.kafka.server import Kafka, empty
from tests.pipeline.world import Log, feed, writing
from tests.servers import Broker, Valkey, running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def kafka(broker: Broker) -> KafkaSettings:
    """An empty log on the embedded broker."""
    broker.restart()
    return KafkaSettings(bootstrap_servers=broker.bootstrap, fetch_wait_ms=50)


@pytest.fixture(params=["tansu", "kafka"])
async def either_kafka(request: pytest.FixtureRequest) -> AsyncIterator[KafkaSettings]:
    """A log that nobody has begun, on either kind of broker."""
    if request.param == "kafka":
        shared: Kafka = request.getfixturevalue("kafka_server")
        await empty(shared)
        yield KafkaSettings(bootstrap_servers=shared.bootstrap)
    else:
        with running(Broker()) as broker:
            yield KafkaSettings(bootstrap_servers=broker.bootstrap, fetch_wait_ms=50)


@pytest.fixture
def settings(valkey: Valkey) -> RedisSettings:
    return RedisSettings(url=valkey.url)


@pytest.fixture
async def redis(settings: RedisSettings) -> AsyncIterator[Redis]:
    """An empty feed."""
    async with feed(settings) as connected:
        await connected.flushall()
        yield connected


@pytest.fixture
async def log(kafka: KafkaSettings) -> AsyncIterator[Log]:
    async with writing(kafka) as written:
        yield written


@pytest.fixture
async def writer(kafka: KafkaSettings) -> AsyncIterator[LogWriter]:
    writer = LogWriter(kafka)
    await writer.start()
    yield writer
    await writer.abandon()


@pytest.fixture
async def reader(kafka: KafkaSettings) -> AsyncIterator[LogReader]:
    reader = LogReader(kafka)
    yield reader
    await reader.stop()
