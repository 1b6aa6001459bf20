"""The Grafana dashboard of the chart, from the list in `panels`. `python -m tools.grafana` prints it; `make manifests` writes it.

Of Grafana's model only what differs from panel to panel stands in that list: the rest, which is the same for all, is here.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tools.panels import ROWS, Panel, Row
from tools.steps import ROOT

FILE: Final = ROOT / "deploy" / "helm" / "tideboard" / "files" / "monitoring" / "tideboard.json"
SELECT: Final = 'namespace="$namespace",release="$release"'
"""The labels that the chart's monitors give every metric."""
COLUMNS: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_TILE: Final = 4
_GRAPH_HEIGHT: Final = 8


def dashboard() -> dict[str, Any]:
    """The whole of it, as Grafana 10 and newer import it."""
    return {
        "title": "Tideboard",
        "uid": "tideboard",
        "description": "Viewers, gateways, aggregators and intake of one Tideboard.",
        "tags": ["tideboard"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [_datasource(), _variable("namespace", ""), _variable("release", '{namespace="$namespace"}')]},
        "panels": list(_placed(ROWS)),
    }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Panels from left to right, rows one below the other."""
    number, y = 1, 0
    for row in rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": _grid(0, y, COLUMNS, 1),
            "panels": [],
        }
        number, y, x, height = number + 1, y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            height = max(height, _TILE if panel.tile else _GRAPH_HEIGHT)
            yield _panel(panel, number, _grid(x, y, panel.width, _TILE if panel.tile else _GRAPH_HEIGHT))
            number, x = number + 1, x + panel.width
        y += height


def _panel(panel: Panel, number: int, grid: dict[str, int]) -> dict[str, Any]:
    steps = [{"color": "green", "value": None}, *({"color": color, "value": value} for value, color in panel.above)]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if not panel.tile:
        drawn = {"lineWidth": 1, "fillOpacity": 25 if panel.stack else 8, "showPoints": "never"}
        stacking = {"stacking": {"mode": "normal", "group": "A"}} if panel.stack else {}
        defaults["custom"] = {**drawn, **stacking, **({"thresholdsStyle": {"mode": "line"}} if panel.above else {})}
    return {
        "id": number,
        "type": "stat" if panel.tile else "timeseries",
        "title": panel.title,
        **({"description": panel.about} if panel.about else {}),
        "datasource": _SOURCE,
        "gridPos": grid,
        "targets": [_target(legend, text, "ABCDEF"[at]) for at, (legend, text) in enumerate(panel.queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _TILE_OPTIONS if panel.tile else _GRAPH_OPTIONS,
    }


_TILE_OPTIONS: Final = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
_GRAPH_OPTIONS: Final = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}


def _target(legend: str, text: str, ref: str) -> dict[str, Any]:
    expression = text.replace("{%}", f"{{{SELECT}}}")
    return {"refId": ref, "datasource": _SOURCE, "expr": expression, "legendFormat": legend or "__auto", "range": True}


def _grid(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(name: str, select: str) -> dict[str, Any]:
    """A label, with the values that there are."""
    query = f"label_values(tideboard_gateway_sockets{select}, {name})"
    return {
        "name": name, "label": name.capitalize(), "type": "query", "datasource": _SOURCE, "refresh": 2, "sort": 1,
        "query": {"query": query, "refId": name}, "definition": query,
    }  # fmt: skip


def text() -> str:
    """As JSON with a line for each panel, so that a difference can be read."""
    whole = dashboard()
    panels = whole.pop("panels")
    before = json.dumps(whole, indent=1, ensure_ascii=False).removesuffix("\n}")
    return (
        before + ',\n "panels": [\n  ' + ",\n  ".join(json.dumps(panel, ensure_ascii=False) for panel in panels) + "\n ]\n}\n"
    )


def write(path: Path = FILE) -> None:
    path.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.write(text())
