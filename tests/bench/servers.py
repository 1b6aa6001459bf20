"""The real broker of the benches, and logs on it."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

from services.transport.log import LogReader
from services.transport.log_writer import LogWriter
from services.transport.settings import KafkaSettings
from tests.kafka.server import Kafka, prepare
from tests.servers import running

WRITTEN_AT_ONCE: Final = 2_000


@contextlib.contextmanager
def kafka() -> Iterator[Kafka]:
    """Apache Kafka, empty, until the block ends."""
    prepare()
    with tempfile.TemporaryDirectory(prefix="tideboard-bench-") as folder, running(Kafka(Path(folder))) as server:
        yield server


def settings(server: Kafka, partitions: int = 1) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=server.bootstrap, partitions=partitions, replication=1)


async def write(kafka: KafkaSettings, values: Sequence[bytes]) -> range:
    """Append records to partition 0 of the samples topic; their offsets."""
    writer = LogWriter(kafka)
    await writer.start()
    offsets: list[int] = []
    for begin in range(0, len(values), WRITTEN_AT_ONCE):
        offsets += await asyncio.gather(*(writer.append(0, value) for value in values[begin : begin + WRITTEN_AT_ONCE]))
    await writer.stop()
    return range(offsets[0], offsets[-1] + 1)


@contextlib.asynccontextmanager
async def reading(kafka: KafkaSettings, offset: int) -> AsyncIterator[LogReader]:
    """A reader of partition 0 from an offset on."""
    reader = LogReader(kafka)
    reader.assign({0: offset})
    try:
        yield reader
    finally:
        await reader.stop()
