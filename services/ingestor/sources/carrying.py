"""Carrying: records of a source, decoded and cut, into our own log, and the poison among them into the dead letters.

It keeps nothing: where it fails, the same records are given to it again.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from services.contract.sources import Source
from services.ingestor.columns import TimeLimits
from services.ingestor.sources.allowance import Allowance
from services.ingestor.sources.cutting import cut, instance_of
from services.ingestor.sources.decode import Decoded, Decoder
from services.ingestor.sources.outlet import Outlet
from services.ingestor.sources.placing import Run
from services.ingestor.sources.tally import Tally
from services.transport.letters import Letter
from services.transport.log import Record
from services.transport.log_writer import LogWriter

log = structlog.get_logger()

SLICE: Final = 250
"""Records that are decoded before others get their turn: some milliseconds."""
SLICE_BYTES: Final = 256 * 1024
"""The same where they are long: some twenty milliseconds."""


class Carrier:
    """Of one source. tally: told of what our log has."""

    def __init__(self, source: Source, outlet: Outlet, limits: TimeLimits, allowance: Allowance, tally: Tally) -> None:
        self._source = source
        self._outlet = outlet
        self._limits = limits
        self._allowance = allowance
        self._tally = tally
        self._decoders: dict[int, Decoder] = {}  # by the number of partitions that they place among

    async def carry(self, writer: LogWriter, topic_id: str, runs: Sequence[Run]) -> None:
        """Returns when our log has all of them. LogError: some may be there, give all of them again."""
        written, letters, done = [], [], []
        for run in runs:
            decoder = self._decoder(run.count)
            instance = instance_of(self._source.name, self._source.topic, run.partition, topic_id)
            for some in slices(run.records):
                now_ms = int(time.time() * 1000)
                decoded = decoder.decode(some, now_ms)
                made = cut(decoded.placed, instance, self._source.name, now_ms)
                written += [writer.append(record.partition, record.payload) for record in made]
                told = self._letters(run.partition, decoded)
                letters += told
                done.append((len(some), decoded, len(told)))
                await asyncio.sleep(0)
        try:
            await asyncio.gather(*written, self._outlet.write_letters(letters))
        except BaseException:
            self._allowance.give_back(len(letters))
            raise
        for records, decoded, told_of in done:
            self._count_in(records, decoded, told_of)

    def _decoder(self, count: int) -> Decoder:
        if count not in self._decoders:
            self._decoders = {
                it: self._decoders[it] for it in list(self._decoders)[-1:]
            }  # while partitions are added there are two
            self._decoders[count] = Decoder(self._source, count, self._limits)
        return self._decoders[count]

    def _count_in(self, records: int, decoded: Decoded, letters: int) -> None:
        if decoded.poison and not self._tally.poison:
            record, reason = decoded.poison[0]
            log.warning(
                "a source has a record that cannot be read", source=self._source.name, offset=record.offset, reason=reason
            )
        self._tally.add(records, decoded)
        self._tally.letters(letters, len(decoded.poison) - letters)

    def _letters(self, partition: int, decoded: Decoded) -> list[Letter]:
        """The dead letters that are allowed now."""
        granted = self._allowance.take(len(decoded.poison), time.monotonic()) if decoded.poison else 0
        return [
            Letter(
                self._source.topic,
                partition,
                record.offset,
                reason,
                self._source.name,
                record.value,
                getattr(record, "key", None),
            )
            for record, reason in decoded.poison[:granted]
        ]


def slices(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """All records in their order, a few at a time."""
    start = size = 0
    for index, record in enumerate(records):
        size += len(record.value)
        if index + 1 - start == SLICE or size >= SLICE_BYTES:
            yield records[start : index + 1]
            start, size = index + 1, 0
    if start < len(records):
        yield records[start:]
