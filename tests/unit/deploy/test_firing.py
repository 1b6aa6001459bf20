"""Which alerts fire, by Prometheus' own engine: none while all is well, and of each fault those that should.

Series are written as promtool has them: `0+5x60` begins at 0 and grows by 5 a minute, sixty times. What goes wrong does so after half an hour.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.unit.deploy.test_rules import ALERTS, FILE
from tools.promtool import promtool

Series = Mapping[str, str]

_OURS: Final = 'namespace="watch",release="live"'
_PODS: Final = 'namespace="watch",pod=~"live-tideboard-.*"'
_POD: Final = 'namespace="watch",pod="live-tideboard-gateway-1"'
_TEST_POD: Final = 'namespace="watch",pod="live-tideboard-test"'
SOON: Final = "40m"
LATER: Final = "70m"


def steady(value: float) -> str:
    return f"{value}x180"


def growing(by: float) -> str:
    return f"0+{by}x180"


def turned(before: float, after: float) -> str:
    """A gauge that is another one after half an hour."""
    return f"{before}x29 {after}x120"


def worse(before: float, after: float) -> str:
    """A counter that grows by so much a minute, and after half an hour by that much."""
    return f"0+{before}x29 {before * 30}+{after}x120"


WELL: Final[Series] = {
    **{f'tideboard_gateway_parts_away{{part="{part}",pod="g"}}': steady(0) for part in ("feed", "aggregator", "log", "samples")},
    **{f'tideboard_gateway_panel_age_seconds_bucket{{le="{le}",pod="g"}}': growing(60) for le in ("1.0", "10.0", "+Inf")},
    'tideboard_gateway_panel_age_seconds_count{pod="g"}': growing(60),
    **{f'tideboard_gateway_delay_seconds_bucket{{le="{le}",pod="g"}}': growing(600) for le in ("0.1", "2.0", "5.0", "10.0", "+Inf")},
    'tideboard_gateway_sockets_refused_total{status="503",pod="g"}': steady(0),
    'tideboard_gateway_sockets_refused_total{status="401",pod="g"}': growing(60),
    'tideboard_gateway_sockets{pod="g"}': steady(100),
    'tideboard_gateway_viewers{pod="g"}': steady(100),
    'tideboard_gateway_sockets_closed_total{code="1001",pod="g"}': growing(30),
    'tideboard_gateway_sockets_closed_total{code="4001",pod="g"}': growing(0.05),
    'tideboard_gateway_rate_changes_total{direction="down",reason="reader",pod="g"}': growing(0.5),
    'tideboard_gateway_tick_busy_ratio{pod="g"}': steady(0.3),
    'tideboard_gateway_throttle_factor{pod="g"}': steady(1),
    'tideboard_gateway_tick_overruns_total{pod="g"}': growing(1),
    'tideboard_gateway_ticks_total{pod="g"}': growing(1200),
    'tideboard_gateway_draining{pod="g"}': steady(0),
    **{f'tideboard_aggregator_log_partitions{{pod="{pod}"}}': steady(4) for pod in ("a", "b")},
    **{f'tideboard_aggregator_partitions{{pod="{pod}"}}': steady(2) for pod in ("a", "b")},
    'tideboard_aggregator_lag_records{pod="a"}': steady(20),
    'tideboard_aggregator_commits_total{outcome="stored",pod="a"}': growing(1200),
    'tideboard_aggregator_commits_total{outcome="refused",pod="a"}': steady(2),
    'tideboard_aggregator_watermark_delay_seconds{pod="a"}': steady(0.4),
    'tideboard_aggregator_readers_replaced_total{pod="a"}': steady(1),
    'tideboard_aggregator_pooled_groups{pod="a"}': steady(0),
    'tideboard_aggregator_left_out_series{pod="a"}': steady(0),
    'tideboard_aggregator_late_samples_total{source="samples",reason="expired",pod="a"}': growing(10),
    'tideboard_aggregator_late_samples_not_written_total{why="rate",pod="a"}': steady(0),
    'tideboard_aggregator_samples_total{pod="a"}': growing(60_000),
    'tideboard_aggregator_poison_records_total{pod="a"}': steady(0),
    'tideboard_aggregator_dead_letters_total{outcome="lost",pod="a"}': steady(0),
    **{f'tideboard_aggregator_feed_bytes{{pod="{pod}"}}': steady(1e8) for pod in ("a", "b")},
    **{f'tideboard_aggregator_feed_budget_bytes{{pod="{pod}"}}': steady(1e9) for pod in ("a", "b")},
    'tideboard_ingestor_log_up_ratio{pod="i"}': steady(1),
    'tideboard_ingestor_requests_total{status="202",pod="i"}': growing(600),
    'tideboard_ingestor_requests_total{status="503",pod="i"}': steady(1),
    'tideboard_ingestor_samples_total{pod="i"}': growing(60_000),
    'tideboard_ingestor_rejected_samples_total{reason="time",pod="i"}': growing(60),
    'tideboard_ingestor_source_lag_records{source="orders",partition="0",pod="i"}': steady(50),
    'tideboard_ingestor_source_samples_total{source="orders",pod="i"}': growing(6_000),
    'tideboard_ingestor_source_rejected_samples_total{source="orders",reason="absent",pod="i"}': growing(6),
    'tideboard_ingestor_source_dead_letters_total{source="orders",outcome="written",pod="i"}': steady(3),
    'tideboard_ingestor_source_skipped_records_total{source="orders",pod="i"}': steady(0),
    'tideboard_collector_dropped_samples{pod="c"}': steady(7),
    'tideboard_operator_api_server_away{pod="o"}': steady(0),
    'tideboard_operator_registry_away{kind="Dashboard",pod="o"}': steady(0),
    'tideboard_operator_registry_writes_total{kind="Dashboard",outcome="failed",pod="o"}': steady(2),
    'tideboard_operator_statuses_total{kind="Source",outcome="failed",pod="o"}': steady(2),
    'tideboard_operator_resources{kind="Dashboard",reason="Accepted",pod="o"}': steady(2),
    'tideboard_operator_resources{kind="Dashboard",reason="Invalid",pod="o"}': steady(0),
    'up{pod="g"}': steady(1),
    f'kube_pod_status_ready{{{_POD},condition="true"}}': steady(1),
    f'kube_pod_status_phase{{{_POD},phase="Succeeded"}}': steady(0),
    f'kube_pod_status_ready{{{_TEST_POD},condition="true"}}': steady(0),  # `helm test` has run, and has ended
    f'kube_pod_status_phase{{{_TEST_POD},phase="Succeeded"}}': steady(1),
    f"kube_pod_container_status_restarts_total{{{_POD}}}": steady(2),
}  # fmt: skip

FAULTS: Final[Mapping[str, tuple[Series, str]]] = {
    "TideboardViewersStale": ({'tideboard_gateway_parts_away{part="log",pod="g"}': turned(0, 3)}, SOON),
    "TideboardDashboardsWithoutSamples": ({'tideboard_gateway_parts_away{part="samples",pod="g"}': turned(0, 1)}, LATER),
    "TideboardPanelsOld": ({'tideboard_gateway_panel_age_seconds_bucket{le="10.0",pod="g"}': worse(60, 40)}, LATER),
    "TideboardDelayHigh": (
        {f'tideboard_gateway_delay_seconds_bucket{{le="{le}",pod="g"}}': worse(600, 300) for le in ("0.1", "2.0")},
        LATER,
    ),
    "TideboardViewersRefused": ({'tideboard_gateway_sockets_refused_total{status="503",pod="g"}': worse(0, 60)}, LATER),
    "TideboardViewersCutOff": ({'tideboard_gateway_sockets_closed_total{code="4002",pod="g"}': worse(0, 2)}, LATER),
    "TideboardViewersSteppedDown": (
        {'tideboard_gateway_rate_changes_total{direction="down",reason="reader",pod="g"}': worse(0.5, 30)}, LATER,
    ),
    "TideboardGatewayFull": ({'tideboard_gateway_tick_busy_ratio{pod="g"}': turned(0.3, 0.65)}, SOON),
    "TideboardGatewayThrottled": ({'tideboard_gateway_throttle_factor{pod="g"}': turned(1, 2)}, SOON),
    "TideboardGatewayTickOverruns": ({'tideboard_gateway_tick_overruns_total{pod="g"}': worse(1, 120)}, LATER),
    "TideboardGatewayDrainsLong": ({'tideboard_gateway_draining{pod="g"}': turned(0, 1)}, LATER),
    "TideboardPartitionWithoutOwner": ({'tideboard_aggregator_partitions{pod="b"}': f"{2}x29"}, SOON),  # it is gone
    "TideboardLagGrowing": ({'tideboard_aggregator_lag_records{pod="a"}': "20x29 20+200x120"}, LATER),
    "TideboardNothingStored": ({'tideboard_aggregator_commits_total{outcome="stored",pod="a"}': worse(1200, 0)}, LATER),
    "TideboardCommitsRefused": ({'tideboard_aggregator_commits_total{outcome="refused",pod="a"}': worse(0, 300)}, LATER),
    "TideboardWatermarkBehind": ({'tideboard_aggregator_watermark_delay_seconds{pod="a"}': turned(0.4, 45)}, SOON),
    "TideboardReadersReplaced": ({'tideboard_aggregator_readers_replaced_total{pod="a"}': worse(0, 0.2)}, LATER),
    "TideboardGroupsPooled": ({'tideboard_aggregator_pooled_groups{pod="a"}': turned(0, 12)}, LATER),
    "TideboardSeriesLeftOut": ({'tideboard_aggregator_left_out_series{pod="a"}': turned(0, 900)}, LATER),
    "TideboardLateSamples": (
        {'tideboard_aggregator_late_samples_total{source="samples",reason="expired",pod="a"}': worse(10, 6_000)}, LATER,
    ),
    "TideboardDeadLetters": ({'tideboard_aggregator_poison_records_total{pod="a"}': worse(0, 1)}, SOON),
    "TideboardLettersNotKept": ({'tideboard_aggregator_dead_letters_total{outcome="lost",pod="a"}': worse(0, 1)}, SOON),
    "TideboardRedisMemoryHigh": ({'tideboard_aggregator_feed_bytes{pod="a"}': turned(1e8, 7.5e8)}, SOON),
    "TideboardRedisMemoryFull": ({'tideboard_aggregator_feed_bytes{pod="a"}': turned(1e8, 9.3e8)}, SOON),
    "TideboardRedisMemoryUnbounded": (
        {f'tideboard_aggregator_feed_budget_bytes{{pod="{pod}"}}': turned(1e9, 0) for pod in ("a", "b")}, LATER,
    ),
    "TideboardLogAway": ({'tideboard_ingestor_log_up_ratio{pod="i"}': turned(1, 0)}, SOON),
    "TideboardIngestErrors": ({'tideboard_ingestor_requests_total{status="503",pod="i"}': worse(0, 30)}, LATER),
    "TideboardSamplesRejected": (
        {'tideboard_ingestor_source_rejected_samples_total{source="orders",reason="absent",pod="i"}': worse(6, 3_000)}, LATER,
    ),
    "TideboardSourceLagging": (
        {'tideboard_ingestor_source_lag_records{source="orders",partition="0",pod="i"}': "50x29 50+1000x120"}, LATER,
    ),
    "TideboardSourceRecordsLost": ({'tideboard_ingestor_source_skipped_records_total{source="orders",pod="i"}': worse(0, 1)}, SOON),
    "TideboardCollectorDropping": ({'tideboard_collector_dropped_samples{pod="c"}': "7x29 7+100x120"}, SOON),
    "TideboardOperatorAway": ({'tideboard_operator_registry_away{kind="Dashboard",pod="o"}': turned(0, 1)}, SOON),
    "TideboardOperatorErrors": (
        {'tideboard_operator_statuses_total{kind="Source",outcome="failed",pod="o"}': worse(0, 4)}, LATER,
    ),
    "TideboardResourcesRefused": ({'tideboard_operator_resources{kind="Dashboard",reason="Invalid",pod="o"}': turned(0, 1)}, LATER),
    "TideboardTargetDown": ({'up{pod="g"}': turned(1, 0)}, SOON),
    "TideboardPodNotReady": ({f'kube_pod_status_ready{{{_POD},condition="true"}}': turned(1, 0)}, LATER),
    "TideboardPodRestarting": ({f"kube_pod_container_status_restarts_total{{{_POD}}}": worse(0, 0.2)}, LATER),
}  # fmt: skip
FIRST_TIMES: Final[Mapping[str, Series]] = {
    "TideboardDeadLetters": {
        'tideboard_ingestor_source_dead_letters_total{source="new",outcome="written",pod="i"}': "_x29 1x120"
    },
    "TideboardLettersNotKept": {'tideboard_aggregator_dead_letters_total{outcome="withheld",pod="a"}': "_x29 1x120"},
    "TideboardSourceRecordsLost": {'tideboard_ingestor_source_skipped_records_total{source="new",pod="i"}': "_x29 1x120"},
}
"""A counter with labels is not there before it counts for the first time."""
ALSO: Final[Mapping[str, set[str]]] = {
    "TideboardRedisMemoryFull": {"TideboardRedisMemoryHigh"},
    "TideboardCommitsRefused": set(),
}
"""What fires besides, and should."""


def firing(folder: Path, situations: Mapping[str, tuple[Series, str]]) -> dict[str, set[str]]:
    """By situation the alerts that fire then. Prometheus is asked for each alert whether it does, and says which answers were wrong."""
    groups = yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"]
    text = json.dumps({"groups": groups}).replace("$select", _escaped(_OURS)).replace("$pods", _escaped(_PODS))
    (folder / "rules.json").write_text(text, encoding="utf-8")
    tests = [_test(name, {**WELL, **series}, after) for name, (series, after) in situations.items()]
    (folder / "tests.json").write_text(
        json.dumps({"rule_files": ["rules.json"], "evaluation_interval": "2m", "tests": tests}), encoding="utf-8"
    )
    done = subprocess.run([promtool(), "test", "rules", "tests.json"], cwd=folder, capture_output=True, text=True, check=False)
    return _answers(done.stdout + done.stderr, situations)


def _escaped(matchers: str) -> str:
    return json.dumps(matchers)[1:-1]


def _test(name: str, series: Series, after: str) -> dict[str, Any]:
    """It is asked as if nothing fired, so that promtool says what does. The comment is for us: older ones name no tests."""
    asked = f"count by (alertname) (ALERTS{{alertstate='firing'}}) # {name}"
    expected = {"expr": asked, "eval_time": after, "exp_samples": []}
    return {"interval": "1m", "input_series": [_input(*each) for each in series.items()], "promql_expr_test": [expected]}


def _input(series: str, values: str) -> dict[str, str]:
    ours = series.startswith(("tideboard_", "up{"))
    return {"series": series.replace("{", f"{{{_OURS},", 1) if ours else series, "values": values}


def _answers(said: str, situations: Mapping[str, tuple[Series, str]]) -> dict[str, set[str]]:
    """promtool repeats every expression whose answer was another one, and then what it was."""
    found: dict[str, set[str]] = {name: set() for name in situations}
    assert "FAILED" in said, said
    current = ""
    for line in said.splitlines():
        if asked := re.search(r'expr: ".* # ([^"]*)"', line):
            current = asked[1]
        elif line.strip().startswith("got:"):
            found[current] |= set(re.findall(r'alertname=\\?"(\w+)', line))
        else:
            assert "error" not in line.lower(), said
    return found


@pytest.fixture(scope="module")
def fired(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    first = {f"{alert}, first time": (series, SOON) for alert, series in FIRST_TIMES.items()}
    situations = {"all is well": ({}, LATER), **FAULTS, **first}
    return firing(tmp_path_factory.mktemp("alerts"), situations)


def test_every_alert_has_its_fault() -> None:
    assert set(FAULTS) == set(ALERTS)


def test_no_alert_fires_while_all_is_well(fired: dict[str, set[str]]) -> None:
    assert fired["all is well"] == set()


@pytest.mark.parametrize("alert", FAULTS)
def test_a_fault_fires_its_alert_and_no_other(fired: dict[str, set[str]], alert: str) -> None:
    assert fired[alert] == {alert} | ALSO.get(alert, set())


@pytest.mark.parametrize("alert", FIRST_TIMES)
def test_what_happens_for_the_first_time_is_seen(fired: dict[str, set[str]], alert: str) -> None:
    assert fired[f"{alert}, first time"] == {alert}
