"""Cutting: placed samples into records of our own topic, by the partition of their series. Pure.

Any cut is right: each sample has a sequence, its place in the source's topic, and the fold passes over those that it has.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.contract.batch import Batch, encode
from services.ingestor.sources.decode import Placed

RECORD_SAMPLES: Final = 10_000
RECORD_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Cut:
    """A record of our topic."""

    partition: int
    payload: bytes
    samples: int


def instance_of(source: str, topic: str, partition: int, topic_id: str) -> int:
    """The instance under which a partition's samples are written: the same whoever writes them, another one when the topic was made again."""
    text = "\0".join((source, topic, topic_id, str(partition)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def cut(placed: Placed, instance: int, source: str, now_ms: int) -> list[Cut]:
    """Records, for each partition in the order of the samples."""
    if not len(placed.series):
        return []
    owners = placed.table.owners(placed.series)
    return [
        made
        for partition in np.unique(owners).tolist()
        for made in _records(placed, np.flatnonzero(owners == partition), partition, instance, source, now_ms)
    ]


def _records(
    placed: Placed, mine: "np.ndarray[tuple[int], np.dtype[np.intp]]", partition: int, instance: int, source: str, now_ms: int
) -> Iterator[Cut]:
    """Halved until they fit."""
    if len(mine) <= RECORD_SAMPLES:
        payload = encode(_batch(placed, mine, instance, source, now_ms))
        if len(payload) <= RECORD_BYTES or len(mine) == 1:
            yield Cut(partition, payload, len(mine))
            return
    half = len(mine) // 2
    yield from _records(placed, mine[:half], partition, instance, source, now_ms)
    yield from _records(placed, mine[half:], partition, instance, source, now_ms)


def _batch(placed: Placed, mine: "np.ndarray[tuple[int], np.dtype[np.intp]]", instance: int, source: str, now_ms: int) -> Batch:
    keys, kinds, series = placed.table.dictionary(placed.series[mine])
    sequences = placed.sequences[mine]
    starts = placed.starts[mine]
    return Batch(
        instance, int(sequences[-1]), now_ms, keys, kinds, series, placed.times[mine], placed.values[mine], source, sequences,
        starts if starts.any() else None,
    )  # fmt: skip
