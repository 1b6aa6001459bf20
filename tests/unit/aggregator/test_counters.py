"""Counters: increases between samples, and their shares in buckets."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator.counters import Counters, Increases, spread
from services.aggregator.writers import SPREAD_MS
from services.contract.partials import pack_counters, unpack_counters
from tests import batch_job

Told = list[tuple[int, int, int, float]]  # sample, begin, end, amount

steps = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(1, 60_000) | st.integers(1, 2_000_000), st.integers(0, 50).map(float) | st.floats(0, 1e9)
    ),
    max_size=30,
)


Step = tuple[int, int, float]  # series, time, value


def advance(counters: Counters, samples: Sequence[Step], starts: Sequence[int] | None = None) -> Told:
    for number, _, _ in samples:
        counters.number(f"s{number}".encode())
    columns = list(zip(*samples, strict=True)) or [(), (), ()]
    known = [counters.number(f"s{number}".encode()) for number in columns[0]]
    found = counters.advance(
        np.array(known, np.int64), np.array(columns[1], np.int64), np.array(columns[2], np.float64),
        None if starts is None else np.array(starts, np.int64),
    )  # fmt: skip
    rows = found.sample.tolist(), found.begin.tolist(), found.end.tolist(), found.amount.tolist()
    return list(zip(*rows, strict=True))


def plain(samples: Sequence[Step], starts: Sequence[int] | None = None) -> Told:
    """The same, one sample after the other."""
    known: dict[int, batch_job.Counter] = {}
    told: Told = []
    for i, (number, time, value) in enumerate(samples):
        start = 0 if starts is None else starts[i]
        sample = batch_job.Sample(0, b"", batch_job.COUNTER, "", {}, time, value, start=start)
        grown = known.setdefault(number, batch_job.Counter()).grown(sample)
        if grown is not None:
            told.append((i, max(grown[0], time - SPREAD_MS), time, max(grown[1], 0.0)))
    return told


@settings(max_examples=300, deadline=None)
@given(steps, st.data())
def test_increases_are_those_of_one_sample_after_the_other(samples: list[Step], data: st.DataObject) -> None:
    starts = data.draw(
        st.none() | st.lists(st.sampled_from([0, 0, 1_000, 60_000, 400_000]), min_size=len(samples), max_size=len(samples))
    )
    assert advance(Counters(), samples, starts) == plain(samples, starts)


@given(steps, st.data())
def test_how_samples_are_cut_does_not_show(samples: list[Step], data: st.DataObject) -> None:
    starts = data.draw(st.lists(st.sampled_from([0, 0, 1_000, 60_000]), min_size=len(samples), max_size=len(samples)))
    counters, told = Counters(), []
    at = 0
    while at < len(samples):
        n = data.draw(st.integers(1, 5))
        told += [(at + sample, *rest) for sample, *rest in advance(counters, samples[at : at + n], starts[at : at + n])]
        at += n
    assert told == plain(samples, starts)


@pytest.mark.parametrize(
    ("samples", "amounts"),
    [
        ([(0, 1_000, 5.0)], []),  # what the first grew by nobody knows
        ([(0, 1_000, 5.0), (0, 2_000, 7.0)], [2]),
        ([(0, 1_000, 5.0), (0, 2_000, 5.0)], [0]),
        ([(0, 1_000, 5.0), (0, 2_000, 3.0), (0, 3_000, 4.0)], [3, 1]),  # a reset
        ([(0, 2_000, 5.0), (0, 1_000, 4.0), (0, 3_000, 6.0)], [1]),  # too late
        ([(0, 2_000, 5.0), (0, 2_000, 9.0), (0, 3_000, 6.0)], [1]),  # at the same time
        ([(0, 1_000, 5.0), (1, 1_000, 50.0), (0, 2_000, 6.0), (1, 2_000, 60.0)], [1, 10]),
        ([(0, 1_000, 5.0), (0, 2_000, -3.0)], [0]),  # counters are never negative
    ],
)
def test_a_fall_is_a_reset_and_what_is_not_newer_is_ignored(
    samples: list[tuple[int, int, float]], amounts: list[float]
) -> None:
    assert [amount for *_, amount in advance(Counters(), samples)] == amounts


def test_an_increase_begins_five_minutes_before_its_end_at_most() -> None:
    told = advance(Counters(), [(0, 0, 1.0), (0, SPREAD_MS, 2.0), (0, 10 * SPREAD_MS, 3.0)])
    assert [(begin, end) for _, begin, end, _ in told] == [(0, SPREAD_MS), (9 * SPREAD_MS, 10 * SPREAD_MS)]


# What is stored


@given(steps, steps)
def test_counters_that_were_stored_go_on(before: list[tuple[int, int, float]], after: list[tuple[int, int, float]]) -> None:
    one, other = Counters(), Counters()
    advance(one, before)
    other.load(list(one.keys), {page: unpack_counters(pack_counters(rows)) for page, rows in one.dirty_pages().items()})
    assert advance(other, after) == advance(one, after)
    assert other.last() == one.last()


def test_only_pages_that_changed_are_stored() -> None:
    counters = Counters()
    advance(counters, [(i, 1_000, 1.0) for i in range(100)])
    assert sorted(counters.dirty_pages()) == [0, 1, 2, 3]
    counters.committed()
    advance(counters, [(70, 2_000, 1.0), (3, 500, 1.0)])
    pages = counters.dirty_pages()
    assert [(page, len(rows)) for page, rows in pages.items()] == [(2, 32)]


def test_the_last_page_is_as_long_as_there_are_counters() -> None:
    counters = Counters()
    advance(counters, [(i, 1_000, 1.0) for i in range(33)])
    assert [len(rows) for rows in counters.dirty_pages().values()] == [32, 1]


def test_a_seed_is_the_sample_before_the_first() -> None:
    counters, before = Counters(), Counters()
    advance(before, [(0, 1_000, 40.0)])
    counters.seed(b"s0", before.last()[b"s0"])
    assert list(counters.dirty_pages()) == [0]
    assert advance(counters, [(0, 2_000, 50.0)]) == [(0, 1_000, 2_000, 10.0)]
    assert counters.last()[b"s0"].tolist()[:2] == (2_000, 50.0)


# Starts and writers


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        # (time, value, start) -> (begin, amount)
        ([(1_000, 5.0, 0), (2_000, 9.0, 1_500)], [(1_500, 9)]),  # a start after the last sample: it counts from zero, though it is higher
        ([(1_000, 5.0, 500), (2_000, 9.0, 1_500)], [(500, 5), (1_500, 9)]),
        ([(1_000, 5.0, 500), (2_000, 9.0, 500)], [(500, 5), (1_000, 4)]),
        ([(1_000_000, 5.0, 500), (1_001_000, 9.0, 500)], [(1_000_000, 4)]),  # too old to say when the first five came
        ([(1_000, 5.0, 0), (2_000, 9.0, 500)], [(1_000, 4)]),  # a start before the last sample tells nothing new
        ([(1_000, 5.0, 500), (2_000, 9.0, 0)], [(500, 5), (1_000, 4)]),
        ([(1_000, 5.0, 500), (2_000, 3.0, 500)], [(500, 5), (1_000, 3)]),  # a fall all the same
    ],
)  # fmt: skip
def test_a_newer_start_is_a_reset_whose_value_counts_from_zero(
    samples: list[tuple[int, float, int]], told: list[tuple[int, float]]
) -> None:
    found = advance(Counters(), [(0, time, value) for time, value, _ in samples], [start for *_, start in samples])
    assert [(begin, amount) for _, begin, _, amount in found] == told


def test_of_two_writers_with_starts_the_newer_is_followed_and_the_other_reported() -> None:
    samples = [(0, 1_000, 100.0), (0, 2_000, 5.0), (0, 3_000, 110.0), (0, 4_000, 7.0), (0, 5_000, 120.0)]
    counters = Counters()
    found = advance(counters, samples, [100, 1_500, 100, 1_500, 100])
    assert [(sample, amount) for sample, _, _, amount in found] == [(0, 100), (1, 5), (3, 2)]
    assert counters.contested.tolist() == [2, 4]


def test_of_two_writers_without_starts_the_higher_is_followed_once_they_have_taken_turns() -> None:
    values = [1000.0, 15.0, 1010.0, 20.0, 1020.0, 25.0, 1030.0]
    counters = Counters()
    found = advance(counters, [(0, 1_000 * (i + 1), value) for i, value in enumerate(values)])
    assert [(sample, amount) for sample, _, _, amount in found] == [(1, 15), (2, 995), (4, 10), (6, 10)]
    assert counters.contested.tolist() == [3, 5]


def test_when_the_writer_that_is_followed_falls_silent_the_other_is() -> None:
    counters = Counters()
    advance(counters, [(0, 1_000, 1000.0), (0, 2_000, 15.0), (0, 3_000, 1010.0), (0, 60_000, 20.0)])
    assert advance(counters, [(0, 124_000, 25.0), (0, 125_000, 27.0)]) == [
        (0, 60_000, 124_000, 5.0),
        (1, 124_000, 125_000, 2.0),
    ]


@pytest.mark.parametrize("values", [[100, 2, 60, 120, 3, 70], [10, 20, 5, 30, 31, 2], [5, 3, 4, 9]])
def test_a_counter_that_is_reset_again_and_again_is_not_taken_for_two(values: list[int]) -> None:
    counters = Counters()
    found = advance(counters, [(0, 1_000 * (i + 1), float(value)) for i, value in enumerate(values)])
    steps = [after if after < before else after - before for before, after in pairwise(values)]
    assert [amount for *_, amount in found] == steps
    assert not len(counters.contested)


def test_pages_stay_as_short_as_before_while_nobody_tells_a_start() -> None:
    counters = Counters()
    advance(counters, [(0, 1_000, 1.0), (0, 2_000, 2.0)])
    (bare,) = [pack_counters(rows) for rows in counters.dirty_pages().values()]
    advance(counters, [(0, 3_000, 1.0)])
    (full,) = [pack_counters(rows) for rows in counters.dirty_pages().values()]
    assert (len(bare), len(full)) == (1 + 16, 1 + 40)
    assert unpack_counters(bare).tolist() == [(2_000, 2.0, 0, 0, 0.0)]
    assert unpack_counters(full).tolist() == [(3_000, 1.0, 0, 2_000, 2.0)]


# Shares

increases = st.lists(
    st.tuples(st.integers(0, 10**7), st.integers(1, SPREAD_MS), st.floats(0, 1e9)), min_size=0, max_size=12
).map(
    lambda rows: Increases(
        np.arange(len(rows)),
        np.array([begin for begin, _, _ in rows], np.int64),
        np.array([begin + length for begin, length, _ in rows], np.int64),
        np.array([amount for _, _, amount in rows], np.float64),
    )
)


@given(increases, st.sampled_from([50, 1_000, 7_777, 60_000, 3_600_000]))
def test_shares_add_up_to_the_increase_and_lie_where_it_happened(found: Increases, every: int) -> None:
    index, starts, amounts = spread(found, every)
    assert index.tolist() == sorted(index.tolist())
    assert (starts % every == 0).all()
    assert (amounts >= 0).all()
    for i in range(len(found.sample)):
        mine = index == i
        assert math.isclose(math.fsum(amounts[mine].tolist()), found.amount[i], rel_tol=1e-9, abs_tol=1e-300)
        assert np.diff(starts[mine]).tolist() == [every] * (int(mine.sum()) - 1)
        assert starts[mine][0] <= found.begin[i] < starts[mine][0] + every
        assert starts[mine][-1] < found.end[i] <= starts[mine][-1] + every


def test_an_increase_is_spread_evenly() -> None:
    found = Increases(np.array([0]), np.array([500]), np.array([3_000]), np.array([10.0]))
    _, starts, amounts = spread(found, 1_000)
    assert list(zip(starts.tolist(), amounts.tolist(), strict=True)) == [(0, 2.0), (1_000, 4.0), (2_000, 4.0)]


def test_an_increase_that_ends_at_an_edge_has_no_share_behind_it() -> None:
    found = Increases(np.array([0]), np.array([0]), np.array([2_000]), np.array([4.0]))
    assert spread(found, 1_000)[1].tolist() == [0, 1_000]
