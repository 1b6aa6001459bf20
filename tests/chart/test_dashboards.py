"""The dashboards that come with the chart: ones that Tideboard takes, and of metrics that there are in a cluster."""

import re
from typing import Any

import pytest
import yaml

from services.contract.claims import parse
from services.contract.dashboards import Dashboard
from tests.unit.deploy.exported import known
from tools.chart import CHART

FILES = sorted((CHART / "files" / "dashboards").glob("*.yaml"))

OURS_OF_READING = {
    "tideboard_service_up_ratio",
    "tideboard_check_value",
}  # said by who reads or posts, not by a service of itself


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "files" / "dashboards" / f"{name}.yaml").read_text())
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_one_that_is_taken_and_has_the_name_of_its_file(path: Any) -> None:
    document = read(path.stem)
    assert document["metadata"]["name"] == path.stem
    taken = parse("Dashboard", document)
    assert isinstance(taken, Dashboard)
    assert taken.panels


def test_none_asks_for_what_only_one_machine_has() -> None:
    asked = {metric for path in FILES for metric in re.findall(r"metric: (\w+)", path.read_text())}
    assert not [metric for metric in asked if metric.startswith(("tideboard_local_", "host_process_"))]
    assert {metric for metric in asked if not metric.startswith("host_")} <= set(known()) | OURS_OF_READING


def test_of_several_nodes_none_hides_another() -> None:
    """`last` without `by` shows whichever pod was read last."""
    for name in ("host", "tideboard"):
        for panel in read(name)["spec"]["panels"]:
            for query in panel.get("queries", [panel.get("query")]):
                assert query["fn"] != "last" or query.get("by"), panel["id"]
