"""Counters: increases between samples, and their shares in buckets."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.aggregator.counters import SPREAD_MS, Counters, Increases, spread
from services.contract.partials import COUNTER, pack_page, unpack_page

Told = list[tuple[int, int, int, float]]  # sample, begin, end, amount

steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2_000_000), st.integers(0, 50).map(float) | st.floats(0, 1e9)), max_size=30
)


def advance(counters: Counters, samples: Sequence[tuple[int, int, float]]) -> Told:
    """samples: (number, time, value)."""
    for number, _, _ in samples:
        counters.number(f"s{number}".encode())
    columns = list(zip(*samples, strict=True)) or [(), (), ()]
    known = [counters.number(f"s{number}".encode()) for number in columns[0]]
    found = counters.advance(np.array(known, np.int64), np.array(columns[1], np.int64), np.array(columns[2], np.float64))
    rows = found.sample.tolist(), found.begin.tolist(), found.end.tolist(), found.amount.tolist()
    return list(zip(*rows, strict=True))


def plain(samples: Sequence[tuple[int, int, float]]) -> tuple[Told, int]:
    """The same, one sample after the other; and how many were ignored."""
    last: dict[int, tuple[int, float]] = {}
    told: Told = []
    ignored = 0
    for i, (number, time, value) in enumerate(samples):
        if number in last:
            before, was = last[number]
            if time <= before:
                ignored += 1
                continue
            told.append((i, max(before, time - SPREAD_MS), time, value if value < was else value - was))
        last[number] = time, value
    return told, ignored


@given(steps)
def test_increases_are_those_of_one_sample_after_the_other(samples: list[tuple[int, int, float]]) -> None:
    counters = Counters()
    told, ignored = plain(samples)
    assert advance(counters, samples) == told
    assert counters.ignored == ignored


@given(steps, st.data())
def test_how_samples_are_cut_does_not_show(samples: list[tuple[int, int, float]], data: st.DataObject) -> None:
    counters, told = Counters(), []
    at = 0
    while at < len(samples):
        n = data.draw(st.integers(1, 5))
        told += [(at + sample, *rest) for sample, *rest in advance(counters, samples[at : at + n])]
        at += n
    assert told == plain(samples)[0]


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
    other.load(list(one.keys), {page: unpack_page(pack_page(rows), COUNTER) for page, rows in one.dirty_pages().items()})
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
    counters = Counters()
    counters.seed(b"s0", 1_000, 40.0)
    assert list(counters.dirty_pages()) == [0]
    assert advance(counters, [(0, 2_000, 50.0)]) == [(0, 1_000, 2_000, 10.0)]
    assert counters.last() == {b"s0": (2_000, 50.0)}


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
