"""Beginnings: from which offset each partition of a source's topic is read on, at first sight and later."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from services.contract.sources import EARLIEST, LATEST, Source
from services.transport.log import LogReader
from services.transport.positions import Positions

POLL_MS: Final = 250


async def offsets(reader: LogReader, positions: Positions, source: Source, topic_id: str, count: int) -> Mapping[int, int]:
    """Of every partition. All that have none yet are begun at once, so that whoever comes first decides for all.

    The reader is to be assigned anew after that. LogError, redis errors: call again.
    """
    known = await positions.load(topic_id)
    missing = [partition for partition in range(count) if partition not in known.offsets]
    if not missing and known.begun:
        return known.offsets
    first = await _first(reader, source, missing, known.begun)
    await positions.begin(topic_id, first, int(time.time() * 1000))
    return {**first, **(await positions.load(topic_id)).offsets}


async def _first(reader: LogReader, source: Source, partitions: Sequence[int], begun: bool) -> Mapping[int, int]:
    """At first sight as the document says; a partition or a topic that came after that is read from its start."""
    if begun or source.begin == EARLIEST:
        return await reader.start_offsets(partitions)
    if source.begin == LATEST:
        return await _ends(reader, partitions)
    return await reader.offsets_at(int(time.time() * 1000) - source.begin, partitions)


async def _ends(reader: LogReader, partitions: Sequence[int]) -> Mapping[int, int]:
    """Where the partitions end, as answers to reading say: asked for it, the embedded broker names the start of its last batch."""
    listed = await reader.end_offsets(partitions)
    reader.assign(listed)
    while any(reader.highwater(partition) is None for partition in listed):
        await reader.poll(POLL_MS)
    return {partition: max(offset, reader.highwater(partition) or 0) for partition, offset in listed.items()}
