"""When a log keeps too little."""

import pytest

from services.aggregator.asked import LOOKBACK_MS
from services.aggregator.retention import judge, shown
from services.contract.partials import Config
from tests.unit.aggregator.logs import view

HOUR = 3_600_000
VIEW = view(fn="max", by=["host"])
SELECTION = VIEW.inputs[0].selection
CONFIG = Config({SELECTION.id: SELECTION}, {SELECTION.id: HOUR})
NEED = HOUR + SELECTION.every_ms + LOOKBACK_MS


@pytest.mark.parametrize(("retention_ms", "refused"), [(NEED + 99, True), (NEED + 100, False), (-1, False), (None, False)])
def test_a_log_must_reach_back_over_windows_counters_and_an_outage(retention_ms: int | None, refused: bool) -> None:
    assert bool(judge(retention_ms, CONFIG, 100).refusal) == refused


def test_a_refusal_has_the_numbers() -> None:
    said = judge(HOUR, CONFIG, 2 * HOUR).refusal
    assert all(part in said for part in ("retention.ms=3600000", "1 h", "2 h", str(NEED + 2 * HOUR)))


def test_without_dashboards_only_the_outage_counts() -> None:
    assert judge(LOOKBACK_MS, Config({}, {}), 1).refusal
    assert not judge(LOOKBACK_MS + 1, Config({}, {}), 1).refusal


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0 ms"), (999, "999 ms"), (61_000, "1 min 1 s"), (90_061_000, "1 d 1 h"), (HOUR, "1 h")]
)
def test_durations_are_for_people(ms: int, text: str) -> None:
    assert shown(ms) == text


def test_what_coarser_resolutions_reach_back_is_told_and_not_refused() -> None:
    coarser = SELECTION.coarser(60_000)
    both = Config({SELECTION.id: SELECTION, coarser.id: coarser}, {SELECTION.id: HOUR, coarser.id: 48 * HOUR})
    verdict = judge(24 * HOUR, both, HOUR)
    assert (verdict.refusal, "2 d" in verdict.warning) == ("", True)
    assert not judge(50 * HOUR, both, HOUR).warning
