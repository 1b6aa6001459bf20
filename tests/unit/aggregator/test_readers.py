"""Readers: which series are remembered, that there is a bound to it, and that nothing else shows of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.aggregator import serieslist
from services.aggregator.fold import Fold
from services.aggregator.serieslist import LEAST_SERIES, MAX_SERIES, SILENT_MS, SeriesList, room
from services.contract.batch import Batch, decode
from tests.unit.aggregator.logs import DELTA, Sample, config, counter, folded, gauge, records, views, write

ASKED = views(
    {"metric": "load", "by": ["host"], "fn": ["avg", "p99", "sum", "first", "delta"], "every": "1s"},
    {"metric": "load", "fn": "count", "each": "pool", "where": {"host": "!= h3"}},
    {"metric": "load", "by": ["core"], "of": "host", "fn": ["distinct", "topk(2)"], "every": "1s"},
    {"metric": "bytes", "by": ["host"], "fn": ["rate", "increase"], "every": "10s"},
    {"metric": "bytes", "of": "host", "fn": "topk(2)", "every": "1m"},
)
hosts = st.integers(0, 11)
rows = st.tuples(st.sampled_from(["load", "bytes", "nobody.asks"]), hosts, st.integers(0, 5_000), st.integers(0, 2))


def little_room(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(serieslist, "MAX_SERIES", most)
    monkeypatch.setattr(serieslist, "LEAST_SERIES", 1)


def gauges(first: int, after: int, sequence: int, at: int = 0) -> bytes:
    return write([gauge(1.0, at=at, host=f"h{i}") for i in range(first, after)], sequence, ingest=at)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(rows, min_size=1, max_size=8), min_size=1, max_size=12), st.integers(1, 20), st.integers(1, 4))
def test_what_is_forgotten_does_not_show_in_any_cell(
    written: list[list[tuple[str, int, int, int]]], most: int, at_once: int
) -> None:
    """Also where series are forgotten between two records that are folded at once."""
    log = []
    for sequence, batch in enumerate(written):
        samples: list[Sample] = [
            (metric, {"host": f"h{host}", "core": str(host % 2)}, sequence * 1_000 + at, float(host + sequence), kind)
            for metric, host, at, kind in batch
        ]
        log.append(write(samples, sequence, ingest=sequence * 1_000 + 5_000))
    asked = config(*ASKED)
    expected = folded(asked, records(*log)).stored
    with pytest.MonkeyPatch.context() as patched:
        little_room(patched, most)
        fold, store = Fold(asked, 0), type(folded(asked, []))()
        for at in range(0, len(log), at_once):
            fold.apply(records(*log[at : at + at_once], first=at))
        store.commit(fold)
    assert store.stored == expected


def test_however_many_series_come_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within one call, which may bring any number of them."""
    little_room(monkeypatch, 100)
    fold = Fold(config(*ASKED), 0)
    fold.apply(records(*(gauges(i * 30, i * 30 + 30, i) for i in range(50))))
    assert 30 <= fold.remembered <= 130
    fold.share_room(2)
    fold.apply(records(*(gauges(i * 10, i * 10 + 10, i) for i in range(50, 100)), first=50))
    assert fold.remembered <= 60


def test_folds_share_the_room() -> None:
    assert (room(1), room(4)) == (MAX_SERIES, MAX_SERIES // 4)
    assert room(1_000_000) == LEAST_SERIES


class Listed:
    """A list of series, and which of them it had to be told of."""

    def __init__(self, most: int) -> None:
        self.met: list[bytes] = []
        self.list = SeriesList(lambda number, kind, key: self.met.append(key), most)

    def see(self, *samples: Sample, at: int = 0) -> int:
        """How many of the series were not known."""
        if self.list.full:
            self.list.forget()
        before = len(self.met)
        batch: Batch = decode(write(samples, 0, ingest=at))
        numbers = self.list.numbers(batch)
        assert sorted(numbers.tolist()) == sorted(self.list.numbers(batch).tolist())
        assert int(numbers.max()) < len(self.list)
        return len(self.met) - before


def test_the_same_key_of_another_kind_is_another_series_also_after_some_were_forgotten() -> None:
    listed = Listed(4)
    assert listed.see(gauge(1, host="a"), counter(1, metric="load", host="a")) == 2
    assert listed.see(*(gauge(1, host=f"h{i}") for i in range(3))) == 3
    assert listed.see(gauge(1, host="a"), counter(1, metric="load", host="a"), ("load", {"host": "a"}, 0, 1.0, DELTA)) == 1
    assert listed.see(gauge(1, host="a"), counter(1, metric="load", host="a")) == 0


def test_where_more_come_in_turn_than_there_is_room_for_some_stay_known() -> None:
    listed = Listed(100)
    for turn in range(3):
        for first in range(0, 200, 10):
            listed.see(*(gauge(1, host=f"h{i}") for i in range(first, first + 10)), at=turn * 15_000)
    before = len(listed.met)
    for first in range(0, 200, 10):
        listed.see(*(gauge(1, host=f"h{i}") for i in range(first, first + 10)), at=45_000)
    assert len(listed.met) - before <= 140


def test_what_is_silent_is_forgotten_before_what_still_comes() -> None:
    listed = Listed(100)
    listed.see(*(gauge(1, host=f"old{i}") for i in range(60)))
    listed.see(*(gauge(1, host=f"new{i}") for i in range(60)), at=SILENT_MS + 1)
    assert listed.see(*(gauge(1, host=f"new{i}") for i in range(60)), at=SILENT_MS + 2) == 0
    assert listed.see(gauge(1, host="old0"), at=SILENT_MS + 3) == 1
