"""The batch job over partials agrees with the engine's fold, and has no code of it."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.aggregator.fold import Fold
from services.aggregator.sketch import codes, values_of
from services.contract.batch import Batch, encode
from services.contract.dashboards import parse
from services.contract.partials import Config
from services.contract.series import series_key
from services.contract.views import Selection, View, retentions
from tests.batch_job import PER_LOG, Sample
from tests.chaos import wanted
from tests.chaos.admitted import Lists
from tests.chaos.checking import page_cells
from tests.chaos.points import Points
from tests.chaos.reference import At, Partial, all_samples, code_of, partials, quantiles


def record(sequence: int, values: list[tuple[int, float]], kind: int = 0, ingest: int = 100_000, instance: int = 1) -> bytes:
    """One record of series load{host="a"}; values: (time, value)."""
    n = len(values)
    times, floats = np.array([time for time, _ in values], np.int64), np.array([value for _, value in values], np.float64)
    keys, kinds = [series_key("load", {"host": "a"})], np.array([kind], np.uint8)
    return encode(Batch(instance, sequence, ingest, keys, kinds, np.zeros(n, np.uint32), times, floats))


def selection(accumulator_: str) -> Selection:
    return Selection("load", (), ("host",), accumulator_, 1_000)  # type: ignore[arg-type]


def held_of(asked: Selection, kept_ms: int, samples: list[Sample]) -> dict[int, dict[At, Partial]]:
    return partials(asked, {asked.id: kept_ms}, samples, Lists([]))


KEY = b"\xffhost\xfea\xff"


def test_what_is_said_twice_counts_once_also_in_the_next_log_and_what_cannot_be_read_not_at_all() -> None:
    first = {0: [record(0, [(99_000, 1.0)]), record(0, [(99_000, 1.0)]), b"poison", record(1, [(99_500, 2.0)])]}
    second = {0: [record(1, [(99_500, 2.0)]), record(2, [(99_700, 4.0)])]}
    held = held_of(selection("moments"), 60_000, all_samples([first, second]))
    assert held == {
        0: {(KEY, 99_000): (2, 3.0, 1.0, 2.0, 99_500, 2.0)},
        PER_LOG: {(KEY, 99_000): (1, 4.0, 4.0, 4.0, 99_700, 4.0)},
    }


def test_a_sample_whose_bucket_had_left_the_retention_when_it_came_does_not_count() -> None:
    log = {0: [record(0, [(89_000, 1.0), (89_999, 1.0), (90_000, 1.0)])]}
    assert set(held_of(selection("moments"), 10_000, all_samples([log]))[0]) == {(KEY, 90_000)}


def test_a_counter_goes_on_in_the_next_log_and_is_spread_over_its_buckets() -> None:
    logs = [{0: [record(0, [(98_500, 10.0)], kind=1)]}, {0: [record(1, [(99_500, 14.0), (99_800, 3.0)], kind=1)]}]
    held = held_of(selection("increase"), 60_000, all_samples(logs))
    assert held == {PER_LOG: {(KEY, 98_000): (1, 2.0), (KEY, 99_000): (2, 2.0 + 3.0)}}


def test_a_counter_begins_anew_in_the_partition_that_it_comes_to() -> None:
    log = {0: [record(0, [(98_500, 10.0), (98_900, 12.0)], kind=1)], 4: [record(0, [(99_500, 14.0), (99_800, 15.0)], kind=1)]}
    held = held_of(selection("increase"), 60_000, all_samples([log]))
    assert held == {0: {(KEY, 98_000): (1, 2.0)}, 4: {(KEY, 99_000): (1, 1.0)}}


def test_codes_of_sketches_are_those_of_the_engine() -> None:
    chance = random.Random(3)
    values = [
        0.0,
        1.0,
        -1.0,
        2.0,
        0.5,
        1e300,
        1e-300,
        *(chance.lognormvariate(0, 20) * chance.choice((1, -1)) for _ in range(2_000)),
    ]
    assert [code_of(value) for value in values] == codes(np.array(values)).tolist()


def test_quantiles_are_read_off_bins_as_the_engine_does() -> None:
    view = next(view for view in views() if view.inputs[0].fn == "p90")
    found = quantiles(view, {0: {(KEY, 0): {code_of(2.5): 3}}, 1: {(KEY, 0): {code_of(7.5): 1}}}, [((("host", "a"),), 0)])
    assert found[(("host", "a"),), 0].allows(float(values_of(np.array([code_of(2.5)]))[0]))
    assert not found[(("host", "a"),), 0].allows(float(values_of(np.array([code_of(7.5)]))[0]))


def views() -> list[View]:
    entry = wanted.BASE[0]
    assert entry.document is not None
    return list(retentions(parse(entry.document)))


def test_partials_are_the_pages_of_the_engine() -> None:
    chance = random.Random(4)
    values = [(chance.randrange(90_000, 100_000), chance.uniform(-3, 3)) for _ in range(300)]
    for name in ("moments", "edges", "variance", "sketch", "series", "series_edges", "increase"):
        finest = selection(name)
        coarser = finest.coarser(3_000)
        asked = {item.id: item for item in (finest, coarser, coarser.coarser(6_000))}
        kept = dict.fromkeys(asked, 60_000)
        records = [record(0, values, kind=2 if name == "increase" else 0)]
        fold = Fold(Config(asked, kept), 0)
        fold.apply([Record(0, records[0])])
        pages = fold.changes().pages
        for item in asked.values():
            mine = [(page.bucket, page_cells(blob, name)) for page, blob in pages if page.selection == item.id]
            found = {(bucket, partial) for bucket, cells in mine for _, partial in _hashed(cells)}
            expected = partials(item, kept, all_samples([{0: records}]), Lists([{0: records}]))[0]
            assert found == {(bucket, partial) for (_, bucket), partial in _hashed(expected.items())}


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes


def _hashed(cells: Iterable[tuple[Any, Partial]]) -> list[tuple[Any, object]]:
    return [(at, tuple(sorted(partial.items())) if isinstance(partial, dict) else partial) for at, partial in cells]


def test_a_bad_sample_is_never_counted_among_the_good_ones() -> None:
    points = Points(random.Random(5))
    bodies = [points.body(1_800_000_000_000, 10) for _ in range(50)]
    assert all(good == 10 for _, good in bodies)
    assert any(len(body) > good for body, good in bodies)
    serials = [item["value"] for body, _ in bodies for item in body if item.get("metric") == "unique"]
    assert len(serials) == len(set(serials)) > 10


def test_dashboards_that_come_and_go_share_no_selection_that_is_kept_for_another_time() -> None:
    alone = [wanted.config([entry]).retentions for entry in (*wanted.BASE, *wanted.OTHERS)]
    together = wanted.config([*wanted.BASE, *wanted.OTHERS]).retentions
    assert all(together[name] == kept for one in alone for name, kept in one.items())
