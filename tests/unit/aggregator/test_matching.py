"""Which series a selection takes, and into which group each falls."""

import pytest

from services.aggregator.matching import group_key, group_labels, item_name, labels_key, matcher, series_of_group
from services.contract.conditions import Matcher
from services.contract.series import Kind, series_key
from services.contract.views import Selection

LABELS = {"host": "a", "code": "503"}


@pytest.mark.parametrize(
    ("where", "meets"),
    [
        ((), True),
        ((Matcher("host", "=", ("a",)),), True),
        ((Matcher("host", "=", ("b",)),), False),
        ((Matcher("host", "in", ("a", "b")),), True),
        ((Matcher("host", "in", ("b", "c")),), False),
        ((Matcher("code", "=~", ("5..",)),), True),
        ((Matcher("code", "=~", ("5",)),), False),  # the whole value
        ((Matcher("code", "=~", ("4..|503",)),), True),
        ((Matcher("host", "=", ("a",)), Matcher("code", "=", ("200",))), False),
        ((Matcher("region", "=", ("",)),), True),  # an absent label has the empty value
        ((Matcher("region", "=~", (".*",)),), True),
        ((Matcher("region", "=~", (".+",)),), False),
        ((Matcher("host", "!=", ("a",)),), False),
        ((Matcher("host", "!=", ("b",)),), True),
        ((Matcher("region", "!=", ("eu",)),), True),  # an absent label is something else
        ((Matcher("host", "not in", ("a", "b")),), False),
        ((Matcher("host", "not in", ("b", "c")),), True),
        ((Matcher("code", "!~", ("5..",)),), False),
        ((Matcher("code", "!~", ("5",)),), True),
        ((Matcher("code", "=~", ("5..",)), Matcher("code", "not in", ("503", "504"))), False),
    ],
)
def test_every_condition_is_met(where: tuple[Matcher, ...], meets: bool) -> None:
    assert matcher(where)(LABELS) is meets


@pytest.mark.parametrize(
    ("by", "labels"), [((), {}), (("host",), {"host": "a"}), (("code", "host"), LABELS), (("host", "region"), {"host": "a"})]
)
def test_a_group_is_the_labels_it_is_asked_by(by: tuple[str, ...], labels: dict[str, str]) -> None:
    selection = Selection("load", (), by, "moments", 1_000)
    key = group_key(selection, Kind.gauge, series_key("load", LABELS), LABELS)
    assert group_labels(key) == labels
    assert key == labels_key(LABELS, by)


def test_a_group_of_single_series_knows_kind_and_labels() -> None:
    selection = Selection("load", (), (), "series", 1_000)
    key = group_key(selection, Kind.delta, series_key("load", LABELS), LABELS)
    assert series_of_group(key) == (Kind.delta, LABELS)


def test_kinds_of_the_same_series_are_apart() -> None:
    selection, key = Selection("load", (), (), "series", 1_000), series_key("load", LABELS)
    assert group_key(selection, Kind.gauge, key, LABELS) != group_key(selection, Kind.counter, key, LABELS)


def test_a_regular_expression_that_would_take_forever_elsewhere_takes_no_time() -> None:
    """Python's own engine would still be at it when the universe ends."""
    assert matcher((Matcher("path", "=~", ("(a+)+b",)),))({"path": "a" * 1_024}) is False


@pytest.mark.parametrize(("of", "name"), [("host", "a"), ("region", None), ("", "0 " + series_key("load", LABELS).hex())])
def test_an_item_is_the_value_of_a_label_or_the_series_itself(of: str, name: str | None) -> None:
    selection = Selection("load", (), (), "distinct", 1_000, of=of)
    assert item_name(selection, Kind.gauge, series_key("load", LABELS), LABELS) == name
