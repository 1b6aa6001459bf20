"""What a dashboard is estimated to cost."""

from typing import Any

from services.contract.cost import cost
from services.contract.dashboards import parse


def bytes_of(*queries: dict[str, Any], **spec: Any) -> int:
    panels = [{"id": f"p{i}", "type": "stat", "query": query} for i, query in enumerate(queries)]
    document = {
        "apiVersion": "tideboard.dev/v1alpha1",
        "kind": "Dashboard",
        "metadata": {"name": "x"},
        "spec": {"panels": panels, **spec},
    }
    return cost(parse(document)).bytes


LOAD: dict[str, Any] = {"metric": "load", "fn": "avg"}


def test_what_is_kept_longer_costs_more() -> None:
    assert bytes_of(LOAD, resolutions=[]) < bytes_of(LOAD, resolutions=[{"every": "10s", "for": "6h"}]) < bytes_of(LOAD)


def test_a_view_without_labels_costs_about_two_megabytes_by_default() -> None:
    """900 + 2,160 + 2,880 + 2,016 buckets, of about 300 bytes each."""
    assert 2_200_000 < bytes_of(LOAD) < 2_600_000


def test_cells_that_several_panels_share_are_counted_once() -> None:
    assert bytes_of(LOAD, LOAD) == bytes_of(LOAD)
    assert bytes_of(LOAD, LOAD | {"fn": "max"}) < 2 * bytes_of(LOAD)


def test_groups_are_counted_as_far_as_the_limits_admit() -> None:
    document = {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "x"},
        "spec": {"panels": [{"id": "p", "type": "stat", "query": LOAD | {"by": ["host"]}}]},
    }  # fmt: skip
    few, many = cost(parse(document)), cost(parse(document), 100)
    assert few.bytes < many.bytes < few.most
    assert few.groups == 10
