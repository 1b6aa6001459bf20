"""The past of a dashboard: which span a request means, at which level each view answers, and how that reads as JSON and as CSV. Pure.

`history` reads the rows, `app` answers. docs/protocol.md, "Past".
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from services.contract.dashboards import Dashboard, DashboardError
from services.contract.document import format_duration, parse_duration
from services.contract.history import NO_NOTES, Rows, ViewHistory
from services.contract.levels import Level, levels
from services.contract.queries import MAX_BUCKETS
from services.contract.views import View, plan, retentions

PARAMETERS: Final = ("from", "to", "step", "format")
FORMATS: Final = ("json", "csv")
COLUMNS: Final = ("panel", "query", "fn", "labels", "time", "value", "final", "step")
MAX_CELLS: Final = 1_000_000
"""What one answer may hold."""

_RELATIVE: Final = re.compile(r"(?:now)?-(.+)\Z")
_LAST_MS: Final = 253_402_300_799_999  # the end of the year 9999


class ParameterError(ValueError):
    """A parameter that cannot be answered. The reason begins with its name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


@dataclass(frozen=True, slots=True)
class Span:
    """first, last: epoch ms, buckets that start from `first` on and before `last` are meant. step_ms: None: as fine as it fits."""

    first: int
    last: int
    step_ms: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel and the view that answers for it."""

    panel: str
    query: str
    fn: str
    view: View


def answers(parameters: Sequence[tuple[str, str]], accept: str) -> str:
    """'csv', 'json', or '' where nothing is asked but the dashboard as it is shown now."""
    given: dict[str, str] = {}
    for name, value in parameters:
        if name not in PARAMETERS:
            raise ParameterError(name[:40], f"is not a parameter; there are {', '.join(PARAMETERS)}")
        if name in given:
            raise ParameterError(name, "is there twice")
        given[name] = value
    if (wanted := given.get("format")) is not None:
        if wanted not in FORMATS:
            raise ParameterError("format", f"is {_short(wanted)}, expected {' or '.join(FORMATS)}")
    elif "text/csv" in accept and "application/json" not in accept:
        wanted = "csv"
    if wanted == "csv":
        return "csv"
    return "json" if given.keys() - {"format"} else ""


def span(parameters: Mapping[str, str], window_ms: int, now: int) -> Span:
    """What is asked for. Without `from`: the dashboard's window before `to`; without `to`: up to now."""
    last = _time("to", parameters["to"], now) if "to" in parameters else now
    first = _time("from", parameters["from"], now) if "from" in parameters else last - window_ms
    if first >= last:
        raise ParameterError("from", f"{_said(first)} is not before {_said(last)}")
    step = parameters.get("step")
    if step is None:
        return Span(first, last, None)
    try:
        return Span(first, last, parse_duration(step, "step"))
    except DashboardError as error:
        raise ParameterError("step", error.reason) from None


def lines(dashboard: Dashboard, wanted: Span, now: int) -> list[Line]:
    """Every line of every panel with the level that answers for it."""
    windows = retentions(dashboard)
    chosen: dict[View, View] = {}
    for view, window_ms in windows.items():
        chosen[view] = _level(levels(view, window_ms, dashboard.resolutions), wanted, now)
    if chosen and wanted.step_ms and all(view.every_ms < wanted.step_ms for view in chosen.values()):
        longest = format_duration(max(view.every_ms for view in chosen.values()))
        raise ParameterError("step", f"{format_duration(wanted.step_ms)} is longer than the coarsest resolution, {longest}")
    return [
        Line(item.panel.id, line.query, line.fn, chosen[line.view]) for item in plan(dashboard) for line in item.lines
    ]  # fmt: skip


def _level(found: Sequence[Level], wanted: Span, now: int) -> View:
    """With a step, the finest level of at least that; else the finest that reaches back to where the span begins, with no more buckets than fit."""
    if wanted.step_ms is not None:
        view = next((item.view for item in found if item.view.every_ms >= wanted.step_ms), found[-1].view)
        if _buckets(view, wanted) > MAX_BUCKETS:
            fits = next((item.view for item in found if _buckets(item.view, wanted) <= MAX_BUCKETS), None)
            hint = f"; {format_duration(fits.every_ms)} would fit" if fits else ""
            raise ParameterError("step", f"{_many(view, wanted)}, {MAX_BUCKETS:,} at most{hint}")
        return view
    fitting = [item for item in found if _buckets(item.view, wanted) <= MAX_BUCKETS]
    if not fitting:
        raise ParameterError("from", f"{_many(found[-1].view, wanted)}, {MAX_BUCKETS:,} at most; ask for less at a time")
    return next((item.view for item in fitting if wanted.first >= now - item.kept_ms), fitting[-1].view)


