"""Samples with sequences of their own: a bridge that begins anew cuts its records elsewhere, and every sample counts once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.fold import INSTANCE_MS, MARK_MS, Fold
from services.contract.batch import decode, encode
from tests import batch_job
from tests.unit.aggregator.logs import DAY, Record, Store, cells, config, folded, gauge, records, view, write

SUM, COUNT = view(fn="sum"), view(fn="count", by=["host"])
INDEX_BITS = 20


def cut(sequences: Sequence[int], instance: int = 7, ingest: int = 60_000) -> bytes:
    """A record with one sample for each of these sequences, whose value is the sequence."""
    batch = decode(write([gauge(float(it), host=str(it % 3)) for it in sequences], 0, ingest, instance))
    return encode(replace(batch, sequence=sequences[-1], sequences=np.array(sequences, np.uint64), source="orders"))


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[int], list[Record]]:
    """All sequences of an instance, and a log written by bridges that crash, begin anew at any place before, and overlap."""
    numbers = sorted(
        draw(st.sets(st.integers(0, 30).map(lambda n: n << INDEX_BITS) | st.integers(0, 5), min_size=1, max_size=15))
    )
    written: list[bytes] = []
    reached = 0  # all before it are in the log
    while reached < len(numbers):
        bridges = [draw(st.integers(0, reached)) for _ in range(draw(st.integers(1, 2)))]
        for _ in range(draw(st.integers(1, 5))):
            which = draw(st.integers(0, len(bridges) - 1))
            begin = bridges[which]
            if begin < len(numbers):
                end = bridges[which] = draw(st.integers(begin + 1, len(numbers)))
                written.append(cut(numbers[begin:end]))
                reached = max(reached, end)
    return numbers, records(*written)


@given(logs(), st.data())
def test_every_sample_counts_once_however_often_and_wherever_it_was_cut(
    written: tuple[list[int], list[Record]], data: st.DataObject
) -> None:
    numbers, log = written
    store = Store()
    fold = Fold(config(SUM, COUNT), 0)
    at = 0
    while at < len(log):
        step = data.draw(st.integers(1, len(log) - at))
        fold.apply(log[at : at + step])
        at += step
        if data.draw(st.booleans()):
            store.commit(fold)
            fold = store.load()
    store.commit(fold)
    for wanted in (SUM, COUNT):
        expected = batch_job.cells(wanted, batch_job.samples({0: [cut(numbers)]}))
        assert cells(wanted, [store.mirror(wanted)]) == expected
        assert batch_job.cells(wanted, batch_job.samples({0: [record.value for record in log]})) == expected


def test_a_record_whose_samples_are_all_known_is_a_duplicate() -> None:
    fold = Fold(config(SUM), 0)
    fold.apply(records(cut([1, 2, 3]), cut([2, 3]), cut([3, 4])))
    assert (fold.tally.duplicates, fold.tally.samples) == (1, 4)


def test_instances_of_other_partitions_and_sources_are_their_own() -> None:
    log = records(cut([5], instance=1), cut([4], instance=2), write([gauge(1.0, host="0")], 3, instance=1))
    assert cells(SUM, [folded(config(SUM), log).mirror(SUM)])[(), 1_763_791_200_000] == 10


def test_a_bridge_is_remembered_for_longer_than_an_ingestor_and_not_for_ever() -> None:
    fold = Fold(config(SUM, retention_ms=30 * DAY), 0)
    fold.apply(records(*(cut([5], instance=i) for i in range(40))))
    fold.apply(records(write([gauge(1.0)], instance=99, ingest=INSTANCE_MS * 2), cut([5], instance=3), first=40))
    assert (fold.tally.duplicates, len(fold.changes().state.marks)) == (1, 40)
    fold.apply(records(cut([9], instance=3, ingest=60_000 + MARK_MS + 1), first=42))
    assert set(fold.changes().state.marks) == {3}


def test_a_state_that_was_stored_before_there_were_sources_is_read() -> None:
    store = folded(config(SUM), records(cut([5])))
    store.stored.state.marks = {}
    assert store.load().tally.duplicates == 0
