"""The Grafana dashboard that the chart ships: it is what its list says, and every panel draws what is exported."""

import json
from typing import Any, Final

import pytest

from tests.unit.deploy.exported import complaints, exported, known
from tools import grafana

SHIPPED: Final[dict[str, Any]] = json.loads(grafana.FILE.read_text(encoding="utf-8"))
DRAWN: Final = [panel for panel in SHIPPED["panels"] if panel["type"] != "row"]
NOT_DRAWN: Final = {
    "tideboard_gateway_dashboards": "viewers by dashboard say it",
    "tideboard_gateway_views": "those of aggregators are drawn",
    "tideboard_gateway_changes_total": "frames are drawn",
    "tideboard_gateway_ticks_total": "for the share of overruns, which is an alert",
    "tideboard_gateway_tick_overruns_total": "an alert",
    "tideboard_gateway_draining": "an alert",
    "tideboard_gateway_viewers": "an alert; sockets are drawn",
    "tideboard_aggregator_records_total": "samples are drawn",
    "tideboard_aggregator_duplicate_records_total": "harmless",
    "tideboard_aggregator_readers_replaced_total": "an alert",
    "tideboard_ingestor_body_bytes_total": "bytes to Kafka are drawn",
    "tideboard_ingestor_waiting_records": "bytes are drawn",
    "tideboard_ingestor_log_errors_total": "whether Kafka takes records is drawn",
    "tideboard_ingestor_known_series": "memory is drawn",
    "tideboard_ingestor_source_records_total": "samples are drawn",
    "tideboard_collector_samples_total": "of a demonstration",
    "tideboard_collector_refused_samples_total": "of a demonstration",
    "tideboard_collector_posts_total": "of a demonstration",
    "tideboard_collector_scan_seconds": "of a demonstration",
    "tideboard_collector_scrapes_total": "of a demonstration",
    "tideboard_operator_events_total": "statuses are drawn",
    "tideboard_operator_lists_total": "for who doubts the watch",
    "tideboard_operator_listed_changes_total": "for who doubts the watch",
    "tideboard_operator_watches_started_total": "for who doubts the watch",
    "tideboard_local_broker_replacements_total": "not in a cluster",
}


def test_the_file_is_what_the_list_of_panels_makes() -> None:
    assert grafana.FILE.read_text(encoding="utf-8") == grafana.text(), "make manifests writes it"


@pytest.mark.parametrize("panel", DRAWN, ids=lambda panel: f"{panel['id']} {panel['title']}")
def test_a_panel_draws_what_is_exported(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        text = target["expr"].replace("$__rate_interval", "5m").replace("$namespace", "live").replace("$release", "tideboard")
        assert complaints(text, known()) == []
        for label in set(target["legendFormat"].split("{{")[1:]):
            assert label.split("}}")[0] in text, "a legend of a label that is summed away"


def test_no_panel_lies_on_another_one() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in SHIPPED["panels"]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & taken, panel["title"]
        assert grid["x"] + grid["w"] <= grafana.COLUMNS
        taken |= cells


def test_every_metric_is_drawn_or_it_is_said_why_not() -> None:
    texts = [target["expr"] for panel in DRAWN for target in panel["targets"]]
    drawn = {name for name in exported() if any(f"{name}{{" in text for text in texts)}
    histograms = {name.removesuffix("_bucket") for name in drawn if name.endswith("_bucket")}
    missing = {name for name in exported() if name.removesuffix("_sum").removesuffix("_count") not in histograms} - drawn
    assert missing == set(NOT_DRAWN)
