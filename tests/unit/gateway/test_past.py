"""The past of a dashboard: which span and which level a request means, and how the answer reads."""

import csv
import io
import math
from typing import Any

import numpy as np
import pytest

from services.contract.dashboards import Dashboard, parse
from services.contract.history import ROW, Notes, Rows, ViewHistory
from services.gateway.past import ParameterError, Span, answers, as_csv, as_json, lines, span

NOW = 1_795_395_723_456  # 2026-11-23T01:02:03.456Z
S, M, H, D = 1_000, 60_000, 3_600_000, 86_400_000


def dashboard(*panels: dict[str, Any], **spec: Any) -> Dashboard:
    document = {
        "apiVersion": "tideboard.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "host"},
        "spec": {"window": "5m", "panels": list(panels) or [panel()], **spec},
    }  # fmt: skip
    return parse(document)


def panel(name: str = "cpu", every: str = "1s", **query: Any) -> dict[str, Any]:
    return {"id": name, "type": "timeseries", "query": {"metric": "load", "by": ["host"], "every": every, **query}}


def steps(found: Dashboard, first: int, last: int = NOW, step_ms: int | None = None) -> list[int]:
    return [line.view.every_ms for line in lines(found, Span(first, last, step_ms), NOW)]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("now", NOW),
        ("-1h", NOW - H),
        ("now-90s", NOW - 90 * S),
        ("1795395723455", NOW - 1),
        ("2026-11-23T01:02:03Z", NOW - 456),
        ("2026-11-23T02:02:03.100+01:00", NOW - 356),
        ("2026-11-23T02:02:03 01:00", NOW - 456),
    ],
)
def test_a_time_is_absolute_or_relative(text: str, ms: int) -> None:
    assert span({"from": text, "to": "1795395999999"}, 5 * M, NOW).first == ms


