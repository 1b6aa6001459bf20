"""Which series a selection takes, and into which group each falls."""

import pytest

from services.aggregator.matching import group_key, group_labels, labels_key, matcher, series_of_group
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
