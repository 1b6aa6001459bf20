"""Whether what others wrote was brought here once."""

from services.contract.sources import parse
from tests.batch_job import Sample
from tests.chaos.outsiders import ORDER, SOURCE, difference


def orders(*numbers: int) -> list[Sample]:
    return [Sample(0, b"", 0, ORDER, {}, 0, float(number)) for number in numbers]


OUTSIDE = {
    0: [b'{"shop": "s", "at": 1, "orders": [{"id": 1, "items": 2}]}', b"", b"{"],
    1: [b'{"orders": [{"id": 2}, {"id": 3}]}'],
}


def test_every_order_must_be_here_once() -> None:
    assert difference(OUTSIDE, orders(1, 2, 3), grown=False) == []
    assert "not in the log, such as [2, 3]" in difference(OUTSIDE, orders(1), grown=True)[0]
    assert "more than once, such as [2]" in difference(OUTSIDE, orders(1, 2, 2, 3), grown=False)[0]


def test_where_partitions_were_added_some_may_be_here_once_more() -> None:
    assert difference(OUTSIDE, orders(1, 2, 2, 3), grown=True) == []


def test_the_source_is_one() -> None:
    assert {reading.metric for reading in parse(SOURCE.document).readings} == {ORDER, "items"}