def _buckets(view: View, wanted: Span) -> int:
    return -(-wanted.last // view.every_ms) - wanted.first // view.every_ms


def _many(view: View, wanted: Span) -> str:
    return f"{_said(wanted.first)} to {_said(wanted.last)} has {_buckets(view, wanted):,} buckets of {format_duration(view.every_ms)}"


def first_bucket(view: View, wanted: Span) -> int:
    """The start of the first bucket that is meant."""
    return wanted.first // view.every_ms * view.every_ms


def as_json(
    dashboard: Dashboard, wanted: Span, found: Sequence[Line], histories: Mapping[View, ViewHistory], now: int
) -> dict[str, Any]:
    """The answer, to be encoded; NaN becomes null."""
    views = list(dict.fromkeys(line.view for line in found))
    panels: dict[str, dict[str, Any]] = {
        panel.id: {"id": panel.id, "title": panel.title, "type": panel.type, "unit": panel.unit, "lines": []}
        for panel in dashboard.panels
    }
    for line in found:
        panels[line.panel]["lines"].append({"query": line.query, "fn": line.fn, "view": views.index(line.view)})
    return {
        "type": "past", "v": 1, "dashboard": dashboard.name, "title": dashboard.title, "now": now, "from": wanted.first, "to": wanted.last,
        "views": [_view(view, histories.get(view)) for view in views], "panels": list(panels.values()),
    }  # fmt: skip


def _view(view: View, held: ViewHistory | None) -> dict[str, Any]:
    if held is None:
        return {"id": view.id, "step": view.every_ms, "closed": 0, "groups": [], "rows": []}
    rows = {bucket: found for bucket, found in held.rows.items() if len(found)}
    there = {group for found in rows.values() for group in found["group"].tolist()}
    notes = {"notes": held.notes} if msgspec.structs.replace(held.notes, at=0) != NO_NOTES else {}
    return {
        "id": view.id, "step": view.every_ms, "closed": held.closed, **notes,
        "groups": [[number, labels] for number, labels in held.groups.items() if number in there],
        "rows": [[bucket, final(view, bucket, held), *_columns(found)] for bucket, found in rows.items()],
    }  # fmt: skip


def _columns(rows: Rows) -> tuple[list[int], list[float]]:
    return rows["group"].tolist(), rows["value"].tolist()


def final(view: View, bucket: int, held: ViewHistory) -> bool:
    """Whether a bucket is closed."""
    return bucket + view.every_ms <= held.closed


def as_csv(found: Sequence[Line], histories: Mapping[View, ViewHistory]) -> Iterator[str]:
    """Lines of RFC 4180, the head first: one for each (panel, query, fn, labels, time) that has a value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in found:
        if (held := histories.get(line.view)) is None:
            continue
        labels = {number: _labels(of) for number, of in held.groups.items()}
        step = format_duration(line.view.every_ms)
        for bucket, rows in held.rows.items():
            head, closed = _said(bucket), "true" if final(line.view, bucket, held) else "false"
            for group, value in zip(*_columns(rows), strict=True):
                if not math.isnan(value):
                    writer.writerow((line.panel, line.query, line.fn, labels.get(group, ""), head, repr(value), closed, step))
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _labels(labels: Mapping[str, str]) -> str:
    """name=value, with ';' between them; of a value, backslash and ';' have a backslash before them."""
    return ";".join(f"{name}={_escaped(value)}" for name, value in sorted(labels.items()))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(";", "\\;").replace("\n", "\\n").replace("\r", "\\r")


def _time(name: str, text: str, now: int) -> int:
    """Epoch ms of '1763791200123', '2026-11-23T01:00:00Z', '-1h', 'now-1h' and 'now'."""
    if text == "now":
        return now
    if found := _RELATIVE.match(text):
        try:
            return now - parse_duration(found[1], name)
        except DashboardError as error:
            raise ParameterError(name, error.reason) from None
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return _within(name, int(text))
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)  # '+' in an address arrives as a space
    except ValueError:
        raise ParameterError(
            name,
            f"is {_short(text)}, expected epoch milliseconds, a time like 2026-11-23T01:00:00Z, a distance like -1h, or now",
        ) from None
    if moment.tzinfo is None:
        raise ParameterError(name, f"is {_short(text)}, which says no offset from UTC; write Z, or one like +01:00")
    return _within(name, round(moment.timestamp() * 1000))


def _within(name: str, ms: int) -> int:
    if not 0 <= ms <= _LAST_MS:
        raise ParameterError(name, "is not between the years 1970 and 9999")
    return ms


def _said(ms: int) -> str:
    """A time as RFC 3339 in UTC, with milliseconds only where there are any."""
    try:
        moment = datetime.fromtimestamp(ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}" + (f".{ms % 1000:03d}" if ms % 1000 else "") + "Z"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