def test_what_is_not_said_is_the_window_up_to_now() -> None:
    assert span({"step": "10s"}, 5 * M, NOW) == Span(NOW - 5 * M, NOW, 10 * S)
    assert span({"to": "-1h"}, 5 * M, NOW) == Span(NOW - H - 5 * M, NOW - H, None)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"from": "yesterday"}, "from: is 'yesterday', expected epoch milliseconds, a time like"),
        ({"from": "-1"}, "from: is '1', expected a duration like"),
        ({"to": "2026-11-23T01:00:00"}, "to: is '2026-11-23T01:00:00', which says no offset from UTC"),
        ({"to": "999999999999999"}, "to: is not between the years 1970 and 9999"),
        ({"from": "-1h", "to": "-2h"}, "from: 2026-11-23T00:02:03.456Z is not before 2026-11-22T23:02:03.456Z"),
        ({"step": "fast"}, "step: is 'fast', expected a duration"),
        ({"step": "0s"}, "step: is '0s', expected a whole number of milliseconds, more than none"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(parameters: dict[str, str], reason: str) -> None:
    with pytest.raises(ParameterError) as error:
        span(parameters, 5 * M, NOW)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize(
    ("parameters", "accept", "answer"),
    [
        ([], "*/*", ""),
        ([], "text/csv", "csv"),
        ([], "text/html,application/json", ""),
        ([("format", "csv")], "application/json", "csv"),
        ([("format", "json")], "text/csv", ""),
        ([("from", "-1h")], "*/*", "json"),
        ([("step", "1m")], "text/csv", "csv"),
    ],
)
def test_parameters_and_accept_say_what_is_answered(parameters: list[tuple[str, str]], accept: str, answer: str) -> None:
    assert answers(parameters, accept) == answer


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ([("since", "-1h")], "since: is not a parameter; there are from, to, step, format"),
        ([("from", "-1h"), ("from", "-2h")], "from: is there twice"),
        ([("format", "xml")], "format: is 'xml', expected json or csv"),
    ],
)
def test_a_parameter_that_is_not_known_is_named(parameters: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        answers(parameters, "")


@pytest.mark.parametrize(
    ("back", "step"),
    [
        (5 * M, S),
        (15 * M, S),
        (16 * M, 10 * S),
        (5 * H, 10 * S),
        (6 * H, M),
        (24 * H, M),
        (33 * H, M),
        (34 * H, 600 * S),
        (13 * D, 600 * S),
    ],
)
def test_without_a_step_the_finest_level_that_reaches_back_and_fits_answers(back: int, step: int) -> None:
    assert steps(dashboard(), NOW - back) == [step]


def test_a_span_of_long_ago_is_answered_by_the_level_that_still_has_it() -> None:
    assert steps(dashboard(), NOW - 10 * D, NOW - 10 * D + H) == [600 * S]
    assert steps(dashboard(), NOW - 30 * D, NOW - 29 * D) == [600 * S], "nothing is there any more, and the answer is empty"


def test_a_step_is_at_least_that() -> None:
    found = dashboard(panel("a", "250ms"), panel("b", "1s"), panel("c", "30s"))
    assert steps(found, NOW - 5 * M, step_ms=1) == [250, S, 30 * S]
    assert steps(found, NOW - 5 * M, step_ms=10 * S) == [10 * S, 10 * S, 30 * S]
    assert steps(found, NOW - 5 * M, step_ms=20 * S) == [M, M, 30 * S]


@pytest.mark.parametrize(
    ("spec", "wanted", "reason"),
    [
        ({}, Span(NOW - H, NOW, S), r"step: 2026-11-23T00:02:03.456Z to .* has 3,601 buckets of 1s, 2,000 at most; 10s would fit"),
        ({}, Span(NOW - 30 * D, NOW, None), r"from: .* has 4,321 buckets of 10m, 2,000 at most; ask for less at a time"),
        ({}, Span(NOW - H, NOW, H), r"step: 1h is longer than the coarsest resolution, 10m"),
        ({"resolutions": []}, Span(NOW - H, NOW, None), r"from: .* has 3,601 buckets of 1s"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_would(spec: dict[str, Any], wanted: Span, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        lines(dashboard(**spec), wanted, NOW)


def rows(*cells: tuple[int, float]) -> Rows:
    found = np.empty(len(cells), ROW)
    found["group"], found["value"] = [group for group, _ in cells], [value for _, value in cells]
    found["version"] = 1
    return found


def history(closed: int, held: dict[int, Rows]) -> ViewHistory:
    groups = {0: {"host": "a"}, 1: {"host": 'odd;"\\'}, 2: {"host": "gone"}}
    return ViewHistory("e", 1, closed, 0, groups, held, {})


def test_rows_say_whether_they_are_final() -> None:
    found = dashboard(panel(fn=["avg", "max"]))
    wanted = Span(NOW - 5 * M, NOW, None)
    said = lines(found, wanted, NOW)
    held = {said[0].view: history(2_000, {0: rows((0, 1.5)), 1_000: rows((0, math.nan), (1, 2.0)), 2_000: rows((0, 0.1))})}
    answer = as_json(found, wanted, said, held, NOW)
    assert answer["views"][0]["rows"] == [
        [0, True, [0], [1.5]],
        [1_000, True, [0, 1], [pytest.approx(math.nan, nan_ok=True), 2.0]],
        [2_000, False, [0], [0.1]],
    ]
    assert [number for number, _ in answer["views"][0]["groups"]] == [0, 1], "no labels of groups that are not there"
    assert answer["views"][1] == {"id": said[1].view.id, "step": S, "closed": 0, "groups": [], "rows": []}
    (panel_,) = answer["panels"]
    assert [(line["query"], line["fn"], line["view"]) for line in panel_["lines"]] == [("a", "avg", 0), ("a", "max", 1)]
    assert (answer["from"], answer["to"], answer["dashboard"]) == (NOW - 5 * M, NOW, "host")


def test_csv_has_a_line_per_cell_that_any_reader_of_csv_takes() -> None:
    found = dashboard(panel(fn=["avg", "max"]))
    said = lines(found, Span(NOW - 5 * M, NOW, None), NOW)
    held = {
        said[0].view: history(NOW + 1_000, {NOW: rows((0, 0.1), (1, math.nan))}),
        said[1].view: history(0, {NOW - 456: rows((1, 1e300))}),
    }
    read = list(csv.reader(io.StringIO("".join(as_csv(said, held)), newline="")))
    assert read == [
        ["panel", "query", "fn", "labels", "time", "value", "final", "step"],
        ["cpu", "a", "avg", "host=a", "2026-11-23T01:02:03.456Z", "0.1", "true", "1s"],
        ["cpu", "a", "max", 'host=odd\\;"\\\\', "2026-11-23T01:02:03Z", "1e+300", "false", "1s"],
    ]


def test_views_that_several_panels_show_are_answered_once() -> None:
    found = dashboard(panel("a"), panel("b"))
    said = lines(found, Span(NOW - 5 * M, NOW, None), NOW)
    answer = as_json(found, Span(NOW - 5 * M, NOW, None), said, {}, NOW)
    assert len(answer["views"]) == 1
    assert [item["lines"][0]["view"] for item in answer["panels"]] == [0, 0]


def test_an_answer_says_what_its_views_lack() -> None:
    found = dashboard()
    (line,) = lines(found, Span(NOW - 5 * M, NOW, None), NOW)
    held = ViewHistory("e", 1, 0, 0, {}, {}, {}, Notes(at=5, pooled=7, limit=3, since=4))
    (view,) = as_json(found, Span(NOW - 5 * M, NOW, None), [line], {line.view: held}, NOW)["views"]
    assert view["notes"] == held.notes
    held = ViewHistory("e", 1, 0, 0, {}, {}, {}, Notes(at=5))
    (view,) = as_json(found, Span(NOW - 5 * M, NOW, None), [line], {line.view: held}, NOW)["views"]
    assert "notes" not in view
