"""Which groups are shown apart, by hand."""

from collections.abc import Mapping, Sequence

import numpy as np

from services.contract.batch import Batch, encode
from services.contract.series import series_key
from services.contract.views import Input, Selection, View
from tests import batch_job
from tests.chaos.admitted import OVERFLOW_KEY, Lists
from tests.chaos.reference import all_samples, partials

ASKED = Selection("load", (), ("user",), "moments", 1_000, limit=2)
OVERFLOW = (("__overflow__", "true"),)


def record(sequence: int, users: str, metric: str = "load", at: int = 98_000) -> bytes:
    """A sample of each of these users; each is worth its place in the alphabet."""
    n = len(users)
    keys = [series_key(metric, {"user": user}) for user in users]
    times, values = np.full(n, at, np.int64), np.array([ord(user) - 96 for user in users], np.float64)
    return encode(Batch(1, sequence, 100_000, keys, np.zeros(n, np.uint8), np.arange(n, dtype=np.uint32), times, values))


def log(**partitions: Sequence[str]) -> Mapping[int, list[bytes]]:
    """p0=("ab", "c"): partition 0 has two records."""
    return {int(name[1:]): [record(i, users) for i, users in enumerate(held)] for name, held in partitions.items()}


def key(user: str) -> bytes:
    return b"\xffuser\xfe" + user.encode() + b"\xff"


def sums(item: Input, held: Mapping[int, list[bytes]]) -> dict[batch_job.Group, object]:
    samples, lists = all_samples([held]), Lists([held])
    view = View((item,), None)
    return {group: value for (group, _), value in batch_job.cells(view, lists.shown(view, samples)).items()}


def pooling(limit: int = 2, fn: str = "sum") -> Input:
    return Input("", Selection("load", (), ("user",), "moments", 1_000, limit=limit), ("user",), fn, "pool", limit)


def test_a_partition_keeps_the_first_groups_of_its_log_apart_and_pools_the_others() -> None:
    held = log(p0=("a", "cb", "ab"))
    cells = partials(ASKED, {ASKED.id: 60_000}, all_samples([held]), Lists([held]))[0]
    assert {at[0]: row[:2] for at, row in cells.items()} == {key("a"): (2, 2.0), key("c"): (1, 3.0), OVERFLOW_KEY: (2, 4.0)}


def test_what_cannot_be_read_and_what_is_of_another_metric_takes_no_place() -> None:
    held = {0: [b"poison", record(0, "x", "other"), record(1, "a"), record(2, "b"), record(3, "c")]}
    assert sums(pooling(), held) == {(("user", "a"),): 1.0, (("user", "b"),): 2.0, OVERFLOW: 3.0}


def test_of_all_partitions_the_first_places_are_shown_and_of_equal_places_the_earlier_partition() -> None:
    held = log(p0=("ab",), p1=("cd",))
    assert Lists([held]).pooled(pooling()) == {key("b"), key("d")}
    assert sums(pooling(), held) == {(("user", "a"),): 1.0, (("user", "c"),): 3.0, OVERFLOW: 6.0}


def test_with_as_many_groups_as_are_allowed_nothing_is_pooled() -> None:
    held = log(p0=("ab",), p1=("ba",))
    assert sums(pooling(), held) == {(("user", "a"),): 2.0, (("user", "b"),): 4.0}
    assert sums(pooling(0), log(p0=("abcd",))).keys() == {(("user", user),) for user in "abcd"}


def test_a_group_of_single_series_has_the_place_of_its_first_series() -> None:
    item = Input("", Selection("load", (), (), "series", 1_000), ("user",), "max", "last", 1)
    held = log(p0=("b", "a"), p1=("a",))
    assert sums(item, held) == {(("user", "b"),): 2.0, OVERFLOW: 1.0}


def test_coarser_resolutions_show_four_times_as_many() -> None:
    coarse = Input("", ASKED.coarser(5_000), ("user",), "sum", "pool", 2)
    held = log(p0=("ab",), p1=("cd",), p2=("ef",), p3=("gh",), p4=("ij",))
    assert Lists([held]).pooled(coarse) == {key("h"), key("j")}


def test_a_sliding_window_goes_on_to_where_the_log_has_come_with_any_metric() -> None:
    held = {0: [record(0, "abc"), record(1, "x", "other", at=99_900)]}
    item = Input("", ASKED, ("user",), "sum", "pool", 2, 3_000)
    cells = batch_job.cells(View((item,), None), Lists([held]).shown(View((item,), None), all_samples([held])))
    assert {at: value for (group, at), value in cells.items() if group == OVERFLOW} == {98_000: 3.0, 99_000: 3.0}
