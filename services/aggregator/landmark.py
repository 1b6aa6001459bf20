"""The landmark: the last record that a fold folded, by which it knows its log again.

Lineages tell logs apart that began anew in the ordinary way. A partition that was made again behind the lineage's back (a topic
deleted by hand, a broker restored from an old copy) shows here: at that offset lies another record, or none yet.
"""

import time
from typing import Final
from zlib import crc32

from services.transport.log import LogError, LogReader, OffsetGone
from services.transport.settings import KafkaSettings

PATIENCE_S: Final = 5.0


async def is_log_of(kafka: KafkaSettings, questions: LogReader, partition: int, last: tuple[int, int] | None) -> bool:
    """Whether the log has this record (offset, CRC-32), or had it and has deleted it since. LogError when it cannot be read."""
    if last is None:
        return True
    offset, checksum = last
    if (await questions.start_offsets([partition]))[partition] > offset:
        return True
    reader = LogReader(kafka)
    reader.assign({partition: offset})
    until = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < until:
            for record in await reader.poll(500):
                return record.offset > offset or crc32(record.value) == checksum
            if (reader.position(partition) or 0) > offset:
                return True  # nothing with a value is left there: compaction took it
            if reader.highwater(partition) == offset:
                return False
    except OffsetGone:
        return False
    finally:
        await reader.stop()
    raise LogError(f"partition {partition} does not give the record at offset {offset}")
