"""The outbox: nothing is lost, sequences never change, and requests are done exactly when the log has all of theirs."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.contract.batch import Batch, decode
from services.contract.series import partition_of, series_key
from services.ingestor.columns import Columns, SeriesTable, TimeLimits, judge
from services.ingestor.outbox import Limits, Outbox, Outgoing, Request
from services.ingestor.samples import Rows, Sample

NOW_MS = 1_763_791_200_000
PARTITIONS = 3


def sent(table: SeriesTable, *samples: tuple[str, float]) -> Columns:
    """Columns of samples of these metrics with these values."""
    rows = Rows([Sample(metric, value) for metric, value in samples])
    return judge(rows, table, NOW_MS, TimeLimits()).columns


def unpack(record: Outgoing) -> list[tuple[bytes, float]]:
    batch = decode(record.payload)
    return [(batch.keys[series], value) for series, value in zip(batch.series.tolist(), batch.values.tolist(), strict=True)]


def partition(metric: str) -> int:
    return partition_of(series_key(metric, {}), PARTITIONS)


def test_requests_share_the_record_of_a_partition() -> None:
    table, outbox = SeriesTable(1), Outbox(5, Limits())
    outbox.add(sent(table, ("a", 1), ("b", 2)), 0.0)
    outbox.add(sent(table, ("b", 3)), 0.001)
    (record,) = outbox.close(NOW_MS + 7)
    batch = decode(record.payload)
    assert (batch.instance, batch.sequence, batch.ingest_ms) == (5, 0, NOW_MS + 7)
    assert unpack(record) == [(b"a\xff", 1.0), (b"b\xff", 2.0), (b"b\xff", 3.0)]
    assert batch.times.tolist() == [NOW_MS] * 3


def test_samples_lie_in_the_partition_of_their_key() -> None:
    table, outbox = SeriesTable(PARTITIONS), Outbox(5, Limits())
    outbox.add(sent(table, *((f"m{i}", i) for i in range(50))), 0.0)
    records = outbox.close(NOW_MS)
    assert sorted(record.partition for record in records) == [0, 1, 2]
    for record in records:
        assert all(partition_of(key, PARTITIONS) == record.partition for key, _ in unpack(record))
    assert sorted(value for record in records for _, value in unpack(record)) == list(range(50))


def test_a_dictionary_holds_only_the_series_of_its_record() -> None:
    table, outbox = SeriesTable(1), Outbox(5, Limits())
    sent(table, *((f"m{i}", i) for i in range(50)))
    outbox.add(sent(table, ("m7", 1), ("m3", 2), ("m7", 3)), 0.0)
    (record,) = outbox.close(NOW_MS)
    assert sorted(decode(record.payload).keys) == [b"m3\xff", b"m7\xff"]


def test_what_lingers_is_due_after_the_linger_and_at_once_when_it_is_much() -> None:
    table, outbox = SeriesTable(1), Outbox(5, Limits(linger_s=0.005, record_samples=3))
    assert outbox.due() is None
    outbox.add(sent(table, ("a", 1)), 10.0)
    outbox.add(sent(table, ("a", 1)), 10.004)
    assert outbox.due() == 10.005
    outbox.add(sent(table, ("a", 1)), 10.004)
    assert outbox.due() == 0.0
    outbox.close(NOW_MS)
    assert outbox.due() is None
    assert outbox.close(NOW_MS) == []


@pytest.mark.parametrize("limits", [Limits(record_samples=10), Limits(record_bytes=400)])
def test_too_much_for_one_record_becomes_several_with_sequences_in_order(limits: Limits) -> None:
    table, outbox = SeriesTable(1), Outbox(5, limits)
    first = outbox.add(sent(table, *(("a", i) for i in range(25))), 0.0)
    second = outbox.add(sent(table, *(("a", i) for i in range(25, 40))), 0.0)
    records = outbox.close(NOW_MS)
    assert len(records) > 3
    assert [value for record in records for _, value in unpack(record)] == list(range(40))
    assert (
        [record.sequence for record in records]
        == [decode(record.payload).sequence for record in records]
        == list(range(len(records)))
    )
    assert all(record.samples <= limits.record_samples and len(record.payload) <= limits.record_bytes for record in records)
    done = [outbox.acknowledge(record) for record in records]
    assert [request for requests in done for request in requests] == [first, second]
    assert done[-1] == [second]
    assert not done[0]


def test_a_sample_that_is_too_long_for_a_record_has_one_of_its_own() -> None:
    table, outbox = SeriesTable(1), Outbox(5, Limits(record_bytes=1))
    outbox.add(sent(table, ("a", 1), ("b", 2)), 0.0)
    assert [unpack(record) for record in outbox.close(NOW_MS)] == [[(b"a\xff", 1.0)], [(b"b\xff", 2.0)]]


def test_a_request_over_several_partitions_waits_for_all_of_them() -> None:
    table, outbox = SeriesTable(PARTITIONS), Outbox(5, Limits())
    request = outbox.add(sent(table, *((f"m{i}", i) for i in range(20))), 0.0)
    *some, last = outbox.close(NOW_MS)
    assert [outbox.acknowledge(record) for record in some] == [[] for _ in some]
    assert outbox.acknowledge(last) == [request]
    assert outbox.empty
    assert outbox.bytes == 0


def test_what_is_sent_again_has_the_bytes_it_had() -> None:
    table, outbox = SeriesTable(1), Outbox(5, Limits())
    outbox.add(sent(table, ("a", 1)), 0.0)
    (first,) = outbox.close(NOW_MS)
    outbox.add(sent(table, ("a", 2)), 0.0)
    (second,) = outbox.close(NOW_MS + 5)
    assert outbox.unacknowledged() == [first, second]
    outbox.acknowledge(first)
    assert outbox.unacknowledged() == [second]


def test_what_nobody_waits_for_is_not_sent_again_but_what_somebody_does_is() -> None:
    table, outbox = SeriesTable(1), Outbox(5, Limits())
    gone = outbox.add(sent(table, ("a", 1)), 0.0)
    (alone,) = outbox.close(NOW_MS)
    also_gone = outbox.add(sent(table, ("a", 2)), 0.0)
    waits = outbox.add(sent(table, ("a", 3)), 0.0)
    (shared,) = outbox.close(NOW_MS)
    outbox.give_up(gone)
    outbox.give_up(also_gone)
    assert outbox.unacknowledged() == [shared]
    assert outbox.acknowledge(alone) == []
    assert outbox.acknowledge(shared) == [waits]
    assert outbox.empty


def test_forgetting_everything_names_who_was_waiting() -> None:
    table, outbox = SeriesTable(1), Outbox(5, Limits())
    closed = outbox.add(sent(table, ("a", 1)), 0.0)
    gone = outbox.add(sent(table, ("a", 1)), 0.0)
    outbox.close(NOW_MS)
    still_open = outbox.add(sent(table, ("a", 1)), 0.0)
    outbox.give_up(gone)
    assert set(outbox.clear()) == {closed, still_open}
    assert (outbox.empty, outbox.bytes, outbox.due(), outbox.unacknowledged()) == (True, 0, None, [])


def test_series_of_a_new_table_go_to_a_record_of_their_own() -> None:
    outbox = Outbox(5, Limits())
    outbox.add(sent(SeriesTable(1), ("a", 1)), 0.0)
    outbox.add(sent(SeriesTable(1), ("b", 2)), 0.0)
    assert [unpack(record) for record in outbox.close(NOW_MS)] == [[(b"a\xff", 1.0)], [(b"b\xff", 2.0)]]


class Life(RuleBasedStateMachine):
    """Requests, closings, acknowledgements in log order, losses of the writer, and clients that do not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.table = SeriesTable(PARTITIONS)
        self.outbox = Outbox(1, Limits(record_samples=4))
        self.now = 0.0
        self.open: dict[Request, list[float]] = {}
        self.value = 0.0
        self.queue: list[Outgoing] = []
        self.log: dict[int, list[Batch]] = defaultdict(list)
        self.given_up: set[Request] = set()
        self.done: dict[Request, list[float]] = {}

    @rule(metrics=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9))
    def add(self, metrics: list[str]) -> None:
        values = [self.value + i for i in range(len(metrics))]
        self.value += len(metrics)
        request = self.outbox.add(sent(self.table, *zip(metrics, values, strict=True)), self.now)
        self.open[request] = values

    @rule()
    def close(self) -> None:
        self.queue += self.outbox.close(NOW_MS)

    @rule(count=st.integers(1, 5))
    def write(self, count: int) -> None:
        for record in self.queue[:count]:
            self.log[record.partition].append(decode(record.payload))
            for request in self.outbox.acknowledge(record):
                self.done[request] = self.open.pop(request)
        del self.queue[:count]

    @rule(written=st.integers(0, 3))
    def lose_the_writer(self, written: int) -> None:
        """Some records were written, but nobody heard of it."""
        for record in self.queue[:written]:
            self.log[record.partition].append(decode(record.payload))
        self.outbox.close(NOW_MS)
        self.queue = self.outbox.unacknowledged()

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        if self.open:
            request = data.draw(st.sampled_from(list(self.open)))
            del self.open[request]
            self.outbox.give_up(request)
            self.given_up.add(request)

    def folded(self) -> list[float]:
        """The values that a reader counts: it ignores sequences that it is past."""
        found: list[float] = []
        for batches in self.log.values():
            past = -1
            for batch in batches:
                if batch.sequence > past:
                    past = batch.sequence
                    found += batch.values.tolist()
        return found

    @invariant()
    def what_was_answered_is_in_the_log_and_nothing_is_there_twice(self) -> None:
        folded = self.folded()
        assert len(folded) == len(set(folded))
        assert {value for values in self.done.values() for value in values} <= set(folded)

    @invariant()
    def an_empty_outbox_owes_nothing(self) -> None:
        assert self.outbox.bytes >= 0
        if self.outbox.empty:
            assert self.outbox.bytes == 0
            assert not self.open

    def teardown(self) -> None:
        self.queue += self.outbox.close(NOW_MS)
        self.write(len(self.queue))
        assert not self.open
        assert self.outbox.empty


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), min_size=1, max_size=6))
def test_within_a_partition_samples_keep_the_order_in_which_they_came(requests: list[list[str]]) -> None:
    table, outbox = SeriesTable(PARTITIONS), Outbox(1, Limits(record_samples=7))
    order: dict[int, list[float]] = defaultdict(list)
    value = 0.0
    for metrics in requests:
        for metric in metrics:
            order[partition(metric)].append(value)
            value += 1
        outbox.add(sent(table, *zip(metrics, np.arange(value - len(metrics), value).tolist(), strict=True)), 0.0)
    found: dict[int, list[float]] = defaultdict(list)
    for record in outbox.close(NOW_MS):
        found[record.partition] += [one for _, one in unpack(record)]
    assert found == order
