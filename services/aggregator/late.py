"""Lateness: which samples of a record came when their cells were no longer kept. Pure.

A sample is late for a selection when its bucket had ended a retention before its own record was ingested; so it is a function of the
records alone. One that is late for one selection may be in time for another that keeps its cells longer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from services.aggregator.asked import SelectionCells
from services.contract.batch import Batch
from services.contract.series import Kind, parse_series_key

I64 = npt.NDArray[np.int64]
Reason = Literal["expired", "expired_for_some"]
REASONS: Final[tuple[Reason, ...]] = ("expired", "expired_for_some")
"""expired: no selection that asks for the sample still keeps its bucket. expired_for_some: one with a longer window does."""

MAX_SERIES: Final = 50_000  # whose selections are remembered; beginning anew costs time only


@dataclass(frozen=True, slots=True)
class LateSamples:
    """The late samples of one record, as a batch of their own."""

    offset: int
    reason: Reason
    batch: Batch


class Lateness:
    """Judges records for these selections."""

    def __init__(self, cells: Iterable[SelectionCells]) -> None:
        self._by_metric: dict[str, list[SelectionCells]] = {}
        for item in cells:
            self._by_metric.setdefault(item.selection.metric, []).append(item)
        self._shortest = min((item.retention_ms for items in self._by_metric.values() for item in items), default=None)
        self._met: dict[tuple[int, bytes], tuple[SelectionCells, ...]] = {}

    def judge(self, batch: Batch, ingest: int) -> Mapping[Reason, I64]:
        """Places of the late samples by reason, empty where none are. ingest: by when buckets are judged, epoch ms. Selections take note."""
        if self._shortest is None or int(batch.times.min()) >= ingest - self._shortest:
            return {}
        old = np.flatnonzero(batch.times < ingest - self._shortest)
        series, times = batch.series[old], batch.times[old]
        by_selection: dict[int, tuple[SelectionCells, list[int]]] = {}
        for number in np.unique(series).tolist():
            for item in self._meets(int(batch.kinds[number]), batch.keys[number]):
                by_selection.setdefault(id(item), (item, []))[1].append(number)
        late, taken = np.zeros(len(old), bool), np.zeros(len(old), bool)
        for item, numbers in by_selection.values():
            every = item.selection.every_ms
            mine = np.isin(series, numbers)
            fresh = (times // every + 1) * every > ingest - item.retention_ms
            if count := int((mine & ~fresh).sum()):
                item.was_late(count, ingest)
            late |= mine & ~fresh
            taken |= mine & fresh
        found: dict[Reason, I64] = {"expired": old[late & ~taken], "expired_for_some": old[late & taken]}
        return {reason: places for reason, places in found.items() if len(places)}

    def _meets(self, kind: int, key: bytes) -> tuple[SelectionCells, ...]:
        found = self._met.get((kind, key))
        if found is None:
            if len(self._met) > MAX_SERIES:
                self._met.clear()
            metric, labels = parse_series_key(key)
            found = self._met[kind, key] = tuple(
                item
                for item in self._by_metric.get(metric, ())
                if not (item.counts and kind in (Kind.gauge, Kind.distribution)) and item.match(labels)
            )
        return found


def part_of(batch: Batch, places: I64) -> Batch:
    """A batch of the samples at these places, with a dictionary of their series."""
    used, series = np.unique(batch.series[places], return_inverse=True)
    sequences = None if batch.sequences is None else batch.sequences[places]
    return replace(
        batch,
        keys=[batch.keys[number] for number in used.tolist()],
        kinds=batch.kinds[used],
        series=series.astype(np.uint32),
        times=batch.times[places],
        values=batch.values[places],
        sequence=batch.sequence if sequences is None else int(sequences[-1]),
        sequences=sequences,
        starts=None if batch.starts is None else batch.starts[places],
    )
